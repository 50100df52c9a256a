"""``trainer retrain``: from feedback to a promotion, or to a challenger with its report.

Nothing of a run counts before its line in the history: it promotes or keeps, and says how far
feedback was read, at once. What is interrupted before leaves a folder in ``.registry/`` and nothing
else, and the next run begins where this one did.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace

from filterd import artifact as artifacts
from filterd.artifact import Artifact
from filterd.errors import ArtifactError
from filterd.streams.feedback import FeedbackStream
from trainer.history import Change
from trainer.retraining import turn
from trainer.retraining.gathering import START, WORDS, Gathered, corrections, gather
from trainer.retraining.run import Ended, Given, Run
from trainer.retraining.traffic import Traffic
from trainer.settings import TrainerSettings
from trainer.succession import RUNS, Reached, Registry
from trainer.training import Say


class Job:
    """The job over a registry. reached: told of each step that is behind us."""

    def __init__(
        self,
        settings: TrainerSettings,
        feedback: FeedbackStream,
        traffic: Traffic,
        say: Say,
        reached: Reached,
    ) -> None:
        self._settings, self._feedback, self._traffic = settings, feedback, traffic
        self._say, self._reached = say, reached
        self._registry = Registry(settings.artifacts, reached)

    def run(self) -> Ended:
        """Gather, train, compare, decide. Raises ArtifactError where another run goes on; after
        every error the registry is as it was.
        """
        began = time.monotonic()
        with turn.take(self._registry) as mine:
            self._reached("locked")
            champion, runs = self._champion(), self.committed()
            gathered = self._gather(runs)
            self._reached("gathered")
            new = corrections(gathered.words[len(gathered.words) - gathered.fresh :])
            least = self._settings.least_feedback
            if new < least:
                why = f"{new} new corrections, {least} are worth a training"
                return Ended("nothing to do", why, time.monotonic() - began, champion.path.name)
            given = Given(
                self._settings,
                self._registry,
                self._traffic,
                mine,
                champion,
                gathered,
                runs,
                self._say,
                self._reached,
            )
            ended = Run(given).through()
            self._tidy(mine.token)
        self._reached("tidied")
        return replace(ended, seconds=time.monotonic() - began)

    def committed(self) -> list[Change]:
        """Changes that runs have committed, oldest first."""
        return [change for change in self._registry.history() if change.run]

    def _champion(self) -> Artifact:
        name = self._registry.linked("champion")
        if not name:
            raise ArtifactError(
                f"{self._settings.artifacts} has no champion to compare with: make one with "
                "trainer promote starter, or another artifact"
            )
        return artifacts.load(self._settings.artifacts / name)

    def _gather(self, runs: Sequence[Change]) -> Gathered:
        if not runs:
            return gather(self._feedback, None, START)
        last = runs[-1].run
        kept = self._settings.artifacts / RUNS / str(last["report"]) / WORDS
        return gather(self._feedback, kept, str(last["cursor"]))

    def _tidy(self, token: int) -> None:
        """Remove what this run and earlier, interrupted ones needed on their way."""
        shutil.rmtree(self._registry.private / "work", ignore_errors=True)
        for folder in (self._registry.private / RUNS).glob("*"):
            if folder.name.isdecimal() and int(folder.name) <= token:
                shutil.rmtree(folder, ignore_errors=True)
