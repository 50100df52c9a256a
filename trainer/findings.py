"""What an evaluation found, for people in a terminal, for programs, and for the report's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from trainer.bootstrap import Interval, differences
from trainer.dataset import Label, Message
from trainer.evaluation import Evaluation, Robustness
from trainer.measures import LOWER_IS_BETTER, MEASURED

MISTAKES = 25
DASH = "–"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A message on the wrong side of the threshold; ``text`` only where it was asked for."""

    row: int
    label: Label
    score: float
    characters: int
    text: str | None


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one evaluation found.

    data: the file measured · baseline, robustness: None where not measured · course: the
    artifact's own ``report/evaluation.json`` · notes: what a reader must know to trust the rest.
    """

    model: str
    data: str
    evaluation: Evaluation
    mistakes: Sequence[Mistake]
    baseline: Evaluation | None = None
    robustness: Sequence[Robustness] | None = None
    baseline_robustness: Sequence[Robustness] | None = None
    course: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()

    @property
    def differences(self) -> dict[str, Interval]:
        """95% intervals of the artifact's measures minus the baseline's; none without one."""
        if self.baseline is None:
            return {}
        return differences(self.evaluation.samples, self.baseline.samples)

    def as_json(self) -> dict[str, Any]:
        """One object: measures at the top, what cannot be told as null with a reason."""
        found: dict[str, Any] = {"model": self.model, "data": self.data}
        found |= self.evaluation.as_json()
        if self.baseline is not None:
            found["baseline"] = self.baseline.as_json()
            found["differences"] = {name: list(ends) for name, ends in self.differences.items()}
        for name in ("robustness", "baseline_robustness"):
            rows = getattr(self, name)
            if rows is not None:
                found[name] = [asdict(row) for row in rows]
        found["mistakes"] = [_without_none(asdict(mistake)) for mistake in self.mistakes]
        found["notes"] = list(self.notes)
        return found

    def lines(self) -> list[str]:
        """What a person reads in a terminal."""
        measures = self.evaluation.measures
        counts = ("rows", "spam_found", "spam_missed", "ham_kept", "ham_blocked")
        lines = [f"{_words(name):<20} {getattr(measures, name):>8}" for name in counts]
        lines += [self._measure_line(name) for name in MEASURED]
        if self.robustness:
            lines += ["", "spam found when its texts are altered"]
            theirs = self.baseline_robustness or ()
            pairs = zip_longest(self.robustness, theirs)
            lines += [_altered_line(ours, other) for ours, other in pairs]
        if self.mistakes and self.mistakes[0].text is not None:
            lines += ["", "worst mistakes: row, label, score, text"]
            lines += [_mistake_line(mistake) for mistake in self.mistakes]
        return lines + [f"note: {note}" for note in self.notes]

    def _measure_line(self, name: str) -> str:
        line = f"{_words(name):<20} {shown_in_full(self.evaluation, name):<42}"
        if self.baseline is not None:
            line += f" baseline {shown_in_full(self.baseline, name)}"
        return line.rstrip()


def worst(
    messages: Sequence[Message], evaluation: Evaluation, texts: bool, most: int = MISTAKES
) -> list[Mistake]:
    """The mistakes furthest from their side of the threshold, worst first, at most ``most``."""
    scores, spam = evaluation.scores, evaluation.spam
    wrong = np.flatnonzero((scores >= evaluation.threshold) != (spam == 1))
    distance = np.abs(scores - evaluation.threshold)[wrong]
    places = wrong[np.argsort(-distance, kind="stable")][:most]
    return [
        Mistake(
            row=messages[place].row,
            label=messages[place].label,
            score=round(float(scores[place]), 6),
            characters=len(messages[place].text),
            text=messages[place].text if texts else None,
        )
        for place in places
    ]


def verdict(name: str, difference: Interval | None) -> str:
    """Whether the artifact beats the baseline in a measure: better, worse or no difference."""
    if difference is None:
        return ""
    if difference.low <= 0 <= difference.high:
        return "no difference shown"
    return "worse" if (difference.low > 0) == (name in LOWER_IS_BETTER) else "better"


def shown(value: float | None) -> str:
    """Four decimals, or a dash where it cannot be told."""
    return DASH if value is None else f"{value:.4f}"


def shown_in_full(evaluation: Evaluation, name: str) -> str:
    """A measure with its interval, or with the reason why it lacks one."""
    value = shown(getattr(evaluation.measures, name))
    if name in evaluation.intervals:
        low, high = evaluation.intervals[name]
        return f"{value} ({low:.4f} to {high:.4f})"
    reason = evaluation.reasons.get(name)
    return f"{value} ({reason})" if reason else value


def _altered_line(row: Robustness, theirs: Robustness | None) -> str:
    line = (
        f"{_words(row.alteration):<20} {row.recall:>7.2%} ({row.low:.2%} to {row.high:.2%}) "
        f"{row.change:+.2%}, {row.changed:,} texts changed"
    )
    return line if theirs is None else f"{line}, baseline {theirs.recall:.2%}"


def _mistake_line(mistake: Mistake) -> str:
    text = " ".join((mistake.text or "").split())
    return f"{mistake.row:>6} {mistake.label:<4} {mistake.score:.4f} {text}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
