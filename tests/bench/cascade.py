"""How much faster a cascade is than its large model alone, on the same messages.

    python -m tests.bench.cascade ARTIFACT [--messages 1024] [--rounds 3] [--json]

ARTIFACT is what ``trainer cascade`` wrote. Both sides take turns, round by round, from texts to
verdicts, and the ratio is one round's; printed are medians. What the cascade costs in F1 was
measured when it was fitted and stands in its manifest: it is printed beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from filterd import artifact
from filterd.classifier import Classifier
from tests.bench.messages import real_messages

CHUNK = 512


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--messages", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts = real_messages()
    chosen = [texts[index * len(texts) // options.messages] for index in range(options.messages)]
    found = measure(options.artifact, chosen, options.rounds)
    if options.json:
        print(json.dumps(found))  # noqa: T201
        return
    for name, value in found.items():
        print(f"{name:28} {value:12.3f}")  # noqa: T201


def measure(path: Path, texts: Sequence[str], rounds: int) -> dict[str, float]:
    """Rates of both, their ratio, the share that the small model answers, and F1 as fitted."""
    loaded = artifact.load(path)
    cascade = loaded.manifest.cascade
    if cascade is None:
        raise SystemExit(f"{path} is no cascade: give what trainer cascade wrote")
    sides = {
        "cascade": Classifier.of(loaded),
        "large": Classifier.of(replace(loaded, fast=None)),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side.warm_up()
    fast = 0
    for _ in range(rounds):
        for name, side in sides.items():
            started = perf_counter()
            verdicts = [
                verdict
                for first in range(0, len(texts), CHUNK)
                for verdict in side.classify(texts[first : first + CHUNK])
            ]
            rates[name].append(len(texts) / (perf_counter() - started))
            fast += sum(verdict.stage == "fast" for verdict in verdicts)
    return {
        "cascade_messages_per_s": statistics.median(rates["cascade"]),
        "large_messages_per_s": statistics.median(rates["large"]),
        "ratio": statistics.median(
            one / other for one, other in zip(rates["cascade"], rates["large"], strict=True)
        ),
        "answered_by_the_small_model": fast / rounds / len(texts),
        **{name: value for name, value in cascade.measures.items() if "f1" in name},
    }


if __name__ == "__main__":
    main()
