"""The batcher: nothing is lost or overtaken, the budget holds, nobody waits beyond the linger."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from filterd.batcher import Batch, Batcher, Waiting


class Batching(RuleBasedStateMachine):
    """A batcher beside a plain queue of what it must hold."""

    @initialize(max_tokens=st.integers(1, 60), linger_s=st.sampled_from([0.0, 0.5, 3.0]))
    def start(self, max_tokens: int, linger_s: float) -> None:
        self.max_tokens, self.linger_s = max_tokens, linger_s
        self.batcher: Batcher[int] = Batcher(max_tokens, linger_s)
        self.queue: deque[Waiting[int]] = deque()
        self.now_s = 100.0
        self.count = 0

    @rule(tokens=st.integers(1, 80), alone=st.booleans())
    def put(self, tokens: int, alone: bool) -> None:
        waiting = Waiting(self.count, tokens, self.now_s, alone)
        self.batcher.put(waiting)
        self.queue.append(waiting)
        self.count += 1

    @rule(seconds=st.floats(0, 2))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(drain=st.booleans())
    def take(self, drain: bool) -> None:
        due = self.batcher.due_in_s(self.now_s)
        total = sum(waiting.tokens for waiting in self.queue)
        batch = self.batcher.take(self.now_s, drain)
        if batch is None:
            assert not self.queue or (due and total < self.max_tokens and not drain)
        else:
            self.check(batch)

    def check(self, batch: Batch[int]) -> None:
        expected = tuple(self.queue.popleft() for _ in batch.items)
        assert batch.items == expected
        assert batch.tokens == sum(waiting.tokens for waiting in expected)
        assert batch.tokens <= self.max_tokens or len(expected) == 1
        assert len(expected) == 1 or not any(waiting.alone for waiting in expected)
        if self.queue and not (expected[0].alone or self.queue[0].alone):
            assert batch.tokens + self.queue[0].tokens > self.max_tokens

    @invariant()
    def holds_what_was_put(self) -> None:
        assert len(self.batcher) == len(self.queue)
        assert self.batcher.tokens == sum(waiting.tokens for waiting in self.queue)

    @invariant()
    def nobody_waits_beyond_the_linger(self) -> None:
        due = self.batcher.due_in_s(self.now_s)
        assert (due is None) == (not self.queue)
        if due is not None:
            assert 0 <= due <= self.linger_s

    def teardown(self) -> None:
        while batch := self.batcher.take(self.now_s, drain=True):
            self.check(batch)
        assert not self.queue


TestBatching = Batching.TestCase


def queued(*tokens: int, max_tokens: int = 100, linger_s: float = 0.0) -> Batcher[int]:
    batcher: Batcher[int] = Batcher(max_tokens, linger_s)
    for index, count in enumerate(tokens):
        batcher.put(Waiting(index, count, since_s=10.0 + index))
    return batcher


@pytest.mark.parametrize(
    ("tokens", "linger_s", "now_s", "drain", "reason"),
    [
        ((1,), 0.0, 10.0, False, "idle"),
        ((100,), 0.0, 10.0, False, "full"),
        ((60, 40), 5.0, 11.0, False, "full"),
        ((60, 39), 5.0, 11.0, False, None),
        ((60, 39), 5.0, 15.0, False, "linger"),
        ((60,), 5.0, 11.0, True, "drain"),
        ((), 0.0, 10.0, True, None),
    ],
)
def test_reason(
    tokens: tuple[int, ...], linger_s: float, now_s: float, drain: bool, reason: str | None
) -> None:
    batch = queued(*tokens, linger_s=linger_s).take(now_s, drain)
    assert (batch and batch.reason) == reason


@given(
    st.floats(0, 1e9),
    st.floats(0.001, 100),
    st.floats(0, 200),
)
def test_waking_up_when_due_finds_a_batch(since_s: float, linger_s: float, passed_s: float) -> None:
    batcher: Batcher[str] = Batcher(100, linger_s)
    batcher.put(Waiting("only", 1, since_s))
    now_s = since_s + passed_s
    for _ in range(3):  # a float's rounding may leave a last fraction to wait for
        due = batcher.due_in_s(now_s)
        assert due is not None
        if not due:
            break
        now_s += max(due, 1e-6)
    assert batcher.take(now_s) is not None


def test_oldest_decides_when_all_go() -> None:
    batcher = queued(1, 1, linger_s=5.0)
    assert batcher.due_in_s(12.0) == 3.0
    batch = batcher.take(15.0)
    assert batch is not None
    assert len(batch.items) == 2


def test_full_batch_leaves_the_rest_to_linger() -> None:
    batcher = queued(60, 60, linger_s=5.0)
    batch = batcher.take(11.0)
    assert batch is not None
    assert [waiting.item for waiting in batch.items] == [0]
    assert batcher.take(11.0) is None
    assert batcher.due_in_s(11.0) == 5.0


def test_message_above_the_budget_goes_alone() -> None:
    batcher = queued(1, 500, 1)
    sizes = [batch.tokens for batch in iter(lambda: batcher.take(20.0), None)]
    assert sizes == [1, 500, 1]
