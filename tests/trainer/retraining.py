"""A registry with a small trained champion, and a feedback stream, for tests of the retrain job."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from filterd.feedback import Correction
from filterd.streams.feedback import FeedbackStream
from tests.trainer.runs import prepared, toml
from trainer import make
from trainer.dataset import Message
from trainer.recipe import load
from trainer.retraining.job import Job
from trainer.retraining.run import Ended
from trainer.retraining.traffic import Traffic
from trainer.settings import TrainerSettings
from trainer.succession import Registry

NEW_SPAM = "your parcel waits, pay the fee of {} at parcel{}.example today"
NEW_HAM = "the parcel {} is on the table in room {}, thanks"


@dataclass(frozen=True, slots=True)
class World:
    """Where a job works: its folder, its Redis, its feedback stream."""

    folder: Path
    url: str
    stream: str

    @property
    def artifacts(self) -> Path:
        """The registry's folder."""
        return self.folder / "artifacts"

    @property
    def registry(self) -> Registry:
        """The registry."""
        return Registry(self.artifacts)

    def settings(self, **more: object) -> TrainerSettings:
        """Settings that suit a hundred messages."""
        given = {
            "artifacts": self.artifacts,
            "data": self.folder / "data",
            "least_test": 20,
            "least_held_out": 8,
            "margin": 0.05,
            "ham_margin": 0.05,
        }
        return TrainerSettings.load(**{**given, **more})

    def feedback(self, client: redis.Redis) -> FeedbackStream:
        """The stream of corrections."""
        return FeedbackStream(client, self.stream, (f"{self.stream}:in",), 10_000)

    def say(self, corrections: Sequence[tuple[str, str]], source: str = "test") -> None:
        """People's words: text and label."""
        with redis.Redis.from_url(self.url) as client:
            stream = self.feedback(client)
            for text, label in corrections:
                stream.correct(Correction("", label, text, source=source))  # type: ignore[arg-type]

    def run(self, reached: Callable[[str], None] = lambda _: None, **settings: object) -> Ended:
        """One run of the job."""
        with redis.Redis.from_url(self.url) as client:
            traffic = Traffic([(client, f"{self.stream}:in", f"{self.stream}:out")])
            job = Job(
                self.settings(**settings), self.feedback(client), traffic, lambda _: None, reached
            )
            return job.run()

    def copy(self, folder: Path) -> World:
        """The same again, to be spoilt."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return World(folder, self.url, self.stream)


def new_kind(count: int = 60) -> list[tuple[str, str]]:
    """Corrections that tell of a kind of message that nobody has seen."""
    spam = [(NEW_SPAM.format(1 + n % 7, n), "spam") for n in range(count)]
    return spam + [(NEW_HAM.format(n, n % 9), "ham") for n in range(count // 3)]


def flipped(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Corrections that say the contrary of the truth about messages like the known ones."""
    return [
        (f"{message.text}7777", "ham" if message.label == "spam" else "spam")
        for message in messages
    ]


def founded(folder: Path, url: str, stream: str, messages: Sequence[Message]) -> World:
    """A world whose champion has learned from messages."""
    world = World(folder, url, stream)
    data = prepared(folder / "data", messages)
    recipe = load(str(toml(folder / "small.toml", name="small", epochs=8)))
    place = make.Place(world.artifacts / "first", folder / "work")
    make.make(recipe, data, place, lambda _: None)
    world.registry.promote("first", "the first")
    return world
