"""Daemons on one stream share the work; a cascade's verdicts say which stage answered."""

from __future__ import annotations

from pathlib import Path

from tests.artifacts import tiny_artifact, tiny_cascade
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Streams
from tests.waiting import eventually


def test_no_daemon_hoards_while_another_has_nothing_to_do(
    daemon: MakeDaemon, streams: Streams, tiny: Path
) -> None:
    given = {"ARTIFACT": tiny, "MAX_BATCH_TOKENS": 256, "DUPLICATE_CACHE": 0}
    first, second = daemon(CONSUMER="one", **given), daemon(CONSUMER="two", **given)
    texts = [f"message number {number}" for number in range(10_000)]
    ids = streams.publish(texts)
    most = 0

    def done() -> bool:
        nonlocal most
        found = streams.client.xpending(streams.input, streams.group)["consumers"]
        most = max([most, *(int(consumer["pending"]) for consumer in found)])
        return streams.outcomes() == len(ids)

    eventually(done, "all settled", within_s=90)
    assert streams.exactly_once(ids)
    # A batch being scored, one ahead, one read and one being settled: 256 tokens are 11 messages.
    assert most < 200
    shares = [one.metric("filterd_entries_read_total") for one in (first, second)]
    assert min(shares) > len(ids) / 10


def test_a_cascade_behind_redis(daemon: MakeDaemon, streams: Streams, tmp_path: Path) -> None:
    fast = tiny_artifact(tmp_path / "fast", version="tiny-fast", seed=1)
    large = tiny_artifact(tmp_path / "large", version="tiny-large", seed=2)
    one = daemon(ARTIFACT=tiny_cascade(tmp_path / "both", fast, large, (0.3, 0.7)))
    ids = streams.publish([f"message {number} {'win ' * (number % 7)}" for number in range(300)])
    eventually(lambda: streams.exactly_once(ids), "all settled", within_s=60)
    stages = {verdict[b"stage"] for verdict in streams.verdicts()}
    assert stages == {b"fast", b"large"}
    assert one.stop() == 0
