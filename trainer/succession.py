"""The registry's folder: what it holds, who is champion and challenger, and how that came about.

``artifacts/VERSION`` never change; ``champion`` and ``challenger`` are links; ``history.jsonl``
says who was linked when and why, and the links follow its last line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filterd import artifact as artifacts
from filterd import canaries
from filterd.artifact import MANIFEST, Manifest
from filterd.classifier import Classifier
from filterd.errors import ArtifactError, SettingsError
from trainer import durable, history, registry
from trainer.history import Action, Change

Link = Literal["champion", "challenger"]
LINKS: tuple[Link, Link] = ("champion", "challenger")
HISTORY = "history.jsonl"
PRIVATE = ".registry"
RUNS = "runs"
LEAST_RECALL = 0.5
"""Of its own test split's spam, for an artifact to be promoted without a word."""
MOST_BLOCKED = 0.05
"""Of its ham, for the same."""

Reached = Callable[[str], None]
"""Told the name of each step that is behind us, for whoever shows or disturbs the progress."""


def _unwatched(_: str) -> None:
    """Nobody asks."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An artifact of the registry: its folder's name, and what it says of itself."""

    name: str
    manifest: Manifest


class Registry:
    """A folder of artifacts. reached: told of each step of a change.

    Methods raise ArtifactError for what is not there or damaged.
    """

    def __init__(self, folder: Path, reached: Reached = _unwatched) -> None:
        self.folder = folder
        self.reached = reached

    @property
    def private(self) -> Path:
        """Where the registry and the retrain job keep what is no artifact."""
        return self.folder / PRIVATE

    def history(self) -> list[Change]:
        """All changes, oldest first."""
        return history.read(self.folder / HISTORY)

    def state(self) -> Change:
        """The last change: what holds."""
        changes = self.history()
        return changes[-1] if changes else history.NOTHING

    def linked(self, link: Link) -> str:
        """The folder that a link names, empty where it names none of this registry."""
        try:
            target = (self.folder / link).readlink()
        except OSError:
            return ""
        return target.name if (self.folder / target.name / MANIFEST).is_file() else ""

    def entries(self) -> list[Entry]:
        """The artifacts that this version can read, newest first."""
        found, _ = self.sorted_out()
        return found

    def sorted_out(self) -> tuple[list[Entry], list[str]]:
        """The artifacts, newest first, and why others are none of them, a line each."""
        self._exists()
        found, refused = [], []
        for path in sorted(self.folder.iterdir()):
            if path.is_symlink() or path.name[0] == "." or not (path / MANIFEST).is_file():
                continue
            try:
                found.append(Entry(path.name, artifacts.read_manifest(path)))
            except ArtifactError as error:
                refused.append(str(error))
        found.sort(key=lambda entry: (entry.manifest.created_at, entry.name), reverse=True)
        return found, refused

    def find(self, word: str) -> Path:
        """An artifact by link, folder, version or path; ``starter`` is the one that comes along."""
        if word in LINKS and (name := self.linked(word)):
            return self.folder / name
        if (self.folder / word / MANIFEST).is_file():
            return (self.folder / word).resolve()
        known = self.entries() if self.folder.is_dir() else []
        if named := [entry.name for entry in known if entry.manifest.version == word]:
            return self.folder / named[0]
        if word == "starter":
            return artifacts.STARTER
        if (Path(word) / MANIFEST).is_file():
            return Path(word).resolve()
        raise ArtifactError(f"no artifact at {word}, nor in {self.folder}: trainer list shows them")

    def bring(self, path: Path) -> str:
        """The folder's name of an artifact in this registry; from elsewhere it is copied in."""
        if path.resolve().parent == self.folder.resolve():
            return path.name
        loaded = artifacts.load(path)
        name = loaded.manifest.version
        if (self.folder / name / MANIFEST).is_file():
            return name
        files = {
            inner: artifacts.read_file(path, inner, loaded.manifest)
            for inner in loaded.manifest.files
        }
        files[MANIFEST] = (path / MANIFEST).read_bytes()
        registry.place(files, self.folder / name)
        return name

    def doubt(self, name: str) -> str:
        """What speaks against an artifact by its own test split, empty for nothing."""
        metrics = artifacts.read_manifest(self.folder / name).metrics
        recall, blocked = metrics.get("test_recall"), metrics.get("test_false_positive_rate")
        said = []
        if recall is not None and recall < LEAST_RECALL:
            said.append(f"finds {recall:.1%} of the spam")
        if blocked is not None and blocked > MOST_BLOCKED:
            said.append(f"blocks {blocked:.1%} of the ham")
        if not said:
            return ""
        back = len(history.reigns(self.history())) > 1
        return (
            f"in its own test split {name} {' and '.join(said)}: "
            f"{'trainer rollback takes it back, ' if back else ''}"
            "FILTERD_THRESHOLD sets another threshold than its own"
        )

    def promote(
        self,
        name: str,
        why: str,
        *,
        run: Mapping[str, Any] | None = None,
        unless: Callable[[Change], str] | None = None,
    ) -> Change:
        """Make an artifact the champion.

        run: what a retraining commits with it · unless: what forbids it, empty for nothing, told
        what holds just before.
        """

        self._check(name)

        def change(before: Change) -> Change:
            left = "" if before.challenger == name else before.challenger
            return replace(before, champion=name, challenger=left)

        return self._change("promote", change, why, run, unless)

    def keep(
        self,
        name: str | None,
        why: str,
        *,
        run: Mapping[str, Any] | None = None,
        unless: Callable[[Change], str] | None = None,
    ) -> Change:
        """Make an artifact the challenger, or leave it as it is; the champion stays."""

        def change(before: Change) -> Change:
            return before if name is None else replace(before, challenger=name)

        return self._change("keep", change, why, run, unless)

    def roll_back(self, name: str | None, why: str) -> Change:
        """Make an earlier champion the champion again; without a name the one before this."""

        def change(before: Change) -> Change:
            changes = self.history()
            earlier = history.reigns(changes)[:-1]
            if name is None and not earlier:
                raise ArtifactError("there is no champion before this one to roll back to")
            target = earlier[-1] if name is None else name
            if target == before.champion:
                raise SettingsError(f"{target} is the champion already")
            if target not in {past.champion for past in changes}:
                raise SettingsError(f"{target} was never champion: trainer promote makes it one")
            self._check(target)
            return replace(before, champion=target)

        return self._change("rollback", change, why, None, None)

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """Nobody else changes the registry meanwhile; gives what holds."""
        self._exists()
        for path in (self.folder / link for link in LINKS):
            if path.exists() and not path.is_symlink():
                raise ArtifactError(f"{path} is no link: move it away")
        self.private.mkdir(parents=True, exist_ok=True)
        with durable.locked(self.private / "lock"):
            yield self._settled()

    def _change(
        self,
        action: Action,
        change: Callable[[Change], Change],
        why: str,
        run: Mapping[str, Any] | None,
        unless: Callable[[Change], str] | None,
    ) -> Change:
        with self.changing() as before:
            if unless is not None and (reason := unless(before)):
                raise ArtifactError(reason)
            after = replace(
                change(before),
                number=before.number + 1,
                at=history.now(),
                action=action,
                by=history.who(),
                why=why,
                run=dict(run or {}),
            )
            self.reached("decided")
            history.append(self.folder / HISTORY, after)
            self.reached("written")
            self._follow(after)
            return after

    def _exists(self) -> None:
        if not self.folder.is_dir():
            raise ArtifactError(f"no registry at {self.folder}: name it with --artifacts")

    def _check(self, name: str) -> None:
        """Raises ArtifactError for an artifact that a daemon would refuse."""
        canaries.check(Classifier.load(self.folder / name, device="cpu", precision="fp32"))

    def _settled(self) -> Change:
        """What holds, its links in place.

        Links that a crash kept from following the last line follow now; links that somebody moved
        by hand since are taken as they are, in a line of their own.
        """
        state = self.state()
        if self._followed() < state.number:
            self._follow(state)
        now = {link: self.linked(link) for link in LINKS}
        if (now["champion"], now["challenger"]) == (state.champion, state.challenger):
            return state
        found = Change(
            state.number + 1,
            history.now(),
            "found",
            now["champion"],
            now["challenger"],
            by="",
            why="the links were moved by hand",
        )
        history.append(self.folder / HISTORY, found)
        self._note(found)
        return found

    def _follow(self, state: Change) -> None:
        """Make the links what a line says; can be done again and again."""
        wanted: dict[Link, str] = {"champion": state.champion, "challenger": state.challenger}
        for link, name in wanted.items():
            if self.linked(link) != name:
                durable.point(self.folder / link, name)
            self.reached(f"{link} linked")
        self._note(state)

    def _note(self, state: Change) -> None:
        """Remember that the links are as a line says: from here on a difference is somebody's."""
        durable.write_whole(self.private / "followed", b"%d\n" % state.number)
        self.reached("followed")

    def _followed(self) -> int:
        """The last line that the links are known to have followed."""
        try:
            return int((self.private / "followed").read_text())
        except (FileNotFoundError, ValueError):
            return 0
