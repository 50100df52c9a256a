"""Any request to the real application: no failure inside it, nothing said to who may not ask."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from filterd.classifier import Classifier
from filterd.settings import Settings
from tests.panels import open_site
from tests.servers import embedded

TOKEN = "right-4711"  # noqa: S105
TEXT = "swordfish-0815"
GUARDED = {("POST", "/api/classify"), ("POST", "/api/feedback"), ("DELETE", "/api/feedback/1-0")}
ROUTES = ("/", "/metrics", "/healthz", "/readyz", "/api/status", "/api/verdicts", "/api/events")
PATHS = (*ROUTES, *(path for _, path in sorted(GUARDED)), "/page/../x", "/api/feedback/", "/api/x")
HERE = "127.0.0.1:1"
FOREIGN = ("evil.example", "127.0.0.1.evil.example", "[::1", "", "169.254.0.1", "localhost.")


@dataclass(frozen=True)
class Request:
    """What is sent. allowed: whether its token is the right one."""

    method: str
    path: str
    query: bytes
    headers: tuple[tuple[str, bytes], ...]
    body: bytes

    def header(self, name: str) -> bytes | None:
        return dict(self.headers).get(name)

    @property
    def allowed(self) -> bool:
        return self.header("Authorization") == f"Bearer {TOKEN}".encode()

    def wire(self) -> bytes:
        lines = [f"{self.method} {self.path}".encode() + self.query + b" HTTP/1.1"]
        lines += [name.encode() + b": " + value for name, value in self.headers]
        return b"\r\n".join([*lines, b"Connection: close", b"", self.body])


def value(*given: str) -> st.SearchStrategy[bytes]:
    """One of these, or any bytes that a header may hold."""
    garbage = st.binary(max_size=30).map(lambda found: found.translate(None, b"\r\n\0"))
    return st.sampled_from(given).map(str.encode) | garbage


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NAMES = ("text", "label", "entry", "stream", "id", "source")
VALUES = JSON | st.sampled_from(["spam", "ham", "1-0", "0-0", f"{2**70}-1", "\ud800", "x" * 5000])
BODIES = st.one_of(
    st.binary(max_size=200),
    (JSON | st.dictionaries(st.sampled_from(NAMES), VALUES)).map(
        lambda it: json.dumps(it).encode()
    ),
    st.sampled_from([b"[" * 5000, b"9" * 6000, b'{"text":"' + b"x" * 20_000 + b'"}', b"\xff\xfe"]),
)
TYPES = ("application/json", "application/json; charset=nonsense", "application/json; charset=hex")
HEADERS: dict[str, st.SearchStrategy[bytes]] = {
    "Origin": value(f"http://{HERE}", "http://evil.example", "null"),
    "Sec-Fetch-Site": value("none", "same-origin", "cross-site"),
    "Content-Type": value(*TYPES, "text/plain", "application/json; charset=utf-16"),
    "Content-Encoding": value("gzip", "deflate", "br", "identity"),
    "Authorization": value(f"Bearer {TOKEN}", f"Basic {TOKEN}", "Bearer ", f"Bearer {TOKEN}x"),
    "Range": value("bytes=0-1", "bytes=9-1"),
    "If-Modified-Since": value("Thu, 01 Jan 1970 00:00:00 GMT"),
    "Accept-Encoding": value("gzip", "*"),
}
QUERIES = st.sampled_from(["", "?count=9&min=0", "?label=spam", "?min=nan", "?count=" + "9" * 5000])


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Of any kind; every other one well-formed enough to come past the first guard."""
    method = draw(st.sampled_from(["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "TRACE"]))
    path = draw(st.sampled_from(PATHS) | st.text(max_size=20).map(lambda it: "/" + _quoted(it)))
    if draw(st.booleans()):
        method, path = draw(st.sampled_from([*sorted(GUARDED), ("GET", "/api/verdicts")]))
    chosen = draw(st.fixed_dictionaries({}, optional=HEADERS))
    if draw(st.booleans()):
        chosen["Content-Type"] = draw(st.sampled_from(TYPES).map(str.encode))
        chosen.pop("Content-Encoding", None)
    if draw(st.booleans()):
        chosen["Authorization"] = f"Bearer {TOKEN}".encode()
    host = draw(st.just(HERE) | st.sampled_from(FOREIGN)).encode()
    body = draw(BODIES)
    length = draw(st.sampled_from([str(len(body))] * 9 + ["-1", "x"])).encode()
    query = draw(QUERIES | st.text(max_size=20).map(lambda it: "?" + _quoted(it))).encode()
    headers = (("Host", host), *chosen.items(), ("Content-Length", length))
    return Request(method, path, query, headers, body)


def _quoted(text: str) -> str:
    return quote(text.encode(errors="replace"))


@pytest.fixture(scope="module")
def port(tiny: Path) -> Iterator[int]:
    """Where an application listens that shows texts, to who has the token."""
    with embedded() as server, server.client() as client:
        client.xadd("filterd:messages", {"text": TEXT}, id="1-0")
        verdict = {"entry": "1-0", "label": "spam", "score": "0.9", "threshold": "0.5"}
        client.xadd("filterd:verdicts", verdict)
        given = Settings(
            redis_url=SecretStr(server.url),
            http_token=SecretStr(TOKEN),
            show_text=True,
            max_text_bytes=1000,
        )
        ports: list[int] = []
        ready, over = threading.Event(), threading.Event()

        @asynccontextmanager
        async def opened() -> Any:
            async with open_site(given, Classifier.load(tiny)) as site:
                yield site.port

        async def run() -> None:
            async with opened() as found:
                ports.append(found)
                ready.set()
                await asyncio.to_thread(over.wait)

        thread = threading.Thread(target=asyncio.run, args=(run(),))
        thread.start()
        try:
            assert ready.wait(60)
            yield ports[0]
        finally:
            over.set()
            thread.join(30)


def answer_to(port: int, request: Request) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body; of a stream its beginning."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        with suppress(ConnectionError):  # refused before it has read all
            line.sendall(request.wire())
        received = b""
        while chunk := _received(line):
            received += chunk
            if b"text/event-stream" in received and b"event: verdicts" in received:
                break
            if b"text/event-stream" in received and request.method == "HEAD":
                break
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in rest)
    return int(first.split()[1]), headers, body


def _received(line: socket.socket) -> bytes:
    try:
        return line.recv(65536)
    except ConnectionError:
        return b""


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(request=requests())
def test_any_request(port: int, request: Request) -> None:
    status, headers, body = answer_to(port, request)
    assert status < 500 or status == 503, (status, body)
    assert b"Traceback" not in body
    assert b'File "' not in body
    assert TOKEN.encode() not in body
    host, origin = request.header("Host"), request.header("Origin")
    if host != HERE.encode() or origin not in (None, f"http://{HERE}".encode()):
        assert status >= 400
    if not request.allowed:
        assert TEXT.encode() not in body
        if (request.method, request.path) in GUARDED:
            assert status in (401, 403) or (status == 400 and not _is_ours(headers)), body
    if _is_ours(headers):
        assert isinstance(json.loads(body or b"{}"), dict)


def _is_ours(headers: dict[bytes, bytes]) -> bool:
    """Whether ``/api`` has answered; what is no HTTP is refused before it is reached."""
    return b"json" in headers.get(b"content-type", b"")


def test_the_requests_come_as_far_as_they_should(port: int) -> None:
    right = (("Host", HERE.encode()), ("Authorization", f"Bearer {TOKEN}".encode()))
    seen = answer_to(port, Request("GET", "/api/verdicts", b"", right, b""))
    assert (seen[0], TEXT.encode() in seen[2]) == (200, True)
    body = json.dumps({"label": "spam", "entry": "1-0"}).encode()
    length = ("Content-Length", str(len(body)).encode())
    sent = (*right, ("Content-Type", b"application/json"), length)
    assert answer_to(port, Request("POST", "/api/feedback", b"", sent, body))[0] == 201
    assert (
        answer_to(port, Request("POST", "/api/feedback", b"", (sent[0], *sent[2:]), body))[0] == 401
    )
