"""How fast the article's method trains here, beside a plain implementation of its loop.

    python -m tests.bench.article [--json] [--messages N] [--epochs 5] [--blocks 12] [--width 768]
        [--pooling padded-last|last|both] [--threads N] [--data FOLDER]

The plain side is the method written straight down in torch: every message padded to the longest,
all blocks at every step, the head at every position. Ours is the ``article`` recipe. Both start
from the same random weights and the same generator, see the same batches in the same order, and
run one after another, each in a process of its own. The clock of each starts with texts and
weights in memory and stops with trained weights: tokenising and building the model count in both,
in ours also hashing the weights, features, checkpoints, and the whole validation split an epoch.
The plain side's norm and GELU are torch's own, faster than the ones that the article writes out.

Frozen features are computed once, so the ratio grows with the epochs: E epochs take E * p plain
and f + E * q here; ``ratio_at_5`` is 5 * p / (f + 5 * q) from the measured p, f and q. Part of f
and q is the same for any number of messages (models, hashes): few messages understate the ratio.
``--messages`` takes the first N of the training split, and N / 7 (40 at least) to validate, padded
as all would be.

Floating-point operations, counted from shapes (two a multiply-add; norms, GELU, softmax, the head
and AdamW are left out), for a message of T tokens, width C, L blocks:

    a block, whole squares of attention        D = 24 T C^2 + 4 T^2 C
    a block, attention up to each token        A = 24 T C^2 + 2 T (T + 1) C
    the last block, for the last token alone   Z = 4 T C^2 + 20 C^2 + 4 T C
    plain: a message scored L D, learned (L + 2) D (the last block's backward pass is twice D)
    ours:  a message's features (L - 1) A, once; scored Z, learned 3 Z

The ratio of these sums is printed as ``ceiling``: what both sides would show at the same share of
the machine's peak. The peak is the median rate of the model's own products in fp32, measured
before, between and after the sides; a side's share is of the mean of the two beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tests.bench.article.case import ROOT, Case, Course, apart, case_of
from tests.bench.article.counted import flop, matmul_rate
from tests.bench.article.ours import learn_ours, overrides
from tests.bench.article.plain import PlainLoop

DATA = ROOT.parent / "shared" / "data"
TOLERANCE = 1e-3
"""In nats: how far the losses of a step may lie apart."""
OURS = ("padded-last", "last")


@dataclass(frozen=True, slots=True)
class Side:
    """A side's course and its cost. rate: of the matmuls beside it, operations a second."""

    course: Course
    seconds: float
    cpu_s: float
    peak_bytes: int
    flop: float
    rate: float = math.nan

    def row(self) -> dict[str, float]:
        """Its figures by name."""
        return {
            "seconds": self.seconds,
            "cpu_s": self.cpu_s,
            "features_s": self.course.features_s,
            "peak_mib": self.peak_bytes / 2**20,
            "tflop": self.flop / 1e12,
            "peak_gflops": self.rate / 1e9,
            "share_of_peak": self.flop / self.seconds / self.rate,
        }


def run_side(name: str, case: Case, folder: Path) -> Side:
    """One side in this process."""
    weights = case.weights()
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first imports for seconds
    started, began = time.perf_counter(), time.process_time()

    def say(line: str) -> None:
        print(f"{name} {time.perf_counter() - started:7.1f} s · {line}", file=sys.stderr)  # noqa: T201

    if name == "plain":
        loop = PlainLoop(case, weights, say)
        del weights  # the model has its own: they need not stay
        course = loop.run()
    else:
        course = learn_ours(case, weights, folder, say, overrides(case, name))
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - began
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Side(course, seconds, cpu_s, peak, flop(case, name))


def in_process(name: str, folder: Path) -> Side:
    """One side in a process of its own, with this one's options."""
    command = [sys.executable, "-m", __spec__.name, *sys.argv[1:], "--side", name]
    done = subprocess.run(
        [*command, "--folder", str(folder)], stdout=subprocess.PIPE, check=True, cwd=ROOT
    )
    values = json.loads(done.stdout)
    return Side(**values | {"course": Course(**values["course"])})


def compared(name: str, ours: Side, plain: Side, epochs: int) -> dict[str, float]:
    """Our side's figures beside the plain side's."""
    features_s = ours.course.features_s
    plain_epoch_s, epoch_s = plain.seconds / epochs, (ours.seconds - features_s) / epochs
    row = {
        **ours.row(),
        "ratio": plain.seconds / ours.seconds,
        "ratio_of_cpu_s": plain.cpu_s / ours.cpu_s,
        "ratio_at_5": 5 * plain_epoch_s / (features_s + 5 * epoch_s),
        "ceiling": plain.flop / ours.flop,
    }
    if name == "padded-last":
        row["step_difference"] = apart(ours.course.losses, plain.course.losses)
        row["look_difference"] = apart(
            *([v for pair in side.course.looks for v in pair] for side in (ours, plain))
        )
    return row


def measure(names: Sequence[str], case: Case) -> dict[str, Any]:
    """All sides, the peak measured between them."""
    rows = case.method.batch_size * case.length
    rates, sides = [matmul_rate(case.config.n_embd, rows)], {}
    for name in ("plain", *names):
        with tempfile.TemporaryDirectory(prefix="fd-") as folder:
            side = in_process(name, Path(folder))
        rates.append(matmul_rate(case.config.n_embd, rows))
        sides[name] = replace(side, rate=statistics.fmean(rates[-2:]))
    plain = sides.pop("plain")
    return {"plain": plain.row()} | {
        name: compared(name, side, plain, case.method.epochs) for name, side in sides.items()
    }


def main() -> None:
    """Measure and print; fails where the two sides' losses of a step differ."""
    options = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the side, deletes its folder
    if options.threads:
        torch.set_num_threads(options.threads)
    case = case_of(options)
    if options.side:
        print(json.dumps(asdict(run_side(options.side, case, options.folder))))  # noqa: T201
        return
    names = OURS if options.pooling == "both" else (options.pooling,)
    about = {
        "messages": len(case.learned),
        "validation": len(case.checked),
        "length": case.length,
        "epochs": case.method.epochs,
        "blocks": case.config.n_layer,
        "width": case.config.n_embd,
        "threads": torch.get_num_threads(),
    }
    found = measure(names, case)
    if options.json:
        print(json.dumps({**about, **found}))  # noqa: T201
    else:
        print(" · ".join(f"{name} {value}" for name, value in about.items()))  # noqa: T201
        for side, row in found.items():
            for name, value in row.items():
                print(f"{side:12} {name:16} {value:12.6g}")  # noqa: T201
    if found.get("padded-last", {}).get("step_difference", 0) > TOLERANCE:
        raise SystemExit(f"the two sides' losses differ by more than {TOLERANCE} at a step")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--messages", type=int, default=0, help="to learn from; 0: all")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--pooling", choices=(*OURS, "both"), default="both", help="of our side")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes")
    parser.add_argument(
        "--data",
        type=Path,
        default=DATA,
        help="folder with sms_spam_collection/ and gpt2_vocab/",
    )
    parser.add_argument("--side", choices=("plain", *OURS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
