"""Every command and program in the documents is run, as it stands, in the order it stands there.

A reader's folder, with a server at the address that the documents name: its port alone differs.
What cannot be run so is named below with its reason, and nothing is passed over in silence.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from tests.artifacts import tiny_artifact
from tests.documents.markdown import Code, code
from tests.e2e.daemon import Daemon
from tests.servers import RedisServer, binary, free_port
from tests.trainer.runs import toml
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "trainer/README.md")

ELSEWHERE = {
    "make demo": "tests/test_demo.py",
    "make test": "this is it",
    ".venv/bin/pip install -c constraints.txt -e '.[train]'": "make test installs it",
    "scrape_configs:": "tests/deploy: promtool checks the whole file",
    **dict.fromkeys(
        (
            "MORE=",
            "RATE=",
            "trainer train --recipe smollm2-whole",
            "trainer distill --teacher artifacts/teacher",
        ),
        "a record: data that is not ours to give, and a GPU",
    ),
    "trainer compose": "tests/trainer/test_composing.py, with a small model",
}
"""Beginnings of what is not run here, and where it is."""

SERVES = {
    "filterd run": "model is warm",
    "r = redis.Redis(decode_responses=True)": "order-17",
    "const client = createClient();": "order-18",
}
"""Beginnings of what goes on until Ctrl-C, and what it has said by then."""

QUICKER = {
    "redis://127.0.0.1:6379": "redis://127.0.0.1:{port}",
    "redis.Redis(": "redis.Redis(port={port}, ",
    "createClient()": "createClient({{ url: 'redis://127.0.0.1:{port}' }})",
    "1700000000000-0": "{message}",
    "1700000000500-0": "{feedback}",
    "--recipe starter": "--recipe tiny.toml",
    "--recipe adapt": "--recipe tiny.toml",
    "--source sms-spam-collection\n": "--source sms-spam-collection --path sms-spam-collection\n",
}
"""What is put in place: the server's port, ids, minutes of training, and a download."""

PROGRAMS = {"python": (".py", sys.executable, "-u"), "js": (".mjs", "node")}
"""Of a language: how its files end, and what runs them."""


class Reader:
    """Somebody who reads a document and types what it says."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self._folder, self._server = folder, server
        bin_ = folder / "bin"
        bin_.mkdir()
        for name in ("filterd", "trainer"):
            _script(bin_ / name, f'exec {sys.executable} -m {name} "$@"')
        if client := shutil.which("redis-cli"):
            _script(bin_ / "redis-cli", f'exec {client} -p {server.port} "$@"')
        self._environment = {
            **os.environ,
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "FILTERD_REDIS_URL": server.url,
            "OMP_NUM_THREADS": "1",
        }

    def types(self, block: Code) -> str | None:
        """What went wrong, if anything."""
        command = self._command(block)
        said = self._folder / "said"
        # A daemon that a document starts is a second one beside the reader's first.
        own = {"FILTERD_HTTP_PORT": str(free_port()), "FILTERD_GROUP": "another"}
        serves = next((mark for name, mark in SERVES.items() if block.name.startswith(name)), None)
        with said.open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env={**self._environment, **(own if "run" in block.name else {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            if serves is not None:
                eventually(lambda: serves in said.read_text() or process.poll(), within_s=90)
                os.killpg(process.pid, signal.SIGINT)
            code = process.wait(240)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)
        interrupted = serves is not None and serves in said.read_text()
        return None if interrupted or code == 0 else f"{block.name}: {code}: {said.read_text()}"

    def _command(self, block: Code) -> list[str]:
        text = (
            block.text if block.text.endswith("\n") else block.text.split(" #")[0].rstrip() + "\n"
        )
        known = self._known()
        for given, put in QUICKER.items():
            text = text.replace(given, put.format_map(known))
        if block.language == "sh":
            return ["bash", "-c", text]
        if block.language == "js":
            npm = ["npm", "install", "--no-audit", "--no-fund", "--silent", "redis@5"]
            subprocess.run(npm, cwd=self._folder, check=True, timeout=120)
        ending, *run = PROGRAMS[block.language]
        program = self._folder / f"program{ending}"
        program.write_text(text)
        return [*run, str(program)]

    def _known(self) -> dict[str, object]:
        """What the documents cannot know: the port, a message's id, the last feedback's."""
        with self._server.client() as client:
            messages = client.xrange("filterd:messages", count=1)
            feedback = client.xrevrange("filterd:feedback", count=1)
        ids = [found[0][0].decode() if found else "" for found in (messages, feedback)]
        return {"port": self._server.port, "message": ids[0], "feedback": ids[1]}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader with a server, a daemon, and files of the names that the documents use."""
    program = binary("debian") or binary("embedded")
    assert program is not None
    _files(tmp_path)
    names = {"INPUT_STREAM": "filterd:messages", "OUTPUT_STREAM": "filterd:verdicts"}
    with (
        RedisServer(program, tmp_path / "redis", tcp=True) as server,
        Daemon(server.url, "documents", tmp_path / "log", **names, GROUP="filterd") as daemon,
    ):
        eventually(daemon.ready, "the daemon is ready", within_s=90)
        yield Reader(tmp_path, server)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_says_works(document: str, reader: Reader) -> None:
    blocks = [block for block in code(ROOT / document) if not _elsewhere(block)]
    assert len(blocks) > 5
    failures = [found for block in blocks if (found := reader.types(block))]
    assert not failures, "\n\n".join(failures)


def test_exceptions_are_still_in_the_documents() -> None:
    names = [block.name for document in DOCUMENTS for block in code(ROOT / document)]
    for beginning in (*ELSEWHERE, *SERVES):
        assert any(name.startswith(beginning) for name in names), beginning


def _elsewhere(block: Code) -> bool:
    return any(block.name.startswith(beginning) for beginning in ELSEWHERE)


def _files(folder: Path) -> None:
    """A reader's own messages, by every name that the documents use."""
    sample = (files("filterd") / "sample" / "messages.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t", 1) for line in sample.splitlines()]
    lines = [f"{text}\n" for _, text in rows[:40]]
    (folder / "one-message-a-line.txt").write_text("".join(lines))
    (folder / "chats.txt").write_text("".join(f"Hello! {line}" for line in lines))
    quoted = [(label, '"' + text.replace('"', '""') + '"') for label, text in rows]
    (folder / "inbox.csv").write_text("body\n" + "".join(f"{text}\n" for _, text in quoted[:40]))
    labelled = "label,text\n" + "".join(f"{label},{text}\n" for label, text in quoted)
    for name in ("my-messages.csv", "new-messages.csv"):
        (folder / name).write_text(labelled)
    (folder / "sms-spam-collection").write_text(sample)
    toml(folder / "tiny.toml", epochs=1)
    (folder / "artifacts").mkdir()
    tiny_artifact(folder / "artifacts" / "smollm2")
    (folder / "composed.txt").write_text("".join(f"As if: {line}" for line in lines))


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
