"""The gate: what a challenger must show to become champion. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.bootstrap import Interval, differences
from trainer.evaluation import Evaluation
from trainer.measures import LOWER_IS_BETTER

NO_WORSE = ("f1", "auc", "accuracy", "false_positive_rate")
BETTER = "accuracy"
"""Of feedback, which may be all spam or all ham: right answers, of all."""


@dataclass(frozen=True, slots=True)
class Limits:
    """See the settings of the same names."""

    least_test: int
    least_held_out: int
    least_sample: int
    margin: float
    ham_margin: float
    most_doubtful: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Challenger and champion on the same messages."""

    challenger: Evaluation
    champion: Evaluation

    @property
    def rows(self) -> int:
        """How many messages."""
        return self.challenger.measures.rows

    def difference(self, name: str) -> float | None:
        """Challenger's minus champion's; None where there is no such measure."""
        ours = getattr(self.challenger.measures, name)
        theirs = getattr(self.champion.measures, name)
        return None if ours is None or theirs is None else float(ours - theirs)

    @property
    def intervals(self) -> dict[str, Interval]:
        """95% intervals of the differences, paired: the same resamples for both."""
        return differences(self.challenger.samples, self.champion.samples)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the gate asks. found: what was measured, in words."""

    name: str
    asks: str
    found: str
    passed: bool


def judge(
    test: Pair, held_out: Pair | None, sample: Pair | None, doubtful: float, limits: Limits
) -> list[Check]:
    """Everything that is asked; promoted is who passes it all.

    test: the frozen set · held_out: recent feedback that was not learned · sample: feedback on
    messages drawn at random · doubtful: share of fresh feedback that looks mislabelled. None: there
    are no such messages.
    """
    checks = [_no_worse("frozen test set", test, limits.least_test, limits)]
    checks.append(_better(held_out, limits))
    if sample is not None and sample.rows >= limits.least_sample:
        checks.append(_no_worse("sample of traffic", sample, limits.least_sample, limits))
    checks.append(
        Check(
            "labels",
            f"at most {limits.most_doubtful:.0%} of new feedback looks mislabelled",
            f"{doubtful:.0%} does",
            doubtful <= limits.most_doubtful,
        )
    )
    return checks


def refusals(checks: Sequence[Check]) -> str:
    """What was not passed, in a line; empty where all was."""
    return "; ".join(f"{check.name}: {check.found}" for check in checks if not check.passed)


def _no_worse(name: str, pair: Pair, least: int, limits: Limits) -> Check:
    """Neither measured to be worse by more than the margin, nor shown to be worse at all."""
    intervals, found, passed = pair.intervals, [], pair.rows >= least
    for measure in NO_WORSE:
        difference = pair.difference(measure)
        if difference is None:
            continue
        sign = -1 if measure in LOWER_IS_BETTER else 1
        margin = limits.ham_margin if measure == "false_positive_rate" else limits.margin
        low, high = intervals[measure]
        shown_worse = high < 0 if sign > 0 else low > 0
        if sign * difference < -margin or (shown_worse and sign * difference < 0):
            passed = False
        found.append(f"{_words(measure)} {difference:+.4f} ({low:+.4f} to {high:+.4f})")
    asks = (
        f"no worse, on at least {least}: at most {limits.margin:g} less, "
        f"{limits.ham_margin:g} more ham blocked, and "
        "no interval wholly on the worse side"
    )
    return Check(name, asks, f"{', '.join(found)} on {pair.rows:,}", passed)


def _better(pair: Pair | None, limits: Limits) -> Check:
    asks = f"better, on at least {limits.least_held_out}: an interval wholly above 0"
    rows = 0 if pair is None else pair.rows
    if pair is None or rows < limits.least_held_out:
        return Check("held-out feedback", asks, f"only {rows} messages", passed=False)
    low, high = pair.intervals[BETTER]
    difference = pair.difference(BETTER)
    found = f"{BETTER} {difference:+.4f} ({low:+.4f} to {high:+.4f}) on {rows:,}"
    return Check("held-out feedback", asks, found, low > 0)


def _words(measure: str) -> str:
    return {"false_positive_rate": "ham blocked", "auc": "AUC", "f1": "F1"}.get(measure, measure)
