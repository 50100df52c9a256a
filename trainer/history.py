"""The history of a registry: one line for every change, and the newest line is what holds.

A line is a promise: the links follow it, also after a crash between the two. So nothing else has
to be undone or redone, and what belongs to a change (how far feedback was read) is said in its
line and nowhere else.
"""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from filterd.errors import ArtifactError
from trainer import durable

Action = Literal["promote", "rollback", "keep", "found"]
ACTIONS = get_args(Action)


@dataclass(frozen=True, slots=True)
class Change:
    """One line.

    champion, challenger: the folders linked from then on, empty for none · run: of a retraining,
    what it commits with the change.
    """

    number: int
    at: str
    action: Action
    champion: str
    challenger: str
    by: str
    why: str
    run: dict[str, Any] = field(default_factory=dict)


NOTHING = Change(0, "", "found", "", "", "", "")
"""Before the first line."""


def read(path: Path) -> list[Change]:
    """All lines, oldest first. Raises ArtifactError for one that is none of ours."""
    changes = []
    for number, line in enumerate(durable.lines_of(path), start=1):
        try:
            change = Change(**json.loads(line))
        except (TypeError, ValueError):
            change = NOTHING
        if change.number != number or change.action not in ACTIONS:
            raise ArtifactError(f"{path}: line {number} is damaged: bring the file back")
        changes.append(change)
    return changes


def append(path: Path, change: Change) -> None:
    """Add a line, for good."""
    durable.append_line(path, json.dumps(asdict(change)))


def now() -> str:
    """The time as lines give it, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def who() -> str:
    """Who runs this process: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def reigns(changes: Sequence[Change]) -> list[str]:
    """The champions that a rollback goes back through, oldest first, the present one last.

    Rolling back to one forgets those after it, so that rolling back twice goes back two.
    """
    stack: list[str] = []
    for change in changes:
        if change.action == "rollback" and change.champion in stack:
            del stack[stack.index(change.champion) + 1 :]
        elif change.champion and change.champion not in stack[-1:]:
            stack.append(change.champion)
    return stack
