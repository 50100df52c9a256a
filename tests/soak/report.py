"""The report of a soak, for people and as JSON."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.soak.ledger import Ledger
from tests.soak.plan import Plan
from tests.soak.striking import Strike
from tests.soak.watching import Trend


@dataclass(frozen=True, slots=True)
class Report:
    """What a soak did and found. problems: empty where every promise was kept."""

    plan: Plan
    seconds: float
    messages: int
    entries: int
    resent: int
    verdicts: int
    dead_letters: int
    unsettled: int
    wait_ms: dict[str, float]
    faults: dict[str, int]
    held: dict[str, list[int]]
    trends: list[Trend]
    problems: list[str]

    def to_json(self) -> str:
        """One object."""
        return json.dumps(asdict(self), indent=2)

    def to_text(self) -> str:
        """Lines for people."""
        rows: list[tuple[str, Any]] = [
            (
                "server, artifact, seed",
                f"{self.plan.server}, {self.plan.artifact}, {self.plan.seed}",
            ),
            ("daemons, never ended", f"{self.plan.daemons}, {self.plan.spared}"),
            ("minutes", f"{self.seconds / 60:.1f}"),
            ("messages published", f"{self.messages:,}"),
            ("sent again, unconfirmed", f"{self.resent:,}"),
            ("entries", f"{self.entries:,}"),
            ("verdicts", f"{self.verdicts:,}"),
            ("dead letters", self.dead_letters),
            ("unsettled at the end", self.unsettled),
            ("ms to the verdict", ", ".join(f"{k} {v:,.0f}" for k, v in self.wait_ms.items())),
            ("faults", sum(self.faults.values())),
        ]
        lines = [f"{name:26} {value}" for name, value in rows]
        for kind, count in sorted(self.faults.items()):
            held = sorted(self.held[kind])
            middle = held[len(held) // 2]
            lines.append(
                f"  {kind:24} {count:4}  entries held: {held[0]} to {held[-1]}, median {middle}"
            )
        lines += [
            f"{trend.name:30} warm {trend.warm:10,.1f}  end {trend.end:10,.1f}  "
            f"most {trend.most:10,.1f}  {trend.growth:+.1%}{'  GROWS' if trend.grows else ''}"
            for trend in self.trends
        ]
        lines += [f"BROKEN: {problem}" for problem in self.problems]
        return "\n".join([*lines, "FAILED" if self.problems else "every promise was kept"])


def report(
    plan: Plan,
    seconds: float,
    messages: int,
    ledger: Ledger,
    strikes: Sequence[Strike],
    trends: Sequence[Trend],
    problems: Sequence[str],
) -> Report:
    """Put together what was seen."""
    held: defaultdict[str, list[int]] = defaultdict(list)
    for strike in strikes:
        held[strike.kind].append(strike.held)
    grown = [
        f"{trend.name} grew by {trend.growth:+.1%}"
        for trend in trends
        if trend.grows and plan.trims
    ]
    broken = [f"{ledger.broken} broken promises"] if ledger.broken else []
    shares = {"median": 0.5, "99%": 0.99, "longest": 1.0}
    return Report(
        plan=plan,
        seconds=seconds,
        messages=messages,
        entries=ledger.entries,
        resent=ledger.resent,
        verdicts=ledger.verdicts,
        dead_letters=ledger.dead,
        unsettled=len(ledger.open),
        wait_ms={name: ledger.waited_ms(share) for name, share in shares.items()},
        faults=dict(Counter(strike.kind for strike in strikes)),
        held=dict(held),
        trends=list(trends),
        problems=[*broken, *ledger.complaints, *grown, *problems],
    )
