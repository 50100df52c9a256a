"""A short soak on every run of the suite; ``python -m tests.soak`` makes the long ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.soak.ledger import Ledger
from tests.soak.plan import WEIGHTS, Plan, faults
from tests.soak.soaking import soak
from tests.soak.watching import trend

PLAN = Plan(messages=100, rate=1, faults=500)


@pytest.mark.timeout(400)
def test_every_promise_is_kept_through_a_dozen_faults(short_path: Path) -> None:
    plan = Plan(messages=4000, rate=200, daemons=3, spared=1, faults=12, claim_idle_s=2.0, seed=3)
    found = soak(plan, short_path, print)
    assert found.problems == [], found.to_text()
    assert found.dead_letters == found.unsettled == 0
    assert found.verdicts == found.entries >= plan.messages
    assert sum(found.faults.values()) == 12
    assert all(count > 0 for counts in found.held.values() for count in counts)
    assert json.loads(found.to_json())["problems"] == []
    assert "every promise was kept" in found.to_text()


def test_a_seed_makes_the_same_faults_again() -> None:
    planned = list(faults(PLAN))
    assert planned == list(faults(PLAN))
    assert planned != list(faults(Plan(messages=100, rate=1, faults=500, seed=1)))
    assert {fault.kind for fault in planned} == set(WEIGHTS)
    assert [fault.after_s for fault in planned] == sorted(fault.after_s for fault in planned)


def test_spared_daemons_are_never_ended() -> None:
    for spared in (1, 3):
        plan = Plan(messages=100, rate=1, faults=500, spared=spared)
        ended = {f.daemon for f in faults(plan) if f.kind in ("kill", "terminate")}
        assert ended == set(range(spared, plan.daemons))


class TestLedger:
    """Everything that can go wrong is noticed."""

    @pytest.fixture
    def ledger(self) -> Ledger:
        made = Ledger()
        for number in range(3):
            made.published(b"%d-0" % number, b"a-%d" % number)
        return made

    def verdict(self, number: int, own: bytes | None = None) -> dict[bytes, bytes]:
        return {b"entry": b"%d-0" % number, b"id": own or b"a-%d" % number, b"at": b"%d" % number}

    def test_all_well(self, ledger: Ledger) -> None:
        assert not ledger.complete({b"a": 3})
        for number in (2, 0, 1):
            ledger.judged(self.verdict(number))
        assert ledger.complete({b"a": 3})
        assert not ledger.complete({b"a": 4})
        assert (ledger.broken, ledger.verdicts, len(ledger.open)) == (0, 3, 0)

    def test_a_second_verdict(self, ledger: Ledger) -> None:
        ledger.judged(self.verdict(1))
        ledger.judged(self.verdict(1))
        assert ledger.complaints == ["b'1-0': a verdict too many"]

    def test_a_verdict_of_another_message(self, ledger: Ledger) -> None:
        ledger.judged(self.verdict(1, b"a-2"))
        assert ledger.broken == 1

    def test_a_dead_letter(self, ledger: Ledger) -> None:
        ledger.buried({b"entry": b"1-0", b"reason": b"poison", b"detail": b"why"})
        assert "poison, why" in ledger.complaints[0]

    def test_an_ack_without_an_outcome(self, ledger: Ledger) -> None:
        ledger.acked([b"0-0", b"1-0"])
        ledger.judged(self.verdict(0))  # it came meanwhile
        assert ledger.broken == 0
        ledger.acked([b"1-0", b"2-0"])
        assert ledger.complaints == ["b'1-0': acked without an outcome"]

    def test_messages_sent_again_and_messages_lost(self, ledger: Ledger) -> None:
        ledger.published(b"3-0", b"a-2")
        assert (ledger.resent, ledger.broken) == (1, 0)
        ledger.published(b"4-0", b"a-5")
        assert "were lost by the server" in ledger.complaints[0]

    def test_it_remembers_only_what_has_not_ended(self) -> None:
        ledger = Ledger()
        for number in range(10_000):
            ledger.published(b"%d-0" % number, b"a-%d" % number)
            ledger.judged(self.verdict(number))
        assert not ledger.open
        assert ledger.waited_ms(0.5) == ledger.waited_ms(1.0) == 0


@pytest.mark.parametrize(
    ("name", "end", "grows"),
    [
        ("one: memory, MB", 104, False),
        ("one: memory, MB", 106, True),
        ("one: tasks", 101, False),
        ("one: tasks", 102, True),
        ("server: keys", 80, False),
        ("one: connections", 8, False),
        ("one: connections", 9, True),
    ],
)
def test_growth_is_seen_where_it_counts(name: str, end: float, grows: bool) -> None:
    values = [50.0] * 20 + [100.0] * 60 + [end] * 20  # warming up is no growth
    assert trend(name, values).grows is grows
    assert not trend(name, values[-30:]).grows, "too short to tell"
