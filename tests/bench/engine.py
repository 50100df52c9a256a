"""How fast the engine is, beside the article's way and transformers, and beside the machine.

    python -m tests.bench.engine [--shape gpt2|starter] [--messages N] [--rounds 3]
        [--threads N] [--cpu-time] [--json]

All sides score the same messages, as long as those of the SMS Spam Collection, with the same
random weights, from token ids to scores. They take turns, round by round; every ratio is one
round's, and printed are medians, so what disturbs the machine disturbs both sides alike.

- ``article``: ``classify_review``, one message, padded to 120, the head at every position
- ``hf``, ``hf-sorted``: transformers' GPT2ForSequenceClassification, padded batches of 32, in
  arrival order or sorted by length
- ``fp32``, ``int8``: ours, in batches as the daemon makes them; ``-padded`` with pooling
  ``padded-last``, where all 120 positions must be computed

On a machine with busy neighbours ``--threads 1 --cpu-time`` counts seconds of the processor, not of
the wall: several threads that wait for each other measure the neighbours instead.

``peak`` is the best rate of the model's own matrix products in fp32, measured each round; ``share``
is what ours needs of them (no attention, norms or GELU counted) over the time it took.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter, process_time

import torch

from filterd import artifact
from filterd.artifact import Artifact, Manifest
from filterd.engine import Engine, Tokens
from filterd.model import ModelConfig, SpamModel
from filterd.workers import threads_to_use
from tests.bench import peers
from tests.bench.messages import real_messages
from trainer.pretrained.vocabularies import of_pair

GPT2_VOCABULARY = Path(__file__).parents[3] / "shared/data/gpt2_vocab"
SHAPES = {
    "gpt2": ModelConfig(vocab_size=50257, n_positions=1024, n_layer=12, n_head=12, n_embd=768),
    "starter": ModelConfig(vocab_size=16000, n_positions=256, n_layer=3, n_head=4, n_embd=192),
}
MESSAGES = {"gpt2": 96, "starter": 2048}
ARTICLE_SHARE = 12
"""The article's way takes so many times fewer messages, or a round would last minutes."""
PEERS = ("article", "hf", "hf-sorted")
OURS = ("fp32", "int8", "fp32-padded", "int8-padded")
GOALS = {
    "gpt2": {
        "fp32/article": 7.0,
        "int8/article": 11.0,
        "fp32/hf": 2.7,
        "int8/hf": 4.0,
        "fp32/hf-sorted": 1.7,
        "fp32-padded/article": 1.15,
        "fp32": 0.82,
    },
    "starter": {"fp32/hf": 6.0},
}

Run = Callable[[Sequence[list[int]]], None]
Clock = Callable[[], float]


def messages(shape: str, count: int) -> list[list[int]]:
    """Token ids of messages spread over the whole collection, in arrival order."""
    vocabulary = of_pair(GPT2_VOCABULARY) if shape == "gpt2" else None
    tokenizer = vocabulary.tokenizer if vocabulary else artifact.load().tokenizer
    texts = real_messages()
    chosen = [texts[index * len(texts) // count] for index in range(count)]
    most = SHAPES[shape].n_positions - 1
    return [[*tokenizer.encode(text)[:most], tokenizer.end_of_text] for text in chosen]


def random_artifact(config: ModelConfig) -> Artifact:
    """An artifact of this shape whose weights are as drawn before training."""
    model = SpamModel(config)
    model.initialise(torch.Generator().manual_seed(0))
    manifest = Manifest(
        version="random",
        created_at="",
        backbone="random",
        model=config,
        max_length=config.n_positions,
        files={},
    )
    starter = artifact.load()
    return Artifact(starter.path, manifest, starter.tokenizer, model.state_dict())


def ours(made: Artifact, kind: str, threads: int) -> Run:
    """An engine over batches as the batcher cuts them: in arrival order, up to the budget."""
    precision, _, pooling = kind.partition("-")
    if pooling:
        changed = {"pooling": "padded-last", "max_length": peers.ARTICLE_LENGTH}
        made = replace(made, manifest=made.manifest.model_copy(update=changed))
    engine = Engine(made, device="cpu", precision=precision, threads=threads)
    engine.warm_up()
    padding = made.manifest.model.vocab_size - 1

    def run(ids: Sequence[list[int]]) -> None:
        if pooling:
            cut = (kept[: peers.ARTICLE_LENGTH] for kept in ids)
            ids = [kept + [padding] * (peers.ARTICLE_LENGTH - len(kept)) for kept in cut]
        for batch in batches(ids, engine.max_batch_tokens):
            engine.score(batch)

    return run


def batches(ids: Sequence[list[int]], budget: int) -> Iterator[list[Tokens]]:
    """Messages in order, as many as fit the budget at a time."""
    batch: list[Tokens] = []
    total = 0
    for message in ids:
        if batch and total + len(message) > budget:
            yield batch
            batch, total = [], 0
        batch.append(Tokens((message,)))
        total += len(message)
    yield batch


def measure(shape: str, count: int, rounds: int, threads: int, clock: Clock) -> dict[str, object]:
    """All sides in turns, and what follows from it."""
    config, ids = SHAPES[shape], messages(shape, count)
    made = random_artifact(config)
    few = ids[::ARTICLE_SHARE]
    sides: dict[str, tuple[Run, Sequence[list[int]]]] = {
        "article": (peers.article(config, made.weights), few),
        "hf": (peers.hugging_face(config, made.weights, by_length=False), ids),
        "hf-sorted": (peers.hugging_face(config, made.weights, by_length=True), ids),
        **{kind: (ours(made, kind, threads), few if "-" in kind else ids) for kind in OURS},
    }
    peak = peers.Peak(config, threads, clock)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    peaks, shares = [], {kind: [] for kind in OURS}
    for run, some in sides.values():
        run(some[:8])
    for _ in range(rounds):
        for name, (run, some) in sides.items():
            before = peak.rate() if name in OURS else 0.0
            started = clock()
            run(some)
            took = clock() - started
            rates[name].append(len(some) / took)
            if name in OURS:
                best = max(before, peak.rate())
                peaks.append(best)
                padded = "-" in name
                lengths = [peers.ARTICLE_LENGTH if padded else len(one) for one in some]
                needed = peers.operations(config, lengths, last_only=True)
                shares[name].append(needed / took / best)
    return {
        "shape": shape,
        "config": asdict(config),
        "threads": threads,
        "messages": count,
        "tokens_a_message": statistics.fmean(map(len, ids)),
        "peak_gflops": statistics.median(peaks) / 1e9,
        "limit_messages_per_s": statistics.median(peaks)
        * count
        / peers.operations(config, list(map(len, ids)), last_only=True),
        "messages_per_s": {name: statistics.median(found) for name, found in rates.items()},
        "share_of_peak": {name: statistics.median(found) for name, found in shares.items()},
        "ratios": {
            f"{kind}/{peer}": statistics.median(
                one / other for one, other in zip(rates[kind], rates[peer], strict=True)
            )
            for kind in OURS
            for peer in PEERS
        },
    }


def table(found: dict[str, object]) -> Iterator[str]:
    """The figures as lines of Markdown."""
    shape = str(found["shape"])
    yield (
        f"{shape}: {found['messages']} messages of {found['tokens_a_message']:.1f} tokens, "
        f"{found['threads']} threads; peak {found['peak_gflops']:.0f} GFLOP/s, "
        f"so at most {found['limit_messages_per_s']:.1f} messages a second in fp32"
    )
    yield ""
    yield "| side | messages/s | × article | × hf | × hf-sorted | share of fp32 peak |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, rate in found["messages_per_s"].items():
        cells = [f"{rate:.1f}"]
        names = [f"{name}/{peer}" for peer in PEERS]
        cells += [_cell(found["ratios"].get(pair), shape, pair) for pair in names]
        share = found["share_of_peak"].get(name)
        cells.append("" if share is None else f"{share:.0%}" + _goal(name, shape))
        yield f"| {name} | {' | '.join(cells)} |"


def _cell(ratio: float | None, shape: str, pair: str) -> str:
    return "" if ratio is None else f"{ratio:.2f}" + _goal(pair, shape)


def _goal(name: str, shape: str) -> str:
    goal = GOALS[shape].get(name)
    return f" (goal {goal:g})" if goal else ""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="gpt2")
    parser.add_argument("--messages", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--cpu-time", action="store_true", help="of one thread")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    threads = options.threads or threads_to_use()
    if options.cpu_time and threads != 1:
        parser.error("--cpu-time needs --threads 1: the time of several would be added up")
    torch.set_num_threads(threads)
    count = options.messages or MESSAGES[options.shape]
    clock = process_time if options.cpu_time else perf_counter
    found = measure(options.shape, count, options.rounds, threads, clock)
    if options.json:
        print(json.dumps(found))  # noqa: T201
        return
    for line in table(found):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()
