"""``trainer prune``: what nobody needs any more goes, and nothing that somebody may still name."""

from __future__ import annotations

import shutil
import time

from trainer import durable, history, registry
from trainer.history import Change
from trainer.retraining.turn import LOCK
from trainer.succession import RUNS, Registry

TRASH = ".trash-"
STALE_S = 86_400.0


def prune(of: Registry, keep: int, *, dry_run: bool = False) -> list[str]:
    """Remove artifacts neither linked, nor among the last ``keep`` champions or ``keep`` newest,
    and the reports of all retrainings but the last ``keep``: of those the history still tells.

    Returns their names in the folder. Features and checkpoints go after a day.
    """
    with of.changing() as state:
        gone = [*_artifacts(of, state, keep), *_reports(of, keep)]
        if not dry_run:
            for name in gone:
                # It is gone at once; what a crash leaves of its files the next one removes.
                trash = f"{TRASH}{name.replace('/', '-')}"
                (of.folder / name).rename(of.folder / trash)
                of.reached(f"pruned {name}")
            _sweep(of)
        return gone


def _artifacts(of: Registry, state: Change, keep: int) -> list[str]:
    champions = history.reigns(of.history())[-keep:]
    entries = [entry.name for entry in of.entries()]
    kept = {state.champion, state.challenger, *champions, *entries[:keep]}
    return [name for name in entries if name not in kept]


def _reports(of: Registry, keep: int) -> list[str]:
    """Those of retrainings before the last that came to an outcome: one behind it may be about to
    come to its own.
    """
    told = [str(change.run["report"]) for change in of.history() if change.run]
    found = sorted(path.name for path in (of.folder / RUNS).glob("*") if path.name.isdecimal())
    return [
        f"{RUNS}/{name}"
        for name in found
        if name not in told[-keep:] and int(name) < max(map(int, told), default=0)
    ]


def _sweep(of: Registry) -> None:
    """Remove what was pruned, and what has lain for a day: artifacts that a crash left unfinished,
    features, checkpoints, interrupted retrainings.
    """
    yesterday = time.time() - STALE_S
    for path in (of.folder / registry.WORK).glob("*"):
        if path.stat().st_mtime < yesterday:
            path.unlink()
    for path in of.folder.glob(".*"):
        written = path.name[1:].rpartition(".")[0] and path.stat().st_mtime < yesterday
        if path.name.startswith(TRASH) or written:
            shutil.rmtree(path, ignore_errors=True)
    private = of.private
    left = [*(private / RUNS).glob("*"), *private.glob("work")]
    if stale := [path for path in left if path.stat().st_mtime < yesterday]:
        with durable.locked(private / LOCK, wait=False) as free:  # not from under a retraining
            for path in stale if free else []:
                shutil.rmtree(path, ignore_errors=True)
