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

from filterd import canaries
from filterd.artifact import MANIFEST, VOCABULARY, WEIGHTS
from filterd.classifier import Classifier
from filterd.errors import ArtifactError, SettingsError
from filterd.metrics import Metrics, ReloadResult

log = structlog.get_logger()

Load = Callable[[Path], Classifier]
Identity = tuple[object, ...]


def identity(path: Path) -> Identity:
    """What changes when a link is moved, or a folder's files are replaced; empty: nothing there."""
    folder = path.resolve()
    try:
        stats = [(folder / name).stat() for name in (MANIFEST, WEIGHTS, VOCABULARY)]
    except OSError:
        return ()
    return folder, *((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)


def load_warm(path: Path, load: Load) -> Classifier:
    """A classifier that is ready to serve. Raises ArtifactError for one that must not.

    The link is followed once, so that a link that moves meanwhile cannot mix two artifacts; of a
    folder whose files change meanwhile the checksums do not fit.
    """
    classifier = load(path.resolve())
    classifier.engine.warm_up()
    canaries.check(classifier)
    return classifier


class Reloader:
    """Watches an artifact's path, and hands over what becomes of it.

    every_s: seconds between looks, 0 for none but those asked for · served: the identity of what
    is served already · swap: called with the new classifier.
    """

    def __init__(
        self,
        path: Path,
        load: Load,
        swap: Callable[[Classifier], None],
        metrics: Metrics,
        *,
        served: Identity,
        every_s: float,
    ) -> None:
        self._path, self._load, self._swap, self._metrics = path, load, swap, metrics
        self._every_s = every_s
        self._seen = served
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Look now, and try again also what was refused."""
        self._asked.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s or None):
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            await self.look(asked=asked)

    async def look(self, *, asked: bool = False) -> None:
        """Load what is there if it is another than the last, or if it was asked for."""
        found = await asyncio.to_thread(identity, self._path)
        if found == self._seen and not asked:
            return
        self._seen = found
        try:
            classifier = await asyncio.to_thread(load_warm, self._path, self._load)
        except (ArtifactError, SettingsError) as error:
            self._refused(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a new model does to a device
            self._refused(f"it cannot be run here: {type(error).__name__}")
        else:
            self._swap(classifier)
            self._count("loaded")
            log.info("artifact loaded", artifact=classifier.engine.manifest.version)

    def _refused(self, reason: str) -> None:
        self._count("refused")
        log.error("artifact refused, the one before goes on", path=str(self._path), reason=reason)

    def _count(self, result: ReloadResult) -> None:
        self._metrics.reloads.labels(result).inc()
