"""What an audit finds: the kinds of what can be wrong, and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from filterd.streams.id_table import Counts, Flags, unpack

LISTED = 1000
"""Findings of one kind that a report lists; all are counted."""

Kind = Literal["missing", "repeated", "unsettled", "early", "bodiless", "orphan", "foreign"]

MEANING: dict[Kind, str] = {
    "missing": "settled, and no verdict or dead letter names it",
    "repeated": "named by more than one verdict or dead letter",
    "unsettled": "has an outcome and is still pending",
    "early": "has an outcome and is yet to be delivered (again)",
    "bodiless": "pending, but its entry was deleted",
    "orphan": "an outcome names it, and the input stream never held it or it was deleted",
    "foreign": "what stands in the output or the dead letters names no entry",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as promised. entry: the input entry's id, '' where none is named."""

    kind: Kind
    entry: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What the streams prove.

    entries: looked at. Each is one of: verdicts · dead_letters · closed (dead letters that were
    replayed or dropped by hand) · pending · undelivered · forgotten (settled so long ago that the
    output no longer keeps the verdict), or it is among the findings.
    past: outcomes of entries that the input no longer holds, which is as it should be.
    findings: at most LISTED of a kind · counts: how many there are of each kind.
    """

    entries: int
    verdicts: int
    dead_letters: int
    closed: int
    pending: int
    undelivered: int
    forgotten: int
    past: int
    counts: dict[Kind, int]
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether every promise that the streams can tell about was kept."""
        return not any(self.counts.values())


@dataclass(slots=True)
class Tally:
    """What has been found so far."""

    entries: int = 0
    verdicts: int = 0
    dead_letters: int = 0
    closed: int = 0
    pending: int = 0
    undelivered: int = 0
    forgotten: int = 0
    past: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def count_settled(self, each: Sequence[Counts], once: Flags) -> None:
        """each: how many verdicts, letters and closed letters · once: which have one outcome."""
        self.closed += int(np.sum(once & (each[2] > 0)))
        self.dead_letters += int(np.sum(once & (each[1] > 0) & (each[2] == 0)))
        self.verdicts += int(np.sum(once & (each[0] > 0)))

    def find(self, kind: Kind, ids: Iterable[bytes], detail: str = "") -> None:
        for packed in ids:
            self.found(kind, unpack(packed), detail)

    def found(self, kind: Kind, entry: str, detail: str = "") -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= LISTED:
            self.findings.append(Finding(kind, entry, detail))

    def report(self) -> Report:
        return Report(
            self.entries,
            self.verdicts,
            self.dead_letters,
            self.closed,
            self.pending,
            self.undelivered,
            self.forgotten,
            self.past,
            {kind: self.counts[kind] for kind in get_args(Kind)},
            tuple(sorted(self.findings, key=lambda finding: get_args(Kind).index(finding.kind))),
        )
