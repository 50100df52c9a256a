"""``trainer compose``: a language model writes texts like the messages at hand, for ``--texts``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count as numbers
from math import ceil
from pathlib import Path

import torch

from filterd.errors import DataError, SettingsError
from trainer import pretrained
from trainer.checkpoint import Checkpoint
from trainer.dataset import Label, Message
from trainer.distillation import Sources
from trainer.distributed import ALONE, Workers
from trainer.material import Material, gather
from trainer.opinions import device_suffix
from trainer.pretrained import Pretrained
from trainer.progress import progress
from trainer.recipe import Recipe
from trainer.splitting import fold
from trainer.training import Say
from trainer.writer import CHOICES, Writer

TEMPERATURES = (1.0, 1.0, 1.15, 1.3)
"""In turn: as it learned, and bolder."""
LABELS: tuple[Label, ...] = ("spam", "ham")
STALE = 0.01
"""Share of new texts below which a round brought nothing worth its while."""
ROUND = 64
"""Texts written in a round, at least."""
PATIENCE = len(LABELS) * len(TEMPERATURES)
"""Such rounds in a row after which the writer is said to repeat itself."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be written: by which pretrained model, after how many epochs, how much, where.

    seed: another writes other texts · work: folder that keeps what it has learned.
    """

    backbone: str
    epochs: int
    count: int
    output: Path
    work: Path
    seed: int = 123


def compose(
    recipe: Recipe, sources: Sources, wish: Wish, say: Say, workers: Workers = ALONE
) -> int:
    """Write distinct texts, none of which is in the data, one a line; returns how many.

    The file grows as they are written: what an interrupted run leaves can be used. What was learned
    is kept, epoch by epoch, for an interrupted run and for more texts. Raises DataError
    where the output exists, the data is bad or nothing new came of it, SettingsError for an output
    that is no .txt, and as ``pretrained.load`` and ``Writer.of`` do.
    """
    _check(wish.output)
    material = gather(recipe, sources.data, sources.extra, sources.unseen)
    backbone, learned = pretrained.load(wish.backbone, say), material.learned
    writer = Writer.of(backbone, workers.device)
    kept = _kept(wish, backbone, learned, (recipe.seed, workers.device))
    goes_on = "goes on from what it learned of" if kept.exists() else "learns"
    say(f"{wish.backbone} {goes_on} {len(learned):,} messages")
    with progress("learning", "message", total=wish.epochs * len(learned)) as bar:
        loss = writer.learn(learned, wish.epochs, recipe.seed, kept, bar.update)
    say(f"it foretells them with a loss of {loss:.2f} nats a token, and writes")
    written = _write(writer, _known(material), wish)
    if not written:
        wish.output.unlink()
        raise DataError("it wrote no text that ends and is new: give it more --epochs, or messages")
    if written < wish.count:
        say(f"it has little more that is new: {written:,} of {wish.count:,} texts")
    return written


def _check(output: Path) -> None:
    if output.suffix != ".txt":
        raise SettingsError(f"{output}: give a .txt, which distill --texts reads line by line")
    if output.exists():
        raise DataError(f"{output} exists: give another --output and --seed, or remove it")
    output.parent.mkdir(parents=True, exist_ok=True)


def _kept(
    wish: Wish, backbone: Pretrained, learned: Sequence[Message], how: tuple[int, torch.device]
) -> Checkpoint:
    """Where what is learned is kept: its name stands for all that decides it."""
    seed, device = how
    tokenizer = hashlib.sha256(backbone.tokenizer.to_bytes()).hexdigest()
    told = [[message.label, message.text] for message in learned]
    whole = [backbone.origin["sha256"], tokenizer, wish.epochs, seed, told, *CHOICES]
    whole += [torch.__version__, torch.get_num_threads()]
    digest = hashlib.sha256(json.dumps(whole).encode()).hexdigest()
    return Checkpoint(wish.work / f"writer-{digest[:20]}{device_suffix(device)}.pt")


def _write(writer: Writer, known: set[str], wish: Wish) -> int:
    """Fill the file, until there are enough or nothing new comes; how many there are."""
    written = 0
    with (
        wish.output.open("x", encoding="utf-8") as file,
        progress("writing", "text", total=wish.count) as bar,
    ):
        for fresh in _rounds(writer, known, wish):
            kept = fresh[: wish.count - written]
            file.writelines(f"{text}\n" for text in kept)
            file.flush()
            written += len(kept)
            bar.update(len(kept))
            if written == wish.count:
                break
    return written


def _rounds(writer: Writer, known: set[str], wish: Wish) -> Iterator[list[str]]:
    """What is new in each round, labels and temperatures in turn, while there is enough of it.

    No round gives more than its share, for every label to have every temperature.
    """
    share, stale = ceil(wish.count / PATIENCE), 0
    at_once = min(writer.at_once(), max(ROUND, share))
    for number in numbers():
        label = LABELS[number % len(LABELS)]
        temperature = TEMPERATURES[number // len(LABELS) % len(TEMPERATURES)]
        texts = writer.write(label, at_once, temperature, wish.seed + number)
        fresh = {folded: text for text in texts if (folded := fold(text)) not in known}
        stale = stale + 1 if len(fresh) < STALE * at_once else 0
        known.update(fresh)
        yield list(fresh.values())[:share]
        if stale == PATIENCE:
            return


def _known(material: Material) -> set[str]:
    """Every text of the data, folded: what is measured is not to be learned by another way."""
    parts = [message for part in material.parts.values() for message in part]
    return {fold(message.text) for message in (*material.learned, *parts, *material.unseen)}
