"""``/api``: how the group does, recent verdicts, live events, a message tried, people's words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from filterd.classifier import Classifier
from filterd.errors import FeedbackError, FilterdError, UnavailableError
from filterd.explain import as_object as explained_object
from filterd.explain import explain
from filterd.feedback import LABELS, Correction, Withdrawal
from filterd.glances import SHOWN, Glances, Sight, fresh
from filterd.guards import Access
from filterd.monitor import TICK_S, Event, Monitor, TooManyError
from filterd.recent import Filter, as_object, recent
from filterd.streams.feedback import FeedbackStream
from filterd.tail import View

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

MOST_SHOWN = 500
EXPLAIN_TOKENS = 8192
MOST_WAITING = 4
STATUS = {FeedbackError: 422, TooManyError: 503, UnavailableError: 503}


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change. group, streams: their names · show_text: whether texts may be seen.

    partitions: each with an input, an output and dead letters of its own.
    """

    group: str
    streams: Mapping[str, str]
    partitions: int
    show_text: bool
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Backstage:
    """What the daemon has once it has started. reference: see ``artifact.training_scores``.

    views: of each partition · dead_letters: of all of them.
    """

    views: Sequence[View]
    dead_letters: Callable[[], int]
    feedback: FeedbackStream
    classifier: Callable[[], Classifier]
    reference: Callable[[], list[float]]


class Api:
    """The routes. ``backstage`` is None until the daemon can serve."""

    def __init__(self, access: Access, facts: Facts, monitor: Monitor) -> None:
        self.backstage: Backstage | None = None
        self._access = access
        self._facts = facts
        self._monitor = monitor
        self._scoring = asyncio.Lock()
        self._waiting = 0
        self._glances = Glances(self._sight, TICK_S)

    @property
    def most_body_bytes(self) -> int:
        """Of a request: JSON may write a byte of text in six."""
        return 6 * self._facts.most_bytes + 1024

    def routes(self) -> list[web.RouteDef]:
        """For an application whose middlewares hold ``json_errors`` and the guards."""
        return [
            web.get("/api/status", self._status),
            web.get("/api/verdicts", self._verdicts),
            web.get("/api/events", self._events),
            web.post("/api/classify", self._classify),
            web.post("/api/feedback", self._correct),
            web.delete("/api/feedback/{id}", self._withdraw),
        ]

    async def _status(self, request: web.Request) -> web.Response:
        return _json({**self._beginning(request), **self._monitor.now()})

    def _beginning(self, request: web.Request) -> Event:
        facts, behind = self._facts, self.backstage
        return {
            "daemon": self._monitor.name,
            "group": facts.group,
            "streams": facts.streams,
            "partitions": facts.partitions,
            "shows_text": facts.show_text,
            "allowed": self._access.allows(request),
            "takes_token": bool(self._access.token),
            "reference": behind.reference() if behind else [],
        }

    async def _verdicts(self, request: web.Request) -> web.Response:
        wanted, count = _filter(request.query)
        views = _with_texts(self._behind().views, self._shows_text(request))
        found = await asyncio.to_thread(recent, views, wanted, count)
        shown = [as_object(seen) for seen in found.verdicts]
        return _json({"verdicts": shown, "unknown": found.unknown})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: first what was, then once a second what is."""
        with self._monitor.listen() as queue:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            with suppress(ConnectionResetError):  # whoever listened has left
                await self._tell(request, response, queue)
        return response

    async def _tell(
        self, request: web.Request, response: web.StreamResponse, queue: asyncio.Queue[Event | None]
    ) -> None:
        past = {"history": self._monitor.history.samples(), **self._monitor.now()}
        await _send(response, "hello", {**self._beginning(request), **past})
        event: Event | None = {}
        sent: dict[str, str] = {}
        while event is not None:
            if event:
                await _send(response, "tick", event)
            glance = await self._glances.newest(self._shows_text(request))
            shown = [as_object(seen) for seen in fresh(glance, sent)]
            about = {"dead": glance.dead, "unknown": glance.unknown}
            await _send(response, "verdicts", {"verdicts": shown, **about})
            event = await queue.get()

    def _sight(self, texts: bool) -> Sight | None:
        behind = self.backstage
        if behind is None:
            return None
        return Sight(_with_texts(behind.views, texts), behind.dead_letters)

    async def _classify(self, request: web.Request) -> web.Response:
        self._access.demand(request)
        body = await _body(request)
        text = self._text(body)
        classifier = self._behind().classifier()
        if self._waiting >= MOST_WAITING:
            raise web.HTTPServiceUnavailable(text="others are trying messages too: try again soon")
        self._waiting += 1
        try:
            async with self._scoring:
                explained = await asyncio.to_thread(explain, classifier, text, EXPLAIN_TOKENS)
        finally:
            self._waiting -= 1
        return _json(explained_object(explained))

    async def _correct(self, request: web.Request) -> web.Response:
        self._access.demand(request)
        body = await _body(request)
        if body.get("label") not in LABELS:
            raise web.HTTPBadRequest(text="label: give spam or ham")
        given = {name: _string(body, name) for name in ("entry", "stream", "id", "source")}
        text = self._text(body) if "text" in body else None
        if (text is None) == (given["entry"] is None):
            raise web.HTTPBadRequest(text="give either the text or the entry of a message")
        label, entry, stream, own_id, source = body["label"], *given.values()
        correction = Correction("", label, text, entry, stream, own_id, source or "page")
        done = await asyncio.to_thread(self._behind().feedback.correct, correction)
        return _json({"feedback": done.id, "label": done.label}, status=201)

    async def _withdraw(self, request: web.Request) -> web.Response:
        self._access.demand(request)
        stream = self._behind().feedback
        done: Withdrawal = await asyncio.to_thread(stream.withdraw, request.match_info["id"])
        return _json({"feedback": done.id, "withdraws": done.withdraws})

    def _behind(self) -> Backstage:
        if self.backstage is None:
            raise web.HTTPServiceUnavailable(text="the daemon is starting: try again soon")
        return self.backstage

    def _shows_text(self, request: web.Request) -> bool:
        return self._facts.show_text and self._access.allows(request)

    def _text(self, body: Mapping[str, Any]) -> str:
        text = _string(body, "text")
        if text is None:
            raise web.HTTPBadRequest(text="text: give the message")
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise web.HTTPBadRequest(text="text: half a character has no UTF-8") from None
        most = self._facts.most_bytes
        if size > most:
            raise web.HTTPRequestEntityTooLarge(most, size, text=f"text: {most} bytes at most")
        return text


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is one line, below ``/api`` one JSON object."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        headers = {k: v for k, v in error.headers.items() if k in ("Allow", "WWW-Authenticate")}
        return _error(request, error.status, error.text or error.reason, headers)
    except FilterdError as error:
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
        return _error(request, status, str(error), {})


def _error(
    request: web.Request, status: int, message: str, headers: Mapping[str, str]
) -> web.Response:
    line = " ".join(message.split())
    if not request.path.startswith("/api/"):
        return web.Response(text=line + "\n", status=status, headers=headers)
    return _json({"error": line}, status=status, headers=headers)


def _json(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.json_response(text=_dumped(value) + "\n", status=status, headers=headers)


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


async def _send(response: web.StreamResponse, event: str, value: object) -> None:
    await response.write(f"event: {event}\ndata: {_dumped(value)}\n\n".encode())


async def _body(request: web.Request) -> Mapping[str, Any]:
    """The JSON object of a request; a foreign page's form cannot be one."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send JSON, with Content-Type: application/json")
    try:
        found = await request.json()
    except (ValueError, RecursionError, LookupError):  # the last: a charset that nobody knows
        raise web.HTTPBadRequest(text="the body is not JSON") from None
    if not isinstance(found, dict):
        raise web.HTTPBadRequest(text="the body is not a JSON object")
    return found


def _string(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise web.HTTPBadRequest(text=f"{name}: give a string")
    return value


def _filter(query: Mapping[str, str]) -> tuple[Filter, int]:
    try:
        least, most = float(query.get("min", "0")), float(query.get("max", "1"))
        count = int(query.get("count", SHOWN))
    except ValueError:
        raise web.HTTPBadRequest(text="min, max and count are numbers") from None
    label = query.get("label", "")
    if label not in ("", *LABELS) or not 0 <= least <= most <= 1 or not 1 <= count <= MOST_SHOWN:
        raise web.HTTPBadRequest(
            text="label is spam or ham, 0 <= min <= max <= 1, 1 <= count <= " + str(MOST_SHOWN)
        )
    return Filter(label, least, most), count


def _with_texts(views: Sequence[View], texts: bool) -> Sequence[View]:
    return views if texts else [View(view.client, view.stream) for view in views]
