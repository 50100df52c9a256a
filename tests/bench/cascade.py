"""How much faster a cascade is than its large model alone, on the same messages.

    python -m tests.bench.cascade ARTIFACT [--data FILE] [--rounds 3] [--json]

ARTIFACT is what ``trainer cascade`` wrote. FILE holds messages that neither model learned; without
it, the test side of the SMS Spam Collection, each text once. Both sides share the large model's
engine and take turns, round by round, from texts to verdicts; the ratio is one round's, printed are
medians. What the cascade does to F1 was measured when it was fitted and stands in its manifest: it
is printed beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from filterd.cascade import FAST
from filterd.classifier import Classifier
from tests.bench.messages import real_messages
from trainer.dataset import read_texts
from trainer.splitting import fold, side

CHUNK = 512
SEED = 123


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts = unlearned() if options.data is None else list(read_texts(options.data))
    found = measure(options.artifact, texts, options.rounds)
    if options.json:
        print(json.dumps(found))  # noqa: T201
        return
    for name, value in found.items():
        print(f"{name:28} {value:12.3f}")  # noqa: T201


def unlearned() -> list[str]:
    """The test side of what ``trainer prepare`` makes of the collection."""
    distinct = {fold(text): text for text in real_messages()}
    return [text for text in distinct.values() if side(text, SEED) == "test"]


def measure(path: Path, texts: Sequence[str], rounds: int) -> dict[str, float]:
    """Rates, their ratio, the share that the small model answers, and the fit's measures."""
    joined = Classifier.load(path, precision="fp32")
    cascade = joined.engine.manifest.cascade
    if cascade is None:
        raise SystemExit(f"{path} is no cascade: give what trainer cascade wrote")
    joined.warm_up()
    sides = {"cascade": joined, "large": Classifier(joined.engine)}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    answered = 0.0
    for _ in range(rounds):
        for name, one in sides.items():
            started = perf_counter()
            stages = [
                verdict.stage
                for first in range(0, len(texts), CHUNK)
                for verdict in one.classify(texts[first : first + CHUNK])
            ]
            rates[name].append(len(texts) / (perf_counter() - started))
            answered += stages.count(FAST) / len(texts) / rounds
    pairs = zip(rates["cascade"], rates["large"], strict=True)
    return {
        "cascade_messages_per_s": statistics.median(rates["cascade"]),
        "large_messages_per_s": statistics.median(rates["large"]),
        "ratio": statistics.median(one / other for one, other in pairs),
        "small_model_answers": answered,
        **{f"fitted_{name}": value for name, value in cascade.measures.items()},
    }


if __name__ == "__main__":
    main()
