"""A histogram that takes many values at once: a batch's for the price of a few of the client's."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Histogram(Collector):
    """Counts values by the bucket that they are in. Threads may share it.

    bounds: the highest value of each bucket, none of them negative, in order; above the last there
    is one more.
    """

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._text = name, text
        self._bounds = (*bounds, inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._lock = Lock()
        registry.register(self)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.observe_all([value])

    def observe_all(self, values: Sequence[float]) -> None:
        """Count values; a reader sees all of them or none."""
        found = Counter(bisect_left(self._bounds, value) for value in values)
        total = sum(values)
        with self._lock:
            for bucket, count in found.items():
                self._counts[bucket] += count
            self._sum += total

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """The name that no other series may have."""
        return [HistogramMetricFamily(self._name, self._text)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """What the registry asks for."""
        with self._lock:
            counts, total = list(accumulate(self._counts)), self._sum
        names = map(floatToGoString, self._bounds)
        buckets = list(zip(names, map(float, counts), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=total)
