"""``filterd bench --sweep``: the highest rate whose latency stays within a bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filterd.bench import PERCENTILES, Step
from filterd.errors import SettingsError

MOST_DOUBLINGS = 20
PRECISION = 0.05
PLOT_HINT = "--plot needs matplotlib: pip install 'filterd[bench]'"


@dataclass(frozen=True, slots=True)
class Bound:
    """What must hold: so many percent of the messages within so many milliseconds."""

    percentile: float
    ms: float


@dataclass(frozen=True, slots=True)
class Sweep:
    """All steps in the order they ran, and the highest rate that held; None where none did."""

    bound: Bound
    steps: tuple[Step, ...]
    best_rate: float | None


def sweep(
    measure: Callable[[float], Step], bound: Bound, first_rate: float, precision: float = PRECISION
) -> Sweep:
    """Double the rate until the bound breaks (halve it until it holds), then close in.

    precision: how near the highest rate that held and the lowest that did not have to come, as a
    share of the rate.
    """
    steps: list[Step] = []

    def holds(rate: float) -> bool:
        steps.append(measure(rate))
        return steps[-1].holds(bound.percentile, bound.ms)

    good, bad, rate = 0.0, 0.0, first_rate
    for _ in range(MOST_DOUBLINGS):
        if holds(rate):
            good, rate = rate, rate * 2
        else:
            bad, rate = rate, rate / 2
        if good and bad:
            break
    while good and bad and bad - good > precision * bad:
        rate = round((good + bad) / 2, 3)
        if holds(rate):
            good = rate
        else:
            bad = rate
    return Sweep(bound, tuple(steps), good or None)


def check_plot(path: Path) -> None:
    """Raises SettingsError where a plot could not be drawn, before any load is sent."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SettingsError(PLOT_HINT) from None
    if path.suffix[1:] not in Figure().canvas.get_supported_filetypes():
        raise SettingsError(f"--plot {path}: give a name that ends in .png, .svg or .pdf")


def plot(steps: Sequence[Step], bound: Bound | None, path: Path) -> None:
    """Latency by rate, one line a percentile; the bound where there is one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(steps, key=lambda step: step.rate)
    for percentile in PERCENTILES:
        values = [step.latency_ms[f"p{percentile:g}"] for step in ordered]
        axes.plot([step.rate for step in ordered], values, marker="o", label=f"p{percentile:g}")
    if bound is not None:
        label = f"bound: p{bound.percentile:g} ≤ {bound.ms:g} ms"
        axes.axhline(bound.ms, color="black", linestyle="--", label=label)
    axes.set(xlabel="messages a second", ylabel="milliseconds to the verdict", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)
