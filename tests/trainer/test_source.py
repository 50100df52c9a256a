"""The download, from a server on this machine, and every local form."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from filterd.errors import DataError, UnavailableError
from trainer import source
from trainer.source import MEMBER, download, local

CONTENT = b"ham\thello\nspam\twin\n"


def zipped(content: bytes, name: str = MEMBER) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


class Server(ThreadingHTTPServer):
    """Answers one after another of ``answers``: a body, or None for 503; then repeats the last."""

    def __init__(self, answers: list[bytes | None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = answers, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/sms.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.server.answers[min(self.server.asked, len(self.server.answers) - 1)]
        self.server.asked += 1
        self.send_response(503 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    """A class of servers that are stopped afterwards; retries do not wait, CONTENT is right."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    monkeypatch.setattr(source, "MEMBER_SHA256", source.Source("", CONTENT).sha256)
    started: list[Server] = []

    class Started(Server):
        def __init__(self, answers: list[bytes | None]) -> None:
            super().__init__(answers)
            started.append(self)
            threading.Thread(target=self.serve_forever, daemon=True).start()

    yield Started
    for server in started:
        server.shutdown()
        server.server_close()


def test_downloads_once(serve: type[Server], tmp_path: Path) -> None:
    server = serve([zipped(CONTENT)])
    for _ in range(2):
        found = download(server.url, tmp_path)
        assert found.data == CONTENT
        assert found.is_sms_spam_collection
    assert server.asked == 1


def test_tries_again(serve: type[Server], tmp_path: Path) -> None:
    server = serve([None, b"cut off", zipped(b"ham\tother\n"), zipped(CONTENT)])
    assert download(server.url, tmp_path).data == CONTENT
    assert server.asked == 4


def test_wrong_checksum_is_refused_and_not_kept(serve: type[Server], tmp_path: Path) -> None:
    server = serve([zipped(b"ham\tother\n")])
    with pytest.raises(DataError, match="has the sha256"):
        download(server.url, tmp_path, retries=1)
    assert server.asked == 2
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cache_is_dropped(serve: type[Server], tmp_path: Path) -> None:
    server = serve([zipped(CONTENT)])
    download(server.url, tmp_path)
    next(tmp_path.iterdir()).write_bytes(b"damaged")
    with pytest.raises(DataError, match="not a whole zip"):
        download(server.url, tmp_path)
    assert download(server.url, tmp_path).data == CONTENT


def test_no_answer_names_the_other_way(serve: type[Server], tmp_path: Path) -> None:
    server = serve([None])
    with pytest.raises(UnavailableError, match="--path"):
        download(server.url, tmp_path, retries=1)


def test_local_forms(tmp_path: Path) -> None:
    archive = tmp_path / "sms+spam+collection.zip"
    archive.write_bytes(zipped(CONTENT))
    assert local(archive).data == local(tmp_path).data == CONTENT
    plain = tmp_path / "plain" / MEMBER
    plain.parent.mkdir()
    plain.write_bytes(CONTENT)
    assert local(plain).data == local(plain.parent).data == CONTENT


def test_local_refusals(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"holds no {MEMBER}"):
        local(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        local(tmp_path / "absent.csv")
    for data, says in ((b"x", "not a whole zip"), (zipped(b"", "other"), "without")):
        (tmp_path / "a.zip").write_bytes(data)
        with pytest.raises(DataError, match=says):
            local(tmp_path / "a.zip")
