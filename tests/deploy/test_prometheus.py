"""Rules and dashboard against a real Prometheus that scrapes a real daemon under load.

No expression may come out empty, and each alert must fire under its own fault: the faults are
real, only the clock is faster (``tests.deploy.station``).
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pytest
import redis

from filterd.artifact import WEIGHTS
from tests.deploy.files import (
    DEPLOY,
    RULES,
    metric_names,
    needs,
    panel_expressions,
    rules,
    variable_queries,
)
from tests.deploy.station import Prometheus, Publisher, Textfile, shortened
from tests.e2e.daemon import Daemon
from tests.servers import RedisServer, binary
from tests.waiting import eventually

pytestmark = [pytest.mark.timeout(300), needs("promtool", "prometheus")]
SLOW_S = 120.0
RATE = 40
INPUT, OUTPUT = "watched:in", "watched:out"


@dataclass
class Station:
    """All that runs."""

    server: RedisServer
    client: redis.Redis
    daemon: Daemon
    publisher: Publisher
    usual: list[str | None]
    spam: list[str | None]
    artifacts: Path
    metrics: Path
    prometheus: Prometheus = field(init=False)

    def trainer(self, *arguments: str, artifacts: Path | None = None) -> int:
        """A command of the trainer on this registry, or another one; its exit code."""
        environment = {
            "FILTERD_REDIS_URL": self.server.url,
            "FILTERD_FEEDBACK_STREAM": "watched:feedback",
            "TRAINER_ARTIFACTS": str(artifacts or self.artifacts),
            "TRAINER_METRICS_FILE": str(self.metrics / "retrain.prom"),
        }
        command = [sys.executable, "-m", "trainer", *arguments]
        return subprocess.run(command, env={**os.environ, **environment}).returncode

    def fires(self, *alerts: tuple[str, ...]) -> None:
        """Wait until all these alerts fire."""
        eventually(lambda: set(alerts) <= self.prometheus.firing(), f"{alerts} fire", SLOW_S)

    def quiet(self, *names: str) -> None:
        """Wait until no alert of these names fires."""
        eventually(
            lambda: not {alert[0] for alert in self.prometheus.firing()} & set(names),
            f"{names} are quiet",
            SLOW_S,
        )


@pytest.fixture(scope="module")
def station(tiny: Path) -> Iterator[Station]:
    sample = (files("filterd") / "sample" / "messages.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t", 1) for line in sample.splitlines()]
    spam: list[str | None] = [text for label, text in rows if label == "spam"]
    ham: list[str | None] = [text for label, text in rows if label == "ham"]
    program = binary("embedded")
    assert program is not None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fd-")))
        server = stack.enter_context(RedisServer(program, folder / "redis", tcp=True))
        textfile = stack.enter_context(Textfile(folder / "metrics"))
        made = Station(
            server,
            stack.enter_context(server.client()),
            Daemon(
                server.url,
                "watched",
                folder / "daemon.log",
                ARTIFACT=folder / "artifacts" / "champion",
                RELOAD_S=0.5,
                SHADOW_ARTIFACT=tiny,
                SHADOW_SHARE=0.2,
                SHADOW_STREAM="watched:shadow",
            ),
            Publisher(server.url, INPUT),
            [*ham[:90], *spam[:10]],
            spam,
            folder / "artifacts",
            folder / "metrics",
        )
        assert made.trainer("promote", "starter") == 0
        assert made.trainer("retrain") == 0, "there is nothing to do"
        targets = {
            "filterd": f"127.0.0.1:{made.daemon.port}",
            "filterd-retrain": textfile.address,
        }
        stack.enter_context(made.daemon)
        made.prometheus = stack.enter_context(Prometheus(folder / "prometheus", targets))
        made.publisher.send(made.usual, RATE)
        stack.enter_context(made.publisher)
        yield made


def test_rules_and_their_unit_tests() -> None:
    """Debian's promtool: syntax, and each alert over series made up for it."""
    for command in (["check", "rules", *RULES], ["test", "rules", *_unit_tests()]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration() -> None:
    config = DEPLOY / "prometheus" / "prometheus.yml"
    done = subprocess.run(["promtool", "check", "config", config], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_expression_has_an_answer(station: Station) -> None:
    """Under load, and no earlier than a day and an hour of the fast clock have passed."""
    asked = [(rule["record"], shortened(rule["expr"])) for rule in rules("record")]
    asked += [(title, _as_grafana_sends(text)) for title, text in panel_expressions()]
    assert not [name for name, text in asked if "vector(" in text or "absent(" in text]
    _enough(station)

    def answered() -> bool:
        asked[:] = [(name, text) for name, text in asked if _is_empty(station, text)]
        return not asked

    with suppress(AssertionError):
        eventually(answered, within_s=SLOW_S)
    assert asked == []
    # All is well, but that by this clock the retraining was due long ago.
    overdue = {("FilterdRetrainOverdue", "warning", "")}
    eventually(lambda: station.prometheus.firing() <= overdue, "no alert fires", SLOW_S)


def test_every_metric_exists(station: Station) -> None:
    expressions = [
        *(rule["expr"] for kind in ("record", "alert") for rule in rules(kind)),
        *(text for _, text in panel_expressions()),
    ]
    named = set().union(*map(metric_names, expressions))
    assert len(named) > 40
    _enough(station)
    assert named - station.prometheus.metric_names() == set()
    for text in variable_queries():
        metric, label = text.removeprefix("label_values(").rstrip(")").split(", ")
        assert all(label in sample["metric"] for sample in station.prometheus.query(metric))


def test_dead_letters(station: Station) -> None:
    station.quiet("FilterdDeadLetters")
    station.publisher.send([*station.usual, None], RATE)
    station.fires(("FilterdDeadLetters", "warning", "no-text"))
    station.publisher.send(station.usual, RATE)


def test_a_flood_of_spam(station: Station) -> None:
    _enough(station)
    station.quiet("FilterdSpamShareDrift", "FilterdScoreDrift")
    station.publisher.send(station.spam, RATE)
    station.fires(("FilterdSpamShareDrift", "warning", ""), ("FilterdScoreDrift", "warning", ""))
    station.publisher.send(station.usual, RATE)


def test_more_than_the_daemon_can_do(station: Station) -> None:
    station.quiet("FilterdLagGrowing", "FilterdUndelivered", "FilterdLatencyBudgetBurn")
    station.publisher.send([" ".join(text or "" for text in station.usual[:20])], 500)
    station.fires(
        ("FilterdLagGrowing", "warning", ""),
        ("FilterdUndelivered", "warning", ""),
        ("FilterdLatencyBudgetBurn", "critical", ""),
        ("FilterdLatencyBudgetBurn", "warning", ""),
    )
    station.publisher.send(station.usual, RATE)
    station.client.xtrim(INPUT, maxlen=0, approximate=False)


def test_a_broken_artifact(station: Station) -> None:
    station.quiet("FilterdReloadFailed")
    served = (station.artifacts / "champion").readlink()
    broken = station.artifacts / "broken"
    shutil.copytree(station.artifacts / served, broken)
    weights = broken / WEIGHTS
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1])
    _point(station, "broken")
    station.fires(("FilterdReloadFailed", "warning", ""))
    _point(station, str(served))


def test_a_retraining_that_is_overdue_or_fails(station: Station) -> None:
    station.fires(("FilterdRetrainOverdue", "warning", ""))
    station.quiet("FilterdRetrainFailed")
    assert station.trainer("retrain", artifacts=station.artifacts.parent / "none") == 1
    station.fires(("FilterdRetrainFailed", "warning", ""))
    station.quiet("FilterdRetrainOverdue")


def test_an_output_that_refuses(station: Station) -> None:
    station.quiet("FilterdOldestPending", "FilterdRedisAway")
    station.client.rename(OUTPUT, f"{OUTPUT}:aside")
    station.client.rpush(OUTPUT, "not a stream")
    station.fires(
        ("FilterdOldestPending", "warning", ""), ("FilterdRedisAway", "critical", "wrongtype")
    )
    station.client.delete(OUTPUT)


def test_redis_is_gone(station: Station) -> None:
    station.quiet("FilterdRedisAway", "FilterdNoReader")
    station.server.stop()
    station.fires(("FilterdRedisAway", "critical", "away"), ("FilterdNoReader", "critical", ""))
    station.server.start()


def test_no_daemon(station: Station) -> None:
    station.quiet("FilterdNoReader")
    assert station.daemon.stop() == 0
    station.fires(("FilterdNoReader", "critical", ""))


def _point(station: Station, target: str) -> None:
    """Move the link of the champion, as the registry does."""
    new = station.artifacts / "champion.new"
    new.symlink_to(target)
    new.replace(station.artifacts / "champion")


def _unit_tests() -> list[Path]:
    return sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))


def _enough(station: Station) -> None:
    """Enough verdicts, over long enough, to compare the last hour with the day before."""
    eventually(
        lambda: (
            _value(station, "job:filterd_verdicts:increase1h") > 200
            and _value(station, "job:filterd_verdicts:increase1d_offset1h") > 1000
        ),
        "enough verdicts",
        SLOW_S,
    )


def _value(station: Station, expression: str) -> float:
    samples = station.prometheus.query(expression)
    return float(samples[0]["value"][1]) if samples else 0.0


def _is_empty(station: Station, expression: str) -> bool:
    """Whether its answer holds not a single number."""
    values = [float(sample["value"][1]) for sample in station.prometheus.query(expression)]
    return not any(map(math.isfinite, values))


def _as_grafana_sends(expression: str) -> str:
    return expression.replace("$__rate_interval", "6s").replace("$job", ".+")
