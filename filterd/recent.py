"""Recent verdicts: the newest that fit a filter, found without reading the whole streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from filterd.entries import VERDICT_FIELDS
from filterd.errors import UnavailableError
from filterd.feedback import order
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


@dataclass(frozen=True, slots=True)
class Found:
    """Verdicts, newest first. unknown: empty, or why those of some streams are missing."""

    verdicts: Sequence[Seen]
    unknown: str = ""


def recent(views: Sequence[View], wanted: Filter, count: int) -> Found:
    """The newest ``count`` that fit, among about the last MOST_READ of all views.

    A server that is away hides only what is on it. Raises UnavailableError where all are.
    """
    found: list[tuple[View, Seen]] = []
    failed: list[UnavailableError] = []
    for view in views:
        try:
            own = _newest(view, wanted, count, max(PAGE, MOST_READ // len(views)))
            found += [(view, seen) for seen in own]
        except UnavailableError as error:
            failed.append(error)
    if len(failed) == len(views):
        raise failed[0]
    found = sorted(found, key=lambda one: order(one[1].cursor), reverse=True)[:count]
    unknown = f"{len(failed)} of {len(views)} partitions: {failed[0]}" if failed else ""
    return Found(_with_texts(found), unknown)


def _with_texts(found: Sequence[tuple[View, Seen]]) -> list[Seen]:
    """The verdicts of several views in the same order, with the texts that each of them shows."""
    shown: dict[int, Seen] = {}
    for view in dict.fromkeys(view for view, _ in found):
        places = [place for place, (own, _) in enumerate(found) if own is view]
        shown.update(
            zip(places, view.with_texts([found[place][1] for place in places]), strict=True)
        )
    return [shown[place] for place in range(len(found))]


def _newest(view: View, wanted: Filter, count: int, most: int) -> list[Seen]:
    found: list[Seen] = []
    cursor = "+"
    for _ in range(most // PAGE):
        page = view.back(PAGE if wanted != Filter() else count, cursor)
        found += [seen for seen in page if wanted.fits(seen)]
        if len(found) >= count or len(page) < PAGE:
            break
        cursor = f"({page[-1].cursor}"
    return found[:count]


def as_object(seen: Seen) -> Mapping[str, object]:
    """A verdict as JSON; carried fields stay behind, because nobody knows what is in them."""
    shown: dict[str, object] = {"cursor": seen.cursor}
    for name in VERDICT_FIELDS.intersection(seen.fields):
        value = seen.fields[name]
        shown[name] = float(value) if name in ("score", "threshold") else value
    if seen.text is not None:
        shown["text"] = seen.text[:MOST_TEXT]
    return shown
