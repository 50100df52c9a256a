"""Folds for cross-validation: as even as can be, and the same whatever the messages' order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from filterd.errors import DataError, SettingsError
from trainer.dataset import Message
from trainer.splitting import fold


def stratified(messages: Sequence[Message], k: int, seed: int) -> list[int]:
    """The fold of each message, from 0 to k - 1, in the messages' order.

    Texts of a label are dealt out in the order of their hashes, as ``splitting.side`` makes them:
    of distinct texts the folds' counts of spam, of ham and of both differ by one at most. A text
    that repeats is in one fold, as spam where it has both labels. Raises SettingsError for k below
    2, DataError where a label has fewer texts than there are folds.
    """
    if k < 2:
        raise SettingsError(f"{k} folds: give at least 2")
    texts = [fold(message.text) for message in messages]
    spam = {text for text, m in zip(texts, messages, strict=True) if m.label == "spam"}
    ham = set(texts) - spam
    for label, found in (("spam", spam), ("ham", ham)):
        if len(found) < k:
            raise DataError(f"{len(found)} distinct {label} for {k} folds: give fewer folds")
    where = {text: place % k for place, text in enumerate(_dealt(spam, seed))}
    # From the other end, so that no fold gets one more of both while another gets neither.
    where |= {text: k - 1 - place % k for place, text in enumerate(_dealt(ham, seed))}
    return [where[text] for text in texts]


def _dealt(texts: set[str], seed: int) -> list[str]:
    return sorted(texts, key=lambda text: hashlib.sha256(f"fold {seed}\n{text}".encode()).digest())
