"""A daemon under load whose champion link moves again and again: what its verdicts must show."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from filterd.artifact import MANIFEST
from filterd.classifier import Classifier
from tests.artifacts import tiny_artifact
from tests.e2e.daemon import Daemon, Streams
from tests.waiting import eventually
from trainer import durable

CHUNK = 40
MOST_WAITING = 2000
APART = 0.002
"""Scores of two artifacts at least so different tell which one scored."""


@dataclass
class Champions:
    """Artifacts in turn behind one link."""

    folder: Path
    names: tuple[str, ...]
    expected: dict[str, dict[bytes, float]] = field(default_factory=dict)

    @property
    def link(self) -> Path:
        """What the daemon is given."""
        return self.folder / "champion"

    def crown(self, name: str) -> None:
        """Move the link."""
        durable.point(self.link, name)


def champions(folder: Path, texts: Sequence[str], count: int = 3) -> tuple[Champions, list[str]]:
    """Artifacts, and those of the texts that each of them scores differently."""
    names = tuple(f"tiny-{number}" for number in range(count))
    scores = []
    for seed, name in enumerate(names):
        path = tiny_artifact(folder / name, version=name, seed=seed)
        scores.append(Classifier.load(path, precision="fp32").engine.score_texts(list(texts)))
    telling = [
        place
        for place, each in enumerate(zip(*scores, strict=True))
        if all(b - a > APART for a, b in zip(sorted(each), sorted(each)[1:], strict=False))
    ]
    made = Champions(folder, names)
    for name, found in zip(names, scores, strict=True):
        made.expected[name] = {texts[place].encode(): found[place] for place in telling}
    made.crown(names[0])
    return made, [texts[place] for place in telling]


@contextmanager
def load(streams: Streams, texts: Sequence[str]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Publish all the time, never further ahead than MOST_WAITING; yields ids and texts so far.

    A last chunk follows the body's end, for whatever model serves by then.
    """
    stop, sent = threading.Event(), list[tuple[bytes, bytes]]()

    def publish_chunk() -> None:
        start = len(sent) % len(texts)
        chunk = list(texts[start : start + CHUNK])
        ids = streams.publish(chunk)
        sent.extend(zip(ids, (text.encode() for text in chunk), strict=True))

    def publish() -> None:
        while not stop.is_set():
            publish_chunk()
            while len(sent) - streams.outcomes() > MOST_WAITING and not stop.is_set():
                stop.wait(0.01)
            stop.wait(0.02)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()
    publish_chunk()


def check_verdicts(
    streams: Streams, made: Champions, sent: Sequence[tuple[bytes, bytes]]
) -> dict[str, int]:
    """Each message has one verdict, by the weights that its ``model`` names; verdicts by model."""
    eventually(lambda: streams.exactly_once([id_ for id_, _ in sent]), "all settled", within_s=300)
    text_of = dict(sent)
    by_model = dict.fromkeys(made.names, 0)
    for verdict in streams.verdicts():
        model = verdict[b"model"].decode()
        expected = made.expected[model][text_of[verdict[b"entry"]]]
        assert abs(float(verdict[b"score"]) - expected) < 1e-4, (model, verdict)
        by_model[model] += 1
    assert streams.dead_letters() == []
    return by_model


def reloaded(one: Daemon, result: str = "loaded") -> float:
    """How many reloads ended so."""
    return one.metric("filterd_reloads_total", result=result)


def turn(one: Daemon, made: Champions, number: int) -> None:
    """Crown the next champion, and wait until the daemon serves it."""
    before = reloaded(one)
    made.crown(made.names[number % len(made.names)])
    eventually(lambda: reloaded(one) > before, f"reload {number}", within_s=120)


def serves(one: Daemon, version: str) -> None:
    """Wait until the daemon serves a version."""
    wanted = f'filterd_artifact_info{{backbone="[^"]*",precision="fp32",version="{version}"}} 1'
    eventually(
        lambda: re.search(wanted, one.get("/metrics").read().decode()),
        f"{version} is served",
        within_s=300,
    )


def memory_mb(one: Daemon) -> float:
    """Resident memory of the daemon."""
    return psutil.Process(one.process.pid).memory_info().rss / 1e6


def broken(made: Champions, name: str, what: str) -> None:
    """Make an artifact that must be refused."""
    path = made.folder / name
    shutil.copytree(made.folder / made.names[0], path)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["version"] = name
    if what == "checksum":
        weights = path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    elif what == "shape":
        manifest["model"]["n_embd"] = 32
    elif what == "vocabulary":
        manifest["model"]["vocab_size"] = 300
    elif what == "canary":
        manifest["canaries"] = {"hello": 0.123456}
    elif what == "gone":
        (path / "vocab.tiktoken").unlink()
    (path / MANIFEST).write_text(json.dumps(manifest))
