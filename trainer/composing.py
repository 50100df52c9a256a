"""``trainer compose``: a language model writes texts like the messages at hand, for ``--texts``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as numbers
from pathlib import Path

from filterd.errors import DataError, SettingsError
from trainer import pretrained
from trainer.dataset import Label
from trainer.distillation import Sources
from trainer.distributed import ALONE, Workers
from trainer.material import Material, gather
from trainer.progress import progress
from trainer.recipe import Recipe
from trainer.splitting import fold
from trainer.training import Say
from trainer.writer import Writer

TEMPERATURES = (1.0, 1.0, 1.15, 1.3)
"""In turn: as it learned, and bolder."""
LABELS: tuple[Label, ...] = ("spam", "ham")
STALE = 0.01
"""Share of new texts below which a round brought nothing worth its while."""
PATIENCE = len(LABELS) * len(TEMPERATURES)
"""Such rounds in a row after which the writer is said to repeat itself."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be written: by which pretrained model, after how many epochs, how much, where."""

    backbone: str
    epochs: int
    count: int
    output: Path


def compose(
    recipe: Recipe, sources: Sources, wish: Wish, say: Say, workers: Workers = ALONE
) -> int:
    """Write distinct texts, none of which is in the data, one a line; returns how many.

    The file grows as they are written: what an interrupted run leaves can be used. Raises DataError
    where the output exists or the data is bad, SettingsError for a backbone that is one of our own
    artifacts, and as ``pretrained.load`` does.
    """
    if wish.output.exists():
        raise DataError(f"{wish.output} exists: give another --output, or remove it")
    material = gather(recipe, sources.data, sources.extra, sources.unseen)
    found = pretrained.load(wish.backbone, say)
    if found.reads:
        raise SettingsError(
            f"{wish.backbone} tells spam from ham, and writes nothing: give a language model"
        )
    writer = Writer.of(found, workers.device)
    learned = material.learned
    say(f"{wish.backbone} learns {len(learned):,} messages")
    with progress("learning", "message", total=wish.epochs * len(learned)) as bar:
        loss = writer.learn(learned, wish.epochs, recipe.seed, bar.update)
    say(f"it foretells them with a loss of {loss:.2f} nats a token, and writes")
    written = 0
    wish.output.parent.mkdir(parents=True, exist_ok=True)
    with (
        wish.output.open("x", encoding="utf-8") as file,
        progress("writing", "text", total=wish.count) as bar,
    ):
        for fresh in _rounds(writer, _known(material), recipe.seed):
            kept = fresh[: wish.count - written]
            file.writelines(f"{text}\n" for text in kept)
            file.flush()
            written += len(kept)
            bar.update(len(kept))
            if written == wish.count:
                break
        else:
            say(f"it repeats itself: {written:,} of {wish.count:,} texts; bring more messages")
    return written


def _rounds(writer: Writer, known: set[str], seed: int) -> Iterator[list[str]]:
    """What is new in each round, labels and temperatures in turn, while there is enough of it."""
    at_once, stale = writer.at_once(), 0
    for number in numbers():
        label = LABELS[number % len(LABELS)]
        temperature = TEMPERATURES[number // len(LABELS) % len(TEMPERATURES)]
        texts = writer.write(label, at_once, temperature, seed + number)
        fresh = {folded: text for text in texts if (folded := fold(text)) not in known}
        stale = stale + 1 if len(fresh) < STALE * at_once else 0
        known.update(fresh)
        yield list(fresh.values())
        if stale == PATIENCE:
            return


def _known(material: Material) -> set[str]:
    """Every text of the data, folded: what is measured is not to be learned by another way."""
    parts = [message for part in material.parts.values() for message in part]
    return {fold(message.text) for message in (*material.learned, *parts, *material.unseen)}
