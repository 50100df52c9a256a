"""One run of the retrain job that has its turn and enough feedback: train, compare, decide."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filterd import artifact as artifacts
from filterd.artifact import MANIFEST, Artifact
from trainer import distributed, durable, evaluation, make
from trainer import recipe as recipes
from trainer.dataset import Message, to_csv
from trainer.evaluation import Evaluation, truth
from trainer.history import Change
from trainer.make import Place
from trainer.material import Parts, read_parts
from trainer.prepare import CARD
from trainer.recipe import Recipe
from trainer.retraining import drift, gate, reporting
from trainer.retraining.gate import Check, Limits, Pair
from trainer.retraining.gathering import START, WORDS, Gathered, Opinion
from trainer.retraining.sifting import Sifted, as_messages, doubtful, relabel, sift
from trainer.retraining.traffic import Traffic
from trainer.retraining.turn import Turn
from trainer.settings import TrainerSettings
from trainer.succession import RUNS, Reached, Registry
from trainer.training import Say

Outcome = Literal["promoted", "kept", "nothing to do"]
FEEDBACK, RECIPE = "feedback.csv", "recipe.toml"


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a run.

    champion: who it is now · challenger: who was trained · report: its folder, where it wrote one.
    """

    outcome: Outcome
    why: str
    seconds: float
    champion: str
    challenger: str = ""
    report: Path | None = None
    found: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """One object; what was measured is in the report."""
        return {
            "outcome": self.outcome,
            "why": self.why,
            "seconds": round(self.seconds, 3),
            "champion": self.champion,
            "challenger": self.challenger,
            "report": None if self.report is None else str(self.report),
        }


@dataclass(frozen=True, slots=True)
class Given:
    """What a run works on. committed: earlier runs that came to an outcome, oldest first."""

    settings: TrainerSettings
    registry: Registry
    traffic: Traffic
    turn: Turn
    champion: Artifact
    gathered: Gathered
    committed: Sequence[Change]
    say: Say
    reached: Reached


class Run:
    """Nothing of it counts before it has committed."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self.settings, self.registry = given.settings, given.registry
        self.champion, self.gathered = given.champion, given.gathered
        self.name = f"{given.turn.token:05d}"
        self.folder = given.registry.private / RUNS / self.name
        self.workers = distributed.alone(self.settings.device)
        chosen = self.settings.recipe
        self.recipe: Recipe = (
            recipes.load(chosen) if chosen else recipes.to_repeat(given.champion.manifest)
        )

    def through(self) -> Ended:
        """All the rest."""
        parts = read_parts(self.settings.data)
        sifted = sift(
            self.gathered.opinions, parts, self._promoted_cursor(), self.settings.held_out
        )
        suspects = self._suspects(parts)
        self._given.say(self._summary(sifted, suspects))
        self._given.reached("sifted")
        challenger = self._train(parts, sifted)
        self._given.reached("trained")
        pairs = self._pairs(challenger, parts, sifted)
        share = len(suspects) / max(1, len(self._fresh()))
        checks = gate.judge(
            pairs["test"], pairs["held_out"], pairs["sample"], share, self._limits()
        )
        self._given.reached("compared")
        refusals = gate.refusals(checks)
        found = self._found(challenger, sifted, suspects, pairs, checks)
        name = self._place(challenger, found)
        return self._commit(name, refusals, found)

    def _fresh(self) -> list[Opinion]:
        """Opinions that this run is the first to know."""
        words = self.gathered.words
        ids = {word.id for word in words[len(words) - self.gathered.fresh :]}
        return [opinion for opinion in self.gathered.opinions if opinion.id in ids]

    def _suspects(self, parts: Parts) -> list[str]:
        """Ids of fresh corrections that all else speaks against."""
        fresh = self._fresh()
        new = {opinion.id for opinion in fresh}
        older = [opinion for opinion in self.gathered.opinions if opinion.id not in new]
        return [o.id for o in doubtful(fresh, [*as_messages(older), *parts["train"]])]

    def _summary(self, sifted: Sifted, suspects: list[str]) -> str:
        return (
            f"{self.gathered.fresh:,} new words, {len(sifted.learned):,} corrections to learn, "
            f"{len(sifted.held_out):,} held out, {len(sifted.sample):,} of a sample; "
            f"{len(suspects):,} look mislabelled"
        )

    def _promoted_cursor(self) -> str:
        """The last entry that was known when a run last promoted."""
        runs = [change for change in self._given.committed if change.action == "promote"]
        return str(runs[-1].run["cursor"]) if runs else START

    def _train(self, parts: Parts, sifted: Sifted) -> Artifact:
        """The challenger, from a copy of the data as people correct it."""
        data = self.folder / "data"
        data.mkdir(parents=True)
        for name in ("train", "validation"):
            content = to_csv(relabel(parts[name], sifted.relabelled))
            durable.write_whole(data / f"{name}.csv", content)
        for name in ("test.csv", CARD):
            if (self.settings.data / name).is_file():
                durable.write_whole(data / name, (self.settings.data / name).read_bytes())
        learned = as_messages(sifted.learned)
        durable.write_whole(self.folder / FEEDBACK, to_csv(learned))
        durable.write_whole(self.folder / RECIPE, recipes.as_toml(self.recipe).encode())
        place = Place(self.folder / "artifact", self.registry.private / "work")
        extra = [self.folder / FEEDBACK] if learned else []
        target, _ = make.make(
            self.recipe, data, place, self._given.say, extra=extra, workers=self.workers
        )
        return artifacts.load(target)

    def _pairs(self, challenger: Artifact, parts: Parts, sifted: Sifted) -> dict[str, Any]:
        """Both on the frozen test set, on held-out feedback and on the sample."""

        def pair(messages: list[Message]) -> Pair | None:
            if not messages:
                return None
            both = (challenger, self.champion)
            ours, theirs = (_judged(artifact, messages) for artifact in both)
            return Pair(ours, theirs)

        return {
            "test": pair(parts["test"]),
            "held_out": pair(as_messages(sifted.held_out)),
            "sample": pair(as_messages(sifted.sample)),
        }

    def _limits(self) -> Limits:
        settings = self.settings
        return Limits(
            settings.least_test,
            settings.least_held_out,
            settings.least_sample,
            settings.margin,
            settings.ham_margin,
            settings.most_doubtful,
        )

    def _found(
        self,
        challenger: Artifact,
        sifted: Sifted,
        suspects: list[str],
        pairs: dict[str, Any],
        checks: list[Check],
    ) -> dict[str, Any]:
        """All that the report says, as JSON."""
        return reporting.findings(
            versions=(challenger.manifest.version, self.champion.manifest.version),
            data=challenger.manifest.data,
            gathered=self.gathered,
            sifted=sifted,
            suspects=suspects,
            pairs=pairs,
            checks=checks,
            sketches=self._sketches(),
            before=self._last_sketches(),
            repeat=f"trainer train --recipe {RECIPE} --data data"
            + (f" --extra {FEEDBACK}" if sifted.learned else ""),
        )

    def _sketches(self) -> dict[str, Any]:
        fresh = [opinion.text for opinion in self._fresh()]
        scores = evaluation.score_texts(self.champion, fresh).tolist()
        return {
            "feedback": drift.sketch(fresh, scores),
            "traffic": drift.sketch(*self._given.traffic.latest()),
        }

    def _last_sketches(self) -> dict[str, Any]:
        runs = self._given.committed
        if not runs:
            return {}
        path = self.settings.artifacts / RUNS / str(runs[-1].run["report"]) / reporting.JSON
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["sketches"]
        return found

    def _place(self, challenger: Artifact, found: dict[str, Any]) -> str:
        """Put artifact and report where they stay; nothing refers to them yet."""
        name = challenger.manifest.version
        target = self.settings.artifacts / name
        if (target / MANIFEST).is_file():
            shutil.rmtree(self.folder / "artifact")  # an earlier run came to the same
        else:
            (self.folder / "artifact").rename(target)
        durable.sync(target.parent)
        self._given.reached("artifact placed")
        durable.write_whole(self.folder / WORDS, self.gathered.as_lines())
        for file, content in reporting.files(found, self.name).items():
            durable.write_whole(self.folder / file, content)
        runs = self.settings.artifacts / RUNS
        runs.mkdir(exist_ok=True)
        self.folder.rename(runs / self.name)
        durable.sync(runs)
        self._given.reached("report placed")
        return name

    def _commit(self, name: str, refusals: str, found: dict[str, Any]) -> Ended:
        champion = self.champion.path.name
        turn = self._given.turn
        run = {"report": self.name, "cursor": self.gathered.cursor, "token": turn.token}

        def unless(now: Change) -> str:
            return turn.passed(champion, now)

        report = self.settings.artifacts / RUNS / self.name
        same = name == self.champion.manifest.version
        if refusals or same:
            why = "it is the champion again" if same else refusals
            self.registry.keep(None if same else name, why, run=run, unless=unless)
            return Ended("kept", why, 0, champion, name, report, found)
        self.registry.promote(name, "passed the gate", run=run, unless=unless)
        return Ended("promoted", "passed the gate", 0, name, name, report, found)


def _judged(artifact: Artifact, messages: list[Message]) -> Evaluation:
    scores = evaluation.score(artifact, messages)
    return evaluation.judge(scores, truth(messages), artifact.manifest.threshold)
