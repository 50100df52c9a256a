"""What a training learns from and is measured on: the prepared splits and what is added to them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filterd.errors import DataError
from trainer import corpus
from trainer.dataset import Label, Message, read_any, read_file, rows_named
from trainer.prepare import ARTICLE_METHOD, UNFINISHED, read_card
from trainer.recipe import Recipe
from trainer.splitting import SHARES, fold

Parts = dict[str, list[Message]]


@dataclass(frozen=True, slots=True)
class Material:
    """Labelled messages of one training.

    folder: the prepared one · parts: its splits · learned: the training split, as the recipe draws
    it, and what is added · added: how many messages came from where · unseen: more messages that
    are not learned, for temperature and threshold.
    """

    folder: Path
    parts: Parts
    learned: list[Message]
    added: dict[str, int]
    unseen: list[Message]

    @property
    def base(self) -> list[Message]:
        """What is learned of the prepared folder."""
        return self.learned[: len(self.learned) - len(self.more)]

    @property
    def more(self) -> list[Message]:
        """What is learned and not of the prepared folder."""
        count = sum(self.added.values())
        return self.learned[-count:] if count else []

    def kept(self, recipe: Recipe) -> list[bool]:
        """Of each of ``more``, whether no view may alter it; the project's own come first."""
        ours = sum(self.added.get(name, 0) for name in (corpus.NAME, corpus.CONTRASTS))
        return [not recipe.alter_corpus] * ours + [False] * (len(self.more) - ours)

    def describe(self) -> dict[str, Any]:
        """What the manifest says of the data: its card in short, what was added, and hashes."""
        card = read_card(self.folder)
        splits = {
            name: {
                "rows": len(part),
                "sha256": hashlib.sha256((self.folder / f"{name}.csv").read_bytes()).hexdigest(),
            }
            for name, part in self.parts.items()
        }
        kept: dict[str, Any] = {
            key: card[key] for key in ("source", "method", "seed") if key in card
        }
        learned = json.dumps([(message.label, message.text) for message in self.learned])
        whole = learned + json.dumps(splits, sort_keys=True)
        return {
            **kept,
            "splits": splits,
            "added": self.added,
            "learned": len(self.learned),
            "unseen": len(self.unseen),
            "sha256": hashlib.sha256(whole.encode()).hexdigest(),
        }


def gather(
    recipe: Recipe, folder: Path, extra: Sequence[Path] = (), unseen: Sequence[Path] = ()
) -> Material:
    """Read a prepared folder, and add what the recipe and the user add.

    extra: files of labelled messages to learn from · unseen: files of those that are not to be
    learned. What is in a split is not added, nor learned what is unseen, and of equal texts the
    first counts. Raises DataError for data that is not there or bad.
    """
    parts = read_parts(folder)
    learned = list(parts["train"])
    if recipe.undersample and read_card(folder).get("method") != ARTICLE_METHOD:
        learned = _undersampled(learned, recipe.seed)
    sources = [(path.name, _agreeing(path)) for path in extra]
    if recipe.contrasts:
        sources.insert(0, (corpus.CONTRASTS, corpus.contrasts()))
    if recipe.corpus:
        sources.insert(0, (corpus.NAME, corpus.messages()))
    known = {fold(message.text) for part in parts.values() for message in part}
    kept = [m for path in unseen for m in _agreeing(path) if fold(m.text) not in known]
    known.update(fold(message.text) for message in kept)
    added: dict[str, int] = {}
    for name, messages in sources:
        fresh = {fold(m.text): m for m in reversed(messages) if fold(m.text) not in known}
        known.update(fresh)
        learned += reversed(fresh.values())
        added[name] = added.get(name, 0) + len(fresh)
    return Material(folder, parts, learned, added, kept)


def read_parts(folder: Path) -> Parts:
    """The three splits of a prepared folder. Raises DataError saying how to make it."""
    if folder.is_file():
        raise DataError(
            f"{folder} is a file: make a prepared folder of it with trainer prepare --path {folder}"
        )
    missing = [name for name in SHARES if not (folder / f"{name}.csv").is_file()]
    if missing:
        raise DataError(
            f"{folder} has no {missing[0]}.csv: make it with "
            f"trainer prepare --source sms-spam-collection --output {folder}"
        )
    if (folder / UNFINISHED).exists():
        raise DataError(f"{folder} was left half written: run trainer prepare again")
    return {name: read_file(folder / f"{name}.csv") for name in SHARES}


def _agreeing(path: Path) -> list[Message]:
    """A file's messages. Raises DataError where it gives one text both labels."""
    messages = read_any(path)
    labels: dict[str, Label] = {}
    rows: list[int] = []
    for message in messages:
        text = fold(message.text)
        if labels.setdefault(text, message.label) != message.label:
            rows.append(message.row)
    if rows:
        raise DataError(f"{path.name}: {rows_named(rows)}: an earlier row has the other label")
    return messages


def _undersampled(messages: Sequence[Message], seed: int) -> list[Message]:
    """All spam and as many ham, where there is more; in their order."""
    ham = [message for message in messages if message.label == "ham"]
    spam = [message for message in messages if message.label == "spam"]
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    kept = {id(message) for message in [*rng.sample(ham, min(len(ham), len(spam))), *spam]}
    return [message for message in messages if id(message) in kept]
