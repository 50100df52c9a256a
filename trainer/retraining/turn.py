"""Whose turn it is: one retraining at a time, and a token that tells whose turn has passed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filterd.errors import ArtifactError
from trainer import durable, history
from trainer.history import Change
from trainer.succession import Registry

LOCK, TOKEN, OWNER = "retrain.lock", "retrain.token", "retrain.json"


@dataclass(frozen=True, slots=True)
class Turn:
    """A run's turn. private: the registry's private folder · token: higher than all before."""

    private: Path
    token: int

    def passed(self, champion: str, now: Change) -> str:
        """Why a run that compared with a champion must not change the registry any more, empty
        for nothing.
        """
        if _token(self.private) != self.token:
            return "another retraining has begun since: this one's outcome is dropped"
        if now.champion != champion:
            return f"the champion is {now.champion} now, not {champion}: retrain again"
        return ""


@contextmanager
def take(registry: Registry) -> Iterator[Turn]:
    """The only run of a registry. Raises ArtifactError where another is going on.

    The lock ends with its process. Should it be lost all the same (its file removed, a shared disk
    that forgot it), the token tells at the end that somebody else has begun since.
    """
    with registry.changing():
        pass  # what a crash left undone is done now
    private = registry.private
    with durable.locked(private / LOCK, wait=False) as free:
        if not free:
            raise ArtifactError(f"another retraining is running: {_owner(private)}")
        with registry.changing():
            token = _token(private) + 1
            durable.write_whole(private / TOKEN, b"%d\n" % token)
        owner = {"by": history.who(), "pid": os.getpid(), "since": history.now()}
        durable.write_whole(private / OWNER, json.dumps(owner).encode())
        yield Turn(private, token)


def _token(private: Path) -> int:
    try:
        return int((private / TOKEN).read_text())
    except FileNotFoundError:
        return 0


def _owner(private: Path) -> str:
    try:
        owner = json.loads((private / OWNER).read_text())
        return f"process {owner['pid']} of {owner['by']}, since {owner['since']}"
    except (OSError, ValueError, KeyError):
        return "it has only just begun"
