"""The life of a model: new spam, corrections, retraining, reload, a poisoned one, rollback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis
import torch

from filterd.feedback import Correction
from filterd.streams.feedback import FeedbackStream
from tests.e2e import reloads
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Streams
from tests.servers import RedisServer, embedded
from tests.trainer.runs import toml
from tests.waiting import eventually
from trainer import corpus, make
from trainer.dataset import Message, read_file, to_csv
from trainer.recipe import load
from trainer.splitting import split
from trainer.succession import Registry

RECIPE = {
    "name": "quick",
    "vocab_size": 1000,
    "n_embd": 48,
    "max_length": 64,
    "epochs": 6,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "average": 0.9,
}
"""Two blocks from random weights: seconds of one core."""


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """One kind of server is enough here."""
    with embedded() as server:
        yield server


@pytest.fixture(scope="module")
def known() -> dict[str, list[Message]]:
    """What there is before the new kind of spam: promotions and chat, by split."""
    promotions = read_file(corpus.FOLDER / "promotions.tsv")
    chat = [m for m in read_file(corpus.FOLDER / "chat.tsv") if m.label == "ham"][:400]
    return split([*promotions, *chat], 123)


@pytest.fixture(scope="module")
def scams() -> list[str]:
    """The new kind."""
    return [m.text for m in read_file(corpus.FOLDER / "scams.tsv") if m.label == "spam"]


@pytest.fixture
def registry(tmp_path: Path, known: dict[str, list[Message]]) -> Registry:
    """A champion that was trained on what is known."""
    data = tmp_path / "data"
    data.mkdir()
    for name, part in known.items():
        (data / f"{name}.csv").write_bytes(to_csv(part))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the job below: what is trained does not depend on the cores
    recipe = load(str(toml(tmp_path / "quick.toml", **RECIPE)))
    folder = tmp_path / "artifacts"
    make.make(recipe, data, make.Place(folder / "first", tmp_path / "work"), print)
    torch.set_num_threads(threads)
    made = Registry(folder)
    made.promote("first", "the first")
    return made


class People:
    """Who publishes, corrects and runs commands."""

    def __init__(self, client: redis.Redis, url: str, prefix: str, root: Path) -> None:
        self._root = root
        self.feedback = FeedbackStream(client, f"{prefix}:said", (f"{prefix}:in",), 65536)
        self._environment = {
            **os.environ,
            "FILTERD_REDIS_URL": url,
            "FILTERD_FEEDBACK_STREAM": f"{prefix}:said",
            "FILTERD_INPUT_STREAM": f"{prefix}:in",
            "FILTERD_OUTPUT_STREAM": f"{prefix}:out",
            "TRAINER_ARTIFACTS": str(root / "artifacts"),
            "TRAINER_DATA": str(root / "data"),
            "OMP_NUM_THREADS": "1",
        }

    def trainer(self, *arguments: str) -> str:
        """Run a command; what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "trainer", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=800,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def retrain(self, *arguments: str) -> dict[str, str]:
        """Run the job; what became of it."""
        found: dict[str, str] = json.loads(self.trainer("retrain", "--json", *arguments))
        return found

    def correct(self, ids: Sequence[bytes], label: str) -> None:
        """Say of messages in the stream what they are."""
        for id_ in ids:
            self.feedback.correct(Correction("", label, entry=id_.decode()))  # type: ignore[arg-type]


@pytest.mark.timeout(1200)
def test_the_life_of_a_model(
    daemon: MakeDaemon,
    streams: Streams,
    client: redis.Redis,
    redis_server: RedisServer,
    prefix: str,
    registry: Registry,
    known: dict[str, list[Message]],
    scams: list[str],
    tmp_path: Path,
) -> None:
    people = People(client, redis_server.url, prefix, tmp_path)
    one = daemon(wait=False, ARTIFACT=registry.folder / "champion", RELOAD_S=0.1)
    eventually(one.ready, "the daemon is ready", within_s=300)
    with reloads.load(streams, [m.text for m in known["validation"]]) as sent:
        seen, unseen = scams[::2], scams[1::2]
        ids = streams.publish(seen)
        missed = _missed(streams, ids)
        assert len(missed) > 0.3 * len(ids)
        people.correct(missed, "spam")

        outcome = people.retrain("--margin", "0.03", "--ham-margin", "0.03")
        assert outcome["outcome"] == "promoted", outcome
        reloads.serves(one, outcome["challenger"])
        later = streams.publish(unseen)
        assert len(_missed(streams, later)) / len(later) < 0.75 * len(missed) / len(ids)
    everything = [*(id_ for id_, _ in sent), *ids, *later]
    eventually(lambda: streams.exactly_once(everything), "all settled", within_s=300)
    models = {verdict[b"model"].decode() for verdict in streams.verdicts()}
    assert models == {_version(registry, "first"), outcome["challenger"]}

    poison = [m for m in known["train"] if len(m.text) > 20][:300]
    for message in poison:
        label = "ham" if message.label == "spam" else "spam"
        people.feedback.correct(Correction("", label, message.text))  # type: ignore[arg-type]
    refused = people.retrain("--margin", "0.03", "--ham-margin", "0.03")
    assert refused["outcome"] == "kept"
    assert "frozen test set" in refused["why"]
    assert registry.linked("champion") == outcome["challenger"]

    people.trainer("rollback", "--why", "to show that it works")
    reloads.serves(one, _version(registry, "first"))
    assert [change.action for change in registry.history()] == [
        *("promote", "promote", "keep", "rollback"),
    ]


def _missed(streams: Streams, ids: Sequence[bytes]) -> list[bytes]:
    """Those of the messages that were called ham."""
    wanted = set(ids)

    def labels() -> dict[bytes, bytes]:
        found = {v[b"entry"]: v[b"label"] for v in streams.verdicts() if v[b"entry"] in wanted}
        return found if len(found) == len(wanted) else {}

    found = eventually(labels, "judged", within_s=300)
    return [id_ for id_ in ids if found[id_] == b"ham"]


def _version(registry: Registry, name: str) -> str:
    found = json.loads((registry.folder / name / "manifest.json").read_text())["version"]
    return str(found)
