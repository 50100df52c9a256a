"""What padding in attention costs, and what cutting into groups does: choose a bound for it.

    python -m tests.bench.packing [--json] [--device cpu|cuda] [--threads N]

Batches of real message lengths run through attention (the calls that groups decide about) and
through the whole model, packing included. All bounds take turns in one run, so that what disturbs
the machine disturbs them alike; printed are medians of ratios to no padding, below 1 is faster.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from filterd import artifact
from filterd.demo import sample
from filterd.model import ModelConfig, SpamModel
from filterd.model.gpt2 import GPT2Attention
from filterd.packing import Packed, pack

DATA = Path(__file__).parents[3] / "shared" / "data" / "sms_spam_collection" / "SMSSpamCollection"
BOUNDS = (0.0, 0.05, 0.15, 0.3, 0.75, 1.0)
MODELS = {
    "3x128": ModelConfig(vocab_size=4001, n_positions=1024, n_layer=3, n_head=4, n_embd=128),
    "2x768": ModelConfig(vocab_size=4001, n_positions=1024, n_layer=2, n_head=12, n_embd=768),
}
BUDGETS = (512, 4096)
"""Tokens of a batch: a daemon that keeps up, and one that is behind."""


@dataclass(frozen=True, slots=True)
class Row:
    """One bound's figures for one model and budget. attention, forward: ratios to bound 0."""

    model: str
    budget_tokens: int
    max_padding: float
    groups: float
    padding: float
    attention: float
    forward: float


def messages() -> list[list[int]]:
    """Token ids of the SMS Spam Collection where it is, else of the sample that comes along."""
    if DATA.is_file():
        texts = [line.partition("\t")[2] for line in DATA.read_text().split("\n") if line]
    else:
        texts = [text for _, text in sample()]
    tokenizer = artifact.load().tokenizer
    return [[*tokenizer.encode(text), tokenizer.end_of_text] for text in texts]


def batches(budget: int, count: int) -> list[list[list[int]]]:
    """Batches of messages in random order, filled as the batcher fills them."""
    queue = messages()
    random.Random(7).shuffle(queue)
    made, batch, total = [], [], 0
    for ids in queue * (1 + count * budget // sum(map(len, queue))):
        if total + len(ids) > budget:
            made.append(batch)
            batch, total = [], 0
        batch.append(ids)
        total += len(ids)
    return made[:count]


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long one call takes, until the device is done."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def attend(attention: GPT2Attention, qkv: torch.Tensor, packed: Packed) -> None:
    """The calls that groups decide about, without the linear layers around them."""
    attention.attend(*qkv.chunk(3, dim=-1), packed)


def score(spam_model: SpamModel, batch: list[list[int]], bound: float) -> torch.Tensor:
    """A batch from token ids to logits, (B, 2), packed under a bound."""
    packed = pack(batch, padding=bound).to(spam_model.head.weight.device)
    return spam_model(packed).cpu()


@torch.inference_mode()
def measure(name: str, budget: int, device: torch.device, repeats: int) -> list[Row]:
    """All bounds over the same batches, in turns."""
    spam_model = SpamModel(MODELS[name])
    spam_model.initialise(torch.Generator().manual_seed(0))
    spam_model.eval().to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    attention: GPT2Attention = spam_model.h[0].attn
    width, dtype = MODELS[name].n_embd, attention.c_attn.weight.dtype
    some = batches(budget, count=max(2, 4096 // budget))
    spent: dict[float, list[tuple[float, float]]] = {bound: [] for bound in BOUNDS}
    shapes: dict[float, list[tuple[int, float]]] = {bound: [] for bound in BOUNDS}
    for turn in range(repeats + 1):
        for batch in some:
            for bound in BOUNDS:
                packed = pack(batch, padding=bound).to(device)
                qkv = torch.randn(len(packed.tokens), 3 * width, device=device, dtype=dtype)
                alone = seconds(partial(attend, attention, qkv, packed), device)
                whole = seconds(partial(score, spam_model, batch, bound), device)
                if turn:  # the first one warms up
                    spent[bound].append((alone, whole))
                    shapes[bound].append((len(packed.groups), packed.padding_ratio))
    return [
        Row(
            name,
            budget,
            bound,
            statistics.mean(groups for groups, _ in shapes[bound]),
            statistics.mean(padding for _, padding in shapes[bound]),
            *(
                statistics.median(
                    one[part] / base[part]
                    for one, base in zip(spent[bound], spent[BOUNDS[0]], strict=True)
                )
                for part in (0, 1)
            ),
        )
        for bound in BOUNDS
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="more are noisy on busy cores")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.json:
        print("model   tokens  bound  groups  padding  attention  forward")  # noqa: T201
    for name in MODELS:
        for budget in BUDGETS:
            for row in measure(name, budget, torch.device(options.device), options.repeats):
                line = (
                    json.dumps(asdict(row))
                    if options.json
                    else f"{row.model:6} {row.budget_tokens:7} {row.max_padding:6.2f} "
                    f"{row.groups:7.1f} {row.padding:8.3f} "
                    f"{row.attention:10.3f} {row.forward:8.3f}"
                )
                print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
