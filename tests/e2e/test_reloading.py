"""A moved champion link: every message gets one verdict, by the weights that its model names."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artifacts import tiny_artifact
from tests.e2e import reloads
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Streams
from tests.servers import RedisServer, embedded
from tests.waiting import eventually

RELOADS = 20


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """One kind of server is enough here."""
    with embedded() as server:
        yield server


@pytest.mark.timeout(300)
def test_reloads_under_load_mix_up_no_verdict(
    daemon: MakeDaemon, streams: Streams, sample: list[str], tmp_path: Path
) -> None:
    made, texts = reloads.champions(tmp_path / "artifacts", sample)
    one = daemon(ARTIFACT=made.link, RELOAD_S=0.05)
    two = daemon(ARTIFACT=made.link, RELOAD_S=0.05, CONSUMER="two")
    with reloads.load(streams, texts) as sent:
        for number in range(1, RELOADS + 1):
            reloads.turn(one, made, number)
    by_model = reloads.check_verdicts(streams, made, sent)
    assert all(by_model.values()), by_model
    assert reloads.reloaded(two) > 0
    last = made.names[RELOADS % len(made.names)]
    for each in (one, two):
        reloads.serves(each, last)
        assert reloads.reloaded(each, "refused") == 0


def test_what_cannot_be_served_is_refused_and_the_old_one_goes_on(
    daemon: MakeDaemon, streams: Streams, sample: list[str], tmp_path: Path
) -> None:
    made, texts = reloads.champions(tmp_path / "artifacts", sample, count=2)
    one = daemon(ARTIFACT=made.link, RELOAD_S=0.05)
    sent = []
    with reloads.load(streams, texts) as published:
        for number, what in enumerate(("checksum", "shape", "vocabulary", "canary", "gone"), 1):
            reloads.broken(made, what, what)
            made.crown(what)
            eventually(lambda number=number: reloads.reloaded(one, "refused") == number, what)  # type: ignore[misc]
        reloads.turn(one, made, 1)
        sent = published
    by_model = reloads.check_verdicts(streams, made, sent)
    assert all(by_model.values()), by_model
    refused = [line for line in one.log.splitlines() if "artifact refused" in line]
    assert len(refused) == 5
    for line, says in zip(
        refused, ("damaged", "is [", "vocabulary", "canary 1", "cannot be read"), strict=True
    ):
        assert says in line
    assert one.stop() == 0


def test_a_folder_replaced_in_place_is_loaded_when_it_is_whole(
    daemon: MakeDaemon, streams: Streams, sample: list[str], tmp_path: Path
) -> None:
    made, texts = reloads.champions(tmp_path / "artifacts", sample, count=2)
    place = tmp_path / "place"
    shutil.copytree(made.folder / made.names[0], place)
    one = daemon(ARTIFACT=place, RELOAD_S=0.05)
    with reloads.load(streams, texts) as sent:
        shutil.copytree(made.folder / made.names[1], place, dirs_exist_ok=True)
        eventually(lambda: reloads.reloaded(one) > 0, "reloaded")
    by_model = reloads.check_verdicts(streams, made, sent)
    assert by_model[made.names[1]] > 0


def test_sighup_looks_at_once_and_tries_the_refused_again(
    daemon: MakeDaemon, tmp_path: Path
) -> None:
    path = tiny_artifact(tmp_path / "a", version="a")
    link = tmp_path / "champion"
    link.symlink_to("a")
    one = daemon(ARTIFACT=link, RELOAD_S=0)
    for number in (1, 2):
        one.signal(signal.SIGHUP)
        eventually(lambda number=number: reloads.reloaded(one) == number)  # type: ignore[misc]
    (path / "vocab.tiktoken").rename(path / "aside")
    one.signal(signal.SIGHUP)
    eventually(lambda: reloads.reloaded(one, "refused") == 1)
    (path / "aside").rename(path / "vocab.tiktoken")
    one.signal(signal.SIGHUP)
    eventually(lambda: reloads.reloaded(one) == 3)
