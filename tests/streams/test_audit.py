"""The audit: whatever was deleted, doubled or acked by hand is named; all else is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filterd.errors import SettingsError, UnavailableError
from filterd.streams import audit as auditing
from filterd.streams import audit_report
from filterd.streams.audit import audit, work_ahead
from filterd.streams.audit_report import Report
from filterd.streams.consumer import watermark_key
from filterd.streams.names import StreamNames
from tests.commands import filterd

MOST = 1000


@dataclass
class Bench:
    """Streams that a test brings into any state."""

    client: redis.Redis
    names: StreamNames
    at: int = 0
    outcome_of: dict[str, list[bytes]] = field(default_factory=dict)

    def publish(self, count: int) -> list[str]:
        """Entries a millisecond apart, beginning in 1970."""
        ids = [f"{self.at + number}-0" for number in range(1, count + 1)]
        self.at += count
        pipe = self.client.pipeline(transaction=False)
        for id_ in ids:
            pipe.xadd(self.names.input, {"text": "hello"}, id=id_)
        pipe.execute()
        return ids

    def group(self) -> None:
        self.client.xgroup_create(self.names.input, self.names.group, "0", mkstream=True)

    def deliver(self, count: int) -> None:
        group, stream = self.names.group, self.names.input
        self.client.xreadgroup(group, "me", {stream: ">"}, count=count)

    def outcome(self, stream: str, *ids: str) -> None:
        """Verdicts or dead letters that name these entries."""
        for id_ in ids:
            made: bytes = self.client.xadd(stream, {"entry": id_, "x": "y"})
            self.outcome_of.setdefault(id_, []).append(made)

    def ack(self, *ids: str) -> None:
        if ids:
            self.client.xack(self.names.input, self.names.group, *ids)

    def settled(self, count: int) -> list[str]:
        """Entries with one verdict each."""
        ids = self.publish(count)
        if not self.client.xinfo_groups(self.names.input):
            self.group()
        self.deliver(count)
        self.outcome(self.names.output, *ids)
        self.ack(*ids)
        return ids

    def audit(self, most: int = MOST) -> Report:
        return audit(self.client, self.names, most)

    def found(self, most: int = MOST) -> set[tuple[str, str]]:
        return {(finding.kind, finding.entry) for finding in self.audit(most).findings}


@pytest.fixture
def bench(client: redis.Redis, prefix: str) -> Iterator[Bench]:
    names = StreamNames(f"{prefix}:in", f"{prefix}:out", f"{prefix}:dead", "g")
    yield Bench(client, names)
    client.delete(names.input, names.output, names.dead, names.closed)


@pytest.fixture(params=[3, 2000], ids=["small pages", "one page"])
def bench_paged(
    bench: Bench, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    monkeypatch.setattr(auditing, "PAGE", request.param)
    return bench


# What an entry may be, by what the audit calls it: outcomes, pending, body there.
STATES = {
    "verdicts": ("v", False),
    "dead_letters": ("d", False),
    "closed": ("c", False),
    "pending": ("", True),
    "missing": ("", False),
    "repeated": ("vv", False),
    "repeated across": ("vd", False),
    "unsettled": ("v", True),
    "bodiless": ("", True),
    "orphan": ("v", False),
}


@given(
    states=st.lists(st.sampled_from(sorted(STATES)), max_size=25),
    waiting=st.integers(0, 5),
    page=st.integers(1, 7),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_entry_is_called_what_it_is(
    bench: Bench, states: list[str], waiting: int, page: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditing, "PAGE", page)
        bench.client.delete(
            bench.names.input, bench.names.output, bench.names.dead, bench.names.closed
        )
        bench.at = 0
        bench.group()
        (keep,) = bench.settled(1)  # so that what is deleted is not below the first entry
        ids = bench.publish(len(states))
        bench.deliver(len(states) or 1)
        streams = {"v": bench.names.output, "d": bench.names.dead, "c": bench.names.closed}
        for id_, state in zip(ids, states, strict=True):
            outcomes, pending = STATES[state]
            for letter in outcomes:
                bench.outcome(streams[letter], id_)
            bench.ack(*([] if pending else [id_]))
            if state in ("bodiless", "orphan"):
                bench.client.xdel(bench.names.input, id_)
        bench.publish(waiting)
        report = bench.audit()

    expected = Counter(state.split()[0] for state in states)
    deleted = expected["bodiless"] + expected["orphan"]
    assert report.entries == 1 + len(states) + waiting - deleted
    assert report.undelivered == waiting
    assert report.verdicts == 1 + expected["verdicts"]
    for name in ("dead_letters", "closed", "pending"):
        assert getattr(report, name) == expected[name]
    assert {kind: n for kind, n in report.counts.items() if n} == {
        kind: expected[kind] for kind in report.counts if expected[kind]
    }
    named = {(finding.kind, finding.entry) for finding in report.findings}
    assert named == {
        (state.split()[0], id_)
        for id_, state in zip(ids, states, strict=True)
        if state.split()[0] in report.counts
    }
    assert report.sound == (not named)
    assert keep not in {entry for _, entry in named}


def test_a_deleted_verdict_is_missed(bench_paged: Bench) -> None:
    ids = bench_paged.settled(20)
    bench_paged.client.xdel(bench_paged.names.output, bench_paged.outcome_of[ids[6]][0])
    assert bench_paged.found() == {("missing", ids[6])}


def test_a_deleted_output_is_not_taken_for_a_trimmed_one(bench_paged: Bench) -> None:
    ids = bench_paged.settled(7)
    bench_paged.client.delete(bench_paged.names.output)
    assert bench_paged.found() == {("missing", id_) for id_ in ids}


def test_an_ack_by_hand_is_named(bench_paged: Bench) -> None:
    bench_paged.settled(3)
    by_hand, _ = bench_paged.publish(2)
    bench_paged.deliver(2)
    bench_paged.ack(by_hand)
    assert bench_paged.found() == {("missing", by_hand)}
    assert bench_paged.audit().pending == 1


def test_a_doubled_verdict_is_named_also_when_its_entry_was_trimmed(bench_paged: Bench) -> None:
    ids = bench_paged.settled(10)
    bench_paged.outcome(bench_paged.names.output, ids[1], ids[8])
    bench_paged.client.xtrim(bench_paged.names.input, minid="4-0", approximate=False)
    assert bench_paged.found() == {("repeated", ids[1]), ("repeated", ids[8])}
    assert bench_paged.audit().past == 3


def test_trimmed_verdicts_are_no_loss_and_a_lost_one_after_them_is(bench: Bench) -> None:
    ids = bench.settled(40)
    now_ms = bench.client.time()[0] * 1000
    late = []
    for number in range(20):  # newer than every verdict above
        late.append(f"{now_ms + 3_600_000 + number}-0")
        bench.client.xadd(bench.names.input, {"text": "late"}, id=late[-1])
    bench.deliver(20)
    bench.outcome(bench.names.output, *late[:-1])
    bench.ack(*late)
    bench.client.xtrim(bench.names.output, maxlen=30, approximate=False)
    report = bench.audit(most=30)
    assert (report.forgotten, report.verdicts) == (29, 30)
    assert bench.found(most=30) == {("missing", late[-1])}
    assert ids[0] not in {finding.entry for finding in report.findings}


def test_outcomes_that_name_nothing_that_was_there(bench: Bench) -> None:
    bench.settled(3)
    bench.outcome(bench.names.output, "999-0", "nonsense", f"{2**64}-0", "")
    bench.client.xadd(bench.names.dead, {"reason": "poison"})
    bench.client.xadd(bench.names.output, {"entry": "1-0", "stream": "another partition's"})
    report = bench.audit()
    assert report.counts["orphan"] == 1
    assert report.counts["foreign"] == 4
    assert ("orphan", "999-0") in bench.found()


def test_a_group_that_is_gone_begins_again_at_the_watermark(bench: Bench) -> None:
    ids = bench.settled(5)
    mark = watermark_key(bench.names.input, bench.names.group)
    bench.client.set(mark, f"({ids[3]}")
    bench.client.xgroup_destroy(bench.names.input, bench.names.group)
    assert bench.found() == {("early", ids[3]), ("early", ids[4])}
    bench.client.delete(mark)
    assert len(bench.found()) == 5


def test_many_bodiless_entries_do_not_hide_behind_a_page(bench_paged: Bench) -> None:
    ids = bench_paged.publish(25)
    bench_paged.group()
    bench_paged.deliver(25)
    bench_paged.client.xdel(bench_paged.names.input, *ids[2:23])
    report = bench_paged.audit()
    assert (report.entries, report.pending, report.counts["bodiless"]) == (4, 4, 21)


def test_long_lists_are_counted_in_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_report, "LISTED", 2)
    bench.settled(9)
    bench.client.delete(bench.names.output)
    report = bench.audit()
    assert report.counts["missing"] == 9
    assert len(report.findings) == 2


def test_work_done_is_told(bench: Bench) -> None:
    bench.settled(9)
    told: list[int] = []
    audit(bench.client, bench.names, MOST, told.append)
    assert told[-1] == work_ahead(bench.client, bench.names) == 18


def test_what_is_no_stream_is_refused(bench: Bench) -> None:
    with pytest.raises(SettingsError, match="FILTERD_INPUT_STREAM"):
        bench.audit()
    bench.publish(1)
    bench.client.set(bench.names.output, "no stream")
    with pytest.raises(UnavailableError, match="WRONGTYPE"):
        bench.audit()
    bench.client.delete(bench.names.output)


def test_the_command_says_what_is_wrong(bench: Bench, redis_url: str, prefix: str) -> None:
    names = {
        "redis_url": redis_url,
        "input_stream": bench.names.input,
        "output_stream": bench.names.output,
        "dead_stream": bench.names.dead,
        "group": bench.names.group,
    }
    ids = bench.settled(12)
    well = filterd("audit", **names)
    assert (well.code, well.err) == (0, "")
    assert "12 have one verdict" in well.out
    assert "each entry is exactly one of these" in well.out
    bench.client.xdel(bench.names.output, *(bench.outcome_of[id_][0] for id_ in ids[3:6]))
    wrong = filterd("audit", "--list", "2", **names)
    assert wrong.code == 1
    assert f"\nmissing\t{ids[3]}\nmissing\t{ids[4]}\n" in wrong.out
    assert "3 missing: settled, and no verdict" in wrong.out
    found = json.loads(filterd("audit", "--json", **names).out)
    assert (found["sound"], found["counts"]["missing"]) == (False, 3)
    assert [finding["entry"] for finding in found["findings"]] == ids[3:6]
