"""The engine on a GPU: messages a second at several token budgets, and what limits them.

    python -m tests.bench.gpu [--shape gpt2|starter] [--messages 16384] [--rounds 5] [--json]

Random weights in bf16, messages as long as those of the SMS Spam Collection, from token ids to
scores; medians of rounds in which all sides take turns.

- ``batches of N``: as the daemon has them, one after the other, each of about N tokens
- ``at once, N``: one long list, cut into parts of N tokens, the next packed while one is scored
- ``texts at once, N``: the same from texts, by the starter's vocabulary, in the same thread
- ``hf``, ``hf-sorted``: transformers' classifier in bf16, padded batches of 32, and of 512 sorted
  by length

``packing`` is what of a batch's time goes by before the GPU has anything of it; ``share`` is what
the products need at the GPU's own rate, measured on a large product, of the time it all took.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter

import torch

from filterd import artifact
from filterd.engine import Engine, Tokens
from filterd.packing import pack
from tests.bench import peers
from tests.bench.engine import SHAPES, batches, messages, random_artifact
from tests.bench.messages import real_messages

BUDGETS = (2_048, 8_192, 32_768, 131_072)
LARGE = 8192
LARGE_PRODUCTS = 10
SORTED_BATCH = 512

Run = Callable[[], object]


def peak() -> float:
    """Floating-point operations a second of a large product in bf16."""
    one, other = (torch.randn(LARGE, LARGE, device="cuda").bfloat16() for _ in range(2))
    one @ other
    torch.cuda.synchronize()
    started = perf_counter()
    for _ in range(LARGE_PRODUCTS):
        one @ other
    torch.cuda.synchronize()
    return 2 * LARGE**3 * LARGE_PRODUCTS / (perf_counter() - started)


def sides(shape: str, ids: Sequence[list[int]]) -> Iterator[tuple[str, int, Run]]:
    """Name, messages and work of each."""
    config, made = SHAPES[shape], random_artifact(SHAPES[shape])
    hf = peers.hugging_face(config, made.weights, by_length=False, device="cuda")
    by_length = peers.hugging_face(
        config, made.weights, by_length=True, device="cuda", size=SORTED_BATCH
    )
    few = ids[::8]
    yield "hf", len(few), partial(hf, few)
    yield "hf-sorted", len(ids), partial(by_length, ids)
    texts = real_messages()
    texts = [texts[index * len(texts) // len(ids)] for index in range(len(ids))]
    for budget in BUDGETS:
        engine = Engine(made, device="cuda", precision="bf16", max_batch_tokens=budget)
        one_by_one = partial(in_turn, engine, list(batches(ids, budget)))
        at_once = partial(engine.score, [Tokens((span,)) for span in ids])
        yield f"batches of {budget}", len(ids), one_by_one
        yield f"at once, {budget}", len(ids), at_once
        yield f"texts at once, {budget}", len(ids), partial(engine.score_texts, texts)


def in_turn(engine: Engine, cut: Sequence[list[Tokens]]) -> None:
    """One batch after the other."""
    for batch in cut:
        engine.score(batch)


def packing_s(ids: Sequence[list[int]], budget: int) -> float:
    """Seconds of packing all messages in batches of a budget, on the CPU."""
    cut = [[span for message in one for span in message.windows] for one in batches(ids, budget)]
    started = perf_counter()
    for one in cut:
        pack(one, grouped=False)
    return perf_counter() - started


def measure(shape: str, count: int, rounds: int) -> dict[str, object]:
    """All sides in turns."""
    ids = messages(shape, count)
    made = list(sides(shape, ids))
    rate = peak()
    for _, _, run in made:
        run()
    times: dict[str, list[float]] = {name: [] for name, _, _ in made}
    for _ in range(rounds):
        for name, _, run in made:
            started = perf_counter()
            run()
            times[name].append(perf_counter() - started)
    needed = peers.operations(SHAPES[shape], list(map(len, ids)), last_only=True) / count
    rates = {name: some / statistics.median(times[name]) for name, some, _ in made}
    tokenizer = artifact.load().tokenizer
    started = perf_counter()
    for text in real_messages():
        tokenizer.encode(text)
    return {
        "shape": shape,
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "messages": count,
        "tokens_a_message": statistics.fmean(map(len, ids)),
        "peak_tflops": rate / 1e12,
        "limit_messages_per_s": rate / needed,
        "messages_per_s": rates,
        "share_of_peak": {name: found * needed / rate for name, found in rates.items()},
        "packing_us_a_message": {
            budget: packing_s(ids, budget) / count * 1e6 for budget in BUDGETS
        },
        "tokenizing_us_a_message": (perf_counter() - started) / len(real_messages()) * 1e6,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="gpt2")
    parser.add_argument("--messages", type=int, default=16_384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("torch sees no CUDA device")
    found = measure(options.shape, options.messages, options.rounds)
    if options.json:
        print(json.dumps(found))  # noqa: T201
        return
    for name in ("shape", "device", "torch", "messages", "tokens_a_message", "peak_tflops"):
        print(f"{name:28} {found[name]}")  # noqa: T201
    print(f"{'limit_messages_per_s':28} {found['limit_messages_per_s']:12.0f}")  # noqa: T201
    for name, rate in found["messages_per_s"].items():
        share = found["share_of_peak"][name]
        print(f"{name:28} {rate:12.0f} a second, {share:.1%} of the peak")  # noqa: T201
    for budget, took in found["packing_us_a_message"].items():
        print(f"packing, batches of {budget:<8} {took:12.1f} us a message")  # noqa: T201
    print(f"{'tokenizing':28} {found['tokenizing_us_a_message']:12.1f} us a message")  # noqa: T201


if __name__ == "__main__":
    main()
