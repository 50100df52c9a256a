"""Dead letters in the log: each is counted, and a flood of them is no flood of lines."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from filterd.deadlog import EVERY_S, DeadLog
from filterd.entries import Answer, DeadLetter, Entry, Reason, Verdict
from filterd.streams.settling import Settled


def settled(*reasons: Reason) -> Settled:
    letters = tuple(DeadLetter("1-0", reason, f"{reason} indeed", 1) for reason in reasons)
    answer = Answer(Entry("2-0", "hello", None, ()), Verdict.decide(0.9, 0.5, "m"))
    return Settled(0, (*letters, answer), (), (), None)


async def test_one_line_a_minute_counts_them_all() -> None:
    now_s = [0.0]
    watching = DeadLog(lambda: now_s[0])
    with capture_logs() as lines:
        watching.watch(settled())
        assert not lines
        watching.watch(settled("no-text"))
        for _ in range(10):
            watching.watch(settled("no-text", "poison"))
        assert [(line["reason"], line["count"]) for line in lines] == [("no-text", 1)]
        now_s[0] = EVERY_S
        watching.watch(settled())
        watching.watch(settled("no-text"))
        running = asyncio.ensure_future(watching.run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait({running})
        assert (lines.pop()["reason"], watching._new) == ("no-text", {})
    found = [(line["reason"], line["count"], line["last"]) for line in lines[1:]]
    assert found == [("no-text", 10, "no-text indeed"), ("poison", 10, "poison indeed")]
