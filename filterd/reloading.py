"""Reloading: a new artifact is loaded and tried aside, and takes over between two batches.

What the old one has tokenised it also scores. A new one that cannot be served is refused, once, and
the old one goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
from prometheus_client import Counter

from filterd import canaries
from filterd.artifact import MANIFEST, VOCABULARY, WEIGHTS
from filterd.classifier import Classifier
from filterd.errors import ArtifactError, SettingsError

log = structlog.get_logger()

Load = Callable[[Path], Classifier]
Swap = Callable[[Classifier | None], None]
Identity = tuple[object, ...]


def identity(path: Path) -> Identity:
    """What changes when a link is moved, or a folder's files are replaced; empty: nothing there."""
    folder = path.resolve()
    try:
        stats = [(folder / name).stat() for name in (MANIFEST, WEIGHTS, VOCABULARY)]
    except OSError:
        return ()
    return folder, *((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)


class Reloader:
    """Watches an artifact's path.

    load: makes a classifier of a folder · reloads: counter of what became of them, by ``result`` ·
    every_s: seconds between looks, 0 for none but those asked for · optional: there may be nothing.
    """

    def __init__(
        self, path: Path, load: Load, reloads: Counter, every_s: float, *, optional: bool = False
    ) -> None:
        self._path, self._load, self._reloads = path, load, reloads
        self._every_s, self._optional = every_s, optional
        self._seen: Identity | None = None
        self._asked = asyncio.Event()

    def first(self) -> Classifier:
        """A classifier to begin with. Raises ArtifactError for one that must not serve."""
        self._seen = identity(self._path)
        return self._warm()

    def ask(self) -> None:
        """Look now, and try again also what was refused."""
        self._asked.set()

    async def run(self, swap: Swap) -> None:
        """Until cancelled. swap: takes the new classifier, None where there is none any more."""
        while True:
            await self._look(swap, asked=self._asked.is_set())
            self._asked.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s or None):
                    await self._asked.wait()

    async def _look(self, swap: Swap, *, asked: bool) -> None:
        """Load what is there if it is another than the last, or if it was asked for."""
        found = await asyncio.to_thread(identity, self._path)
        if found == self._seen and not asked:
            return
        self._seen = found
        if self._optional and not found:
            swap(None)
            return
        try:
            classifier = await asyncio.to_thread(self._warm)
        except (ArtifactError, SettingsError) as error:
            self._refused(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a new model does to a device
            self._refused(f"it cannot be run here: {type(error).__name__}")
        else:
            swap(classifier)
            self._reloads.labels("loaded").inc()
            log.info("artifact loaded", artifact=classifier.engine.manifest.version)

    def _warm(self) -> Classifier:
        """Load, warm up and try.

        The link is followed once, so that one that moves meanwhile cannot mix two artifacts; of a
        folder whose files change meanwhile the checksums do not fit.
        """
        classifier = self._load(self._path.resolve())
        classifier.warm_up()
        canaries.check(classifier)
        return classifier

    def _refused(self, reason: str) -> None:
        self._reloads.labels("refused").inc()
        log.error("artifact refused, the one before goes on", path=str(self._path), reason=reason)
