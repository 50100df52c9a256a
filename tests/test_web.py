"""HTTP: metrics that a parser reads, health, and no answer for foreign pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from filterd.errors import SettingsError
from filterd.metrics import Metrics
from filterd.settings import Settings
from filterd.web import serve
from tests.panels import Site, open_site


@pytest.fixture
async def daemon() -> AsyncIterator[Site]:
    async with open_site(Settings(), redis=False) as site:
        yield site


async def test_metrics_are_what_prometheus_reads(daemon: Site) -> None:
    daemon.metrics.verdicts.labels("spam").inc(3)
    daemon.metrics.latency_seconds.observe(0.02)
    status, text = await daemon.get("/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(name.startswith("filterd_") for name in families)
    assert all(family.documentation for family in families.values())
    verdicts = {
        sample.labels["label"]: sample.value
        for sample in families["filterd_verdicts"].samples
        if sample.name == "filterd_verdicts_total"
    }
    assert verdicts == {"spam": 3, "ham": 0}
    counts = {
        sample.labels["le"]: sample.value
        for sample in families["filterd_latency_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert (counts["0.01"], counts["0.02"], counts["+Inf"]) == (0, 1, 1)


async def test_metrics_say_what_they_are(daemon: Site) -> None:
    async with daemon.session.get(f"http://127.0.0.1:{daemon.port}/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")


async def test_every_reason_is_there_before_it_happens(daemon: Site) -> None:
    _, text = await daemon.get("/metrics")
    for reason in ("no-text", "not-utf8", "too-large", "poison"):
        assert f'filterd_dead_letters_total{{reason="{reason}"}} 0.0' in text
    for reason in ("idle", "full", "linger", "drain"):
        assert f'filterd_batch_dispatch_total{{reason="{reason}"}} 0.0' in text


def test_buckets_ascend() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    for family in registry.collect():
        bounds = [float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")]
        assert all(low < high for low, high in pairwise(bounds)), family.name


def test_two_daemons_of_a_process_have_metrics_of_their_own() -> None:
    one, other = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    one.claimed.inc()
    assert one.registry.get_sample_value("filterd_claimed_total") == 1
    assert other.registry.get_sample_value("filterd_claimed_total") == 0


async def test_health_and_readiness(daemon: Site) -> None:
    assert await daemon.get("/healthz") == (200, "ok\n")
    assert await daemon.get("/readyz") == (503, "the model\n")
    daemon.waits_for = ""
    assert await daemon.get("/readyz") == (200, "ready\n")
    daemon.waits_for = "Redis"
    assert await daemon.get("/readyz") == (503, "Redis\n")
    assert await daemon.get("/healthz") == (200, "ok\n")


async def test_other_paths_are_not_found(daemon: Site) -> None:
    assert (await daemon.get("/nothing"))[0] == 404


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/nothing"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9108", "127.0.0.1.evil.example", "localhost.", "[", ""]
)
async def test_foreign_host_is_refused(daemon: Site, path: str, host: str) -> None:
    assert await daemon.get(path, host) == (403, "unknown Host\n")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:1", "[::1]:9108"])
async def test_own_names_are_answered(daemon: Site, host: str) -> None:
    assert (await daemon.get("/healthz", host))[0] == 200


async def test_reachable_daemon_is_asked_by_any_name(daemon: Site) -> None:
    async with open_site(Settings(http_host="0.0.0.0"), redis=False) as site:  # noqa: S104
        assert (await site.get("/healthz", "filterd.svc.cluster.local"))[0] == 200


async def test_port_in_use_is_one_line(daemon: Site) -> None:
    with pytest.raises(SettingsError, match="set FILTERD_HTTP_PORT") as caught:
        async with serve("127.0.0.1", daemon.port, daemon.metrics.registry, str, daemon.panel.api):
            pass
    assert f"127.0.0.1:{daemon.port}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


async def test_address_of_nobody_is_one_line(daemon: Site) -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on 192\.0\.2\.1"):
        async with serve("192.0.2.1", 0, daemon.metrics.registry, str, daemon.panel.api):
            pass


async def test_port_is_free_afterwards(daemon: Site) -> None:
    registry, api = daemon.metrics.registry, daemon.panel.api
    async with serve("127.0.0.1", 0, registry, str, api) as port:
        pass
    async with serve("127.0.0.1", port, registry, str, api) as again:
        assert again == port
