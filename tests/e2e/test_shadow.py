"""The challenger in the shadow: it sees a share, says what it would change, and delays nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from filterd.classifier import Classifier
from filterd.shadow import chosen
from tests.artifacts import tiny_artifact
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Streams
from tests.servers import RedisServer, embedded
from tests.waiting import eventually
from trainer.cli import main
from trainer.succession import Registry


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """One kind of server is enough here."""
    with embedded() as server:
        yield server


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A champion, and a challenger that differs."""
    for seed, name in enumerate(("old", "new")):
        tiny_artifact(tmp_path / "artifacts" / name, version=name, seed=seed)
    made = Registry(tmp_path / "artifacts")
    made.promote("old", "")
    made.keep("new", "")
    return made


def test_the_shadow_compares_a_share_and_writes_what_differs(
    daemon: MakeDaemon,
    streams: Streams,
    client: redis.Redis,
    registry: Registry,
    prefix: str,
    sample: list[str],
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = daemon(
        ARTIFACT=registry.folder / "champion",
        SHADOW_SHARE=0.5,
        SHADOW_STREAM=f"{prefix}:shadow",
        RELOAD_S=0.05,
    )
    eventually(lambda: one.metric("filterd_shadow_reloads_total", result="loaded") == 1)
    ids = streams.publish(sample)
    eventually(lambda: streams.exactly_once(ids), "all settled", within_s=60)
    seen = [(id_, text) for id_, text in zip(ids, sample, strict=True) if chosen(id_.decode(), 0.5)]
    assert 0.3 < len(seen) / len(ids) < 0.7
    both = [Classifier.load(registry.folder / name, precision="fp32") for name in ("old", "new")]
    old, new = (each.classify([text for _, text in seen]) for each in both)
    expected = {
        id_: (a, b) for (id_, _), a, b in zip(seen, old, new, strict=True) if a.label != b.label
    }
    same = len(seen) - len(expected)
    assert same > 0
    assert expected
    eventually(
        lambda: one.metric("filterd_shadow_verdicts_total", result="same") == same,
        "compared",
    )
    eventually(lambda: client.xlen(f"{prefix}:shadow") == len(expected), "written")
    found = {fields[b"entry"]: fields for _, fields in client.xrange(f"{prefix}:shadow")}
    assert found.keys() == expected.keys()
    for id_, (a, b) in expected.items():
        fields = found[id_]
        assert b"text" not in fields
        assert (fields[b"champion"], fields[b"challenger"]) == (b"old", b"new")
        assert (fields[b"champion_label"], fields[b"challenger_label"]) == (
            a.label.encode(),
            b.label.encode(),
        )
        assert abs(float(fields[b"challenger_score"]) - b.score) < 1e-4
    assert one.metric("filterd_shadow_info", version="new") == 1

    monkeypatch.setenv("FILTERD_REDIS_URL", redis_url)
    monkeypatch.setenv("FILTERD_SHADOW_STREAM", f"{prefix}:shadow")

    def promote(*arguments: str) -> tuple[int, str]:
        command = ["promote", "challenger", "--after-shadow", "--artifacts", str(registry.folder)]
        with pytest.raises(SystemExit) as left:
            main([*command, *arguments])
        return int(left.value.code or 0), capsys.readouterr().err

    code, err = promote("--least", str(len(seen) + 1))
    assert (code, f"on {len(seen)} messages, {len(seen) + 1} are needed" in err) == (1, True)
    code, err = promote("--least", "1", "--agreement", "1")
    assert (code, "100.00% are needed" in err) == (1, True)
    assert registry.linked("champion") == "old"
    assert promote("--least", str(len(seen)), "--agreement", str(same / len(seen))) == (0, "")
    assert registry.history()[-1].why.startswith("agreed with old on ")
    eventually(lambda: one.metric("filterd_reloads_total", result="loaded") == 1, "reloaded")
    before = one.metric("filterd_shadow_verdicts_total", result="same")
    more = streams.publish(sample)  # the challenger is gone: nobody stands in the shadow
    eventually(lambda: streams.exactly_once([*ids, *more]), "all settled", within_s=60)
    assert one.metric("filterd_shadow_verdicts_total", result="same") == before
