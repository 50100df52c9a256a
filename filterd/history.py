"""History: the last minutes of a daemon, so that a page opened now shows what was before.

Pure: a reading is what the counters say at a moment, a sample is the difference of two readings.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

KEPT = 600
"""Samples, one a second: ten minutes."""
PERCENTS = (50.0, 95.0, 99.0)
STAGES = ("queue", "tokenize", "forward", "settle")
RECENT = 10
"""Readings that the numbers of now are taken over."""
DISTRIBUTIONS = frozenset(
    {
        *(f"{stage}_seconds" for stage in STAGES),
        *("latency_seconds", "batch_entries", "batch_tokens", "batch_padding_ratio", "score"),
    }
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram. bounds: upper, the last is infinite · counts: in each bucket alone."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total: float

    @property
    def count(self) -> float:
        """All observations."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """None where there is no observation."""
        return self.total / self.count if self.count else None

    def since(self, earlier: Distribution) -> Distribution:
        """What was observed after ``earlier``."""
        counts = tuple(b - a for a, b in zip(earlier.counts, self.counts, strict=True))
        return Distribution(self.bounds, counts, self.total - earlier.total)

    def percentile(self, percent: float) -> float | None:
        """The value that ``percent`` are not above, straight between the bounds of its bucket.

        Above the last finite bound it is that bound: no more is known.
        """
        wanted, below, low = self.count * percent / 100, 0.0, 0.0
        if not self.count:
            return None
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count and below + count >= wanted:
                if math.isinf(bound):
                    return low
                return low + (bound - low) * max(0.0, wanted - below) / count
            below, low = below + count, bound
        return low


@dataclass(frozen=True, slots=True)
class Reading:
    """All series at a moment. values: by name, and by name and label value, without prefix."""

    at_s: float
    values: Mapping[tuple[str, str], float]
    distributions: Mapping[str, Distribution]

    def value(self, name: str, label: str = "") -> float:
        """A counter or a gauge; 0 where there is none."""
        return self.values.get((name, label), 0.0)

    def total(self, name: str) -> float:
        """A counter over all values of its label."""
        return sum(value for (found, _), value in self.values.items() if found == name)


@dataclass(frozen=True, slots=True)
class Sample:
    """What happened between two readings; None where nothing says.

    at: unix seconds · spam, ham, dead: a second · latency_ms: p50, p95, p99
    stages_ms: mean of queue, tokenize, forward, settle · entries, tokens: mean of a batch
    padding: mean share · lag, pending, oldest_s (the older of pending and undelivered): at the end
    errors: times that Redis was away · remembered: share of the verdicts that were answered from
    memory, without a forward pass · group: verdicts a second of all daemons, where known
    """

    at: float
    spam: float
    ham: float
    dead: float
    latency_ms: tuple[float | None, ...]
    stages_ms: tuple[float | None, ...]
    entries: float | None
    tokens: float | None
    padding: float | None
    lag: float | None
    pending: float
    oldest_s: float
    errors: float
    remembered: float | None = None
    group: float | None = None


class History:
    """The last samples, in bounded memory."""

    def __init__(self, kept: int = KEPT) -> None:
        self._readings: deque[Reading] = deque(maxlen=RECENT + 1)
        self._scores: deque[tuple[float, ...]] = deque(maxlen=kept + 1)
        self._samples: deque[Sample] = deque(maxlen=kept)

    def add(self, reading: Reading, group: float | None = None) -> Sample | None:
        """Take a reading; the sample that it ends, but for the first. group: see Sample."""
        before = self._readings[-1] if self._readings else None
        self._readings.append(reading)
        if found := reading.distributions.get("score"):
            self._scores.append(found.counts[:-1])
        if before is None or reading.at_s <= before.at_s:
            return None
        self._samples.append(replace(sample(before, reading), group=group))
        return self._samples[-1]

    def samples(self) -> list[dict[str, object]]:
        """All samples, oldest first, as objects."""
        return [asdict(one) for one in self._samples]

    def recent(self) -> Sample | None:
        """One sample over the last RECENT readings."""
        if len(self._readings) < 2:
            return None
        return sample(self._readings[0], self._readings[-1])

    def scores(self) -> Sequence[float]:
        """Verdicts in each of the score's buckets, over all that is remembered."""
        if not self._scores:
            return ()
        return [
            after - before for before, after in zip(self._scores[0], self._scores[-1], strict=True)
        ]


def sample(before: Reading, after: Reading) -> Sample:
    """What happened between two readings."""
    seconds = max(after.at_s - before.at_s, 1e-3)
    since = {
        name: found.since(before.distributions[name])
        for name, found in after.distributions.items()
        if name in before.distributions
    }

    def rate(name: str, label: str) -> float:
        return round((after.value(name, label) - before.value(name, label)) / seconds, 2)

    latency = since.get("latency_seconds")
    lag = after.value("lag_entries")
    verdicts = after.total("verdicts_total") - before.total("verdicts_total")
    hits = after.value("duplicate_hits_total") - before.value("duplicate_hits_total")
    oldest = ("oldest_pending_seconds", "oldest_undelivered_seconds")
    return Sample(
        at=round(after.at_s, 2),
        spam=rate("verdicts_total", "spam"),
        ham=rate("verdicts_total", "ham"),
        dead=round(
            (after.total("dead_letters_total") - before.total("dead_letters_total")) / seconds, 2
        ),
        latency_ms=tuple(_ms(latency.percentile(p)) if latency else None for p in PERCENTS),
        stages_ms=tuple(_ms(_mean(since, f"{stage}_seconds")) for stage in STAGES),
        entries=_rounded(_mean(since, "batch_entries"), 1),
        tokens=_rounded(_mean(since, "batch_tokens"), 0),
        padding=_rounded(_mean(since, "batch_padding_ratio"), 4),
        lag=None if math.isnan(lag) else lag,
        pending=after.value("pending_entries"),
        oldest_s=round(max(after.value(name) for name in oldest), 1),
        errors=after.total("redis_errors_total") - before.total("redis_errors_total"),
        remembered=min(1.0, round(hits / verdicts, 4)) if verdicts else None,  # hits come first
    )


def read(registry: CollectorRegistry, at_s: float) -> Reading:
    """All of filterd's series that a registry holds."""
    values: dict[tuple[str, str], float] = {}
    distributions: dict[str, Distribution] = {}
    for family in registry.collect():
        name = family.name.removeprefix("filterd_")
        if family.type == "histogram":
            if name in DISTRIBUTIONS:
                distributions[name] = _distribution(family)
        elif name != family.name:
            for one in family.samples:
                if not one.name.endswith("_created"):
                    label = next(iter(one.labels.values()), "")
                    values[one.name.removeprefix("filterd_"), label] = one.value
    return Reading(at_s, values, distributions)


def _distribution(family: Metric) -> Distribution:
    """A histogram, whose buckets count what is below them too."""
    bounds, counts, total, below = [], [], 0.0, 0.0
    for one in family.samples:
        if one.name.endswith("_bucket"):
            bounds.append(float(one.labels["le"]))
            counts.append(one.value - below)
            below = one.value
        elif one.name.endswith("_sum"):
            total = one.value
    return Distribution(tuple(bounds), tuple(counts), total)


def _mean(since: Mapping[str, Distribution], name: str) -> float | None:
    found = since.get(name)
    return None if found is None else found.mean


def _ms(seconds: float | None) -> float | None:
    return _rounded(None if seconds is None else seconds * 1000, 2)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
