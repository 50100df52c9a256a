"""Checkpoints: what an interrupted run needs to end as if nothing had happened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


class Checkpoint:
    """The state of one run in one file, replaced whole at every save.

    Its path must stand for all that decides the run: what is in it is believed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, state: dict[str, Any]) -> None:
        """Write aside, fsync, rename."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_suffix(f".{os.getpid()}.part")
        with aside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path)

    def exists(self) -> bool:
        """Whether something was saved."""
        return self._path.is_file()

    def load(self) -> dict[str, Any] | None:
        """The last state saved, on the CPU, or None. Only tensors and plain values are read."""
        if not self.exists():
            return None
        state: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        return state
