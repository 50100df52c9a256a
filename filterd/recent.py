"""Recent verdicts: the newest that fit a filter, found without reading the whole stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from filterd.entries import VERDICT_FIELDS
from filterd.tail import Seen, View

PAGE = 500
MOST_READ = 20_000
MOST_TEXT = 1000
"""Characters of a text that a list shows."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which verdicts are wanted. label: empty for both · scores: from least to most."""

    label: str = ""
    least: float = 0.0
    most: float = 1.0

    def fits(self, seen: Seen) -> bool:
        """Whether a verdict is wanted; an entry that is none never is."""
        try:
            score = float(seen.fields["score"])
        except (KeyError, ValueError):
            return False
        return self.label in ("", seen.fields.get("label")) and self.least <= score <= self.most


def recent(view: View, wanted: Filter, count: int) -> list[Seen]:
    """The newest ``count`` that fit, among the last MOST_READ. Raises UnavailableError."""
    found: list[Seen] = []
    cursor = "+"
    for _ in range(MOST_READ // PAGE):
        page = view.back(PAGE if wanted != Filter() else count, cursor)
        found += [seen for seen in page if wanted.fits(seen)]
        if len(found) >= count or len(page) < PAGE:
            break
        cursor = f"({page[-1].cursor}"
    return view.with_texts(found[:count])


def as_object(seen: Seen) -> Mapping[str, object]:
    """A verdict as JSON; carried fields stay behind, because nobody knows what is in them."""
    shown: dict[str, object] = {"cursor": seen.cursor}
    for name in VERDICT_FIELDS.intersection(seen.fields):
        value = seen.fields[name]
        shown[name] = float(value) if name in ("score", "threshold") else value
    if seen.text is not None:
        shown["text"] = seen.text[:MOST_TEXT]
    return shown
