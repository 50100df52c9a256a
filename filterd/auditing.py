"""``filterd audit``: what it prints."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from filterd.streams.audit_report import MEANING, Report


def as_json(report: Report) -> str:
    """One object; ``findings`` lists at most a thousand of a kind, ``counts`` counts all."""
    return json.dumps({"sound": report.sound, **asdict(report)})


def as_lines(report: Report, listed: int) -> Iterator[str]:
    """Counts, then what is wrong: kind, entry and detail, at most ``listed`` of a kind."""
    for count, what in (
        (report.entries, "entries in the input stream"),
        (report.verdicts, "have one verdict"),
        (report.dead_letters, "have one dead letter"),
        (report.closed, "had a dead letter that was replayed or dropped"),
        (report.pending, "are pending"),
        (report.undelivered, "are not yet delivered"),
        (report.forgotten, "were settled, and their verdicts were trimmed since"),
    ):
        if count or what.startswith("entries"):
            yield f"{count:>12,} {what}"
    if report.past:
        yield f"{report.past:>12,} outcomes name entries that were trimmed since"
    yield from _problems(report, listed)
    if report.counts.get("missing") and not report.verdicts:
        yield "not one verdict was found: is FILTERD_OUTPUT_STREAM the one that the daemon has?"
    if report.sound:
        yield "each entry is exactly one of these"


def _problems(report: Report, listed: int) -> Iterator[str]:
    for kind, count in report.counts.items():
        if count:
            yield f"{count:>12,} {kind}: {MEANING[kind]}"
    shown: Counter[str] = Counter()
    for finding in report.findings:
        shown[finding.kind] += 1
        if shown[finding.kind] <= listed:
            yield "\t".join(filter(None, (finding.kind, finding.entry, finding.detail)))
