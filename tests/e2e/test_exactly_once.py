"""Every entry gets exactly one verdict, through crashes, and as good a one as the card says."""

from __future__ import annotations

import csv
from pathlib import Path

from filterd import artifact
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Daemon, Streams
from tests.waiting import eventually
from trainer.prepare import prepare
from trainer.source import local


def test_the_test_split_is_judged_as_the_card_claims(
    daemon: MakeDaemon, streams: Streams, collection: Path, tmp_path: Path
) -> None:
    prepare(local(collection), tmp_path / "split", 123, (None, None))
    with (tmp_path / "split" / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ids = streams.publish([row["Text"] for row in rows])
    daemon()
    eventually(lambda: streams.exactly_once(ids), "all settled", within_s=60)
    labels = {verdict[b"entry"]: verdict[b"label"].decode() for verdict in streams.verdicts()}
    right = sum(labels[id_] == row["Label"] for id_, row in zip(ids, rows, strict=True))
    assert abs(right / len(rows) - artifact.load().manifest.metrics["test_accuracy"]) < 1e-6


def test_all_rows_of_the_collection_get_one_verdict_each(
    daemon: MakeDaemon, streams: Streams, collection: Path
) -> None:
    texts = [line.split("\t", 1)[1] for line in _lines(collection)]
    assert len(texts) == 5574
    one = daemon()
    ids = streams.publish(texts)
    eventually(lambda: streams.outcomes() >= len(ids), "all settled", within_s=90)
    assert streams.exactly_once(ids)
    assert len(streams.verdicts()) == len(ids)
    own = {verdict[b"entry"]: verdict[b"id"] for verdict in streams.verdicts()}
    assert [own[id_] for id_ in ids] == [b"m%d" % number for number in range(len(ids))]
    assert one.metric("filterd_entries_read_total") == len(ids)
    assert one.stop() == 0


def test_a_killed_daemon_is_restarted_and_nothing_is_lost(
    daemon: MakeDaemon, streams: Streams, sample: list[str]
) -> None:
    ids = streams.publish(sample * 8)
    for part in range(1, 4):
        victim = daemon()
        _until_settled(streams, part * len(ids) // 8)
        victim.kill()
    assert streams.outcomes() < len(ids)
    daemon()
    eventually(lambda: streams.exactly_once(ids), "all settled", within_s=90)
    assert streams.dead_letters() == []


def test_of_two_daemons_one_is_killed_and_the_other_claims_its_entries(
    daemon: MakeDaemon, streams: Streams, sample: list[str]
) -> None:
    victim = daemon(CONSUMER="one", CLAIM_IDLE_S=1)
    survivor = daemon(CONSUMER="two", CLAIM_IDLE_S=1)
    ids = streams.publish(sample * 8)
    _until_settled(streams, len(ids) // 8)
    victim.kill()
    eventually(lambda: streams.exactly_once(ids), "all settled", within_s=90)
    assert streams.dead_letters() == []
    assert _settled_by(survivor) > 0


def test_sigterm_settles_what_was_read_and_leaves_nothing_pending(
    daemon: MakeDaemon, streams: Streams, sample: list[str]
) -> None:
    one = daemon()
    ids = streams.publish(sample * 8)
    _until_settled(streams, 1)
    assert one.stop() == 0
    assert streams.pending() == 0
    assert streams.outcomes() < len(ids)
    daemon()
    eventually(lambda: streams.exactly_once(ids), "all settled", within_s=90)


def _lines(collection: Path) -> list[str]:
    return (collection / "SMSSpamCollection").read_text(encoding="utf-8").rstrip("\n").split("\n")


def _until_settled(streams: Streams, count: int) -> None:
    eventually(lambda: streams.outcomes() >= count, f"{count} settled", within_s=60)


def _settled_by(one: Daemon) -> float:
    return sum(one.metric("filterd_verdicts_total", label=label) for label in ("spam", "ham"))
