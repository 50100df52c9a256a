"""What ``filterd doctor`` asks the server: each answer is a finding of one line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from redis.crc import key_slot

from filterd.entries import DEFAULT_NAMES
from filterd.errors import UnavailableError
from filterd.streams.connection import translated
from filterd.streams.consumer import id_ms, watermark_key
from filterd.streams.lease import lease_key
from filterd.streams.names import StreamNames
from filterd.streams.presence import daemons_key
from filterd.streams.scripts import SyncScript

if TYPE_CHECKING:
    import redis

Level = Literal["ok", "note", "change"]

OLDEST = (6, 2)
UNSAFE = ((8, 2, 0), (8, 2, 3))
"""From the first on, below the second: XACKDEL can corrupt memory (CVE-2025-62507)."""
FSYNC: dict[str, tuple[Level, str]] = {
    "always": ("ok", "a crash loses nothing that was acknowledged"),
    "everysec": ("note", "a crash may lose the last second or two"),
    "no": ("change", "a crash may lose half a minute: set it to everysec or always"),
}
CLOCK_S = 2.0
FULL = 0.9
GONE_MS = 3_600_000
MANY_CONSUMERS = 100

TYPES = ("stream", "stream", "stream", "string", "string", "hash")
"""Of the keys that RIGHTS numbers."""
NEWEST = 20
SHOWN_FIELDS, LONGEST_NAME = 5, 40
ENOUGH = 3
"""Entries without the field of the message from which on it is no accident."""

# Keys of RIGHTS: 1 input, 2 output, 3 dead letters, 4 watermark, 5 lease, 6 the group's daemons.
RIGHTS = tuple(
    tuple(line.split())
    for line in """
    INFO|TIME|PING|EXISTS #1|GET #4|SET #4 0-0|GET #5|SET #5 x PX 1|DEL #5|PTTL #5
    XGROUP CREATE #1 g 0 MKSTREAM|XGROUP DELCONSUMER #1 g c|XINFO GROUPS #1|XINFO CONSUMERS #1 g
    XREADGROUP GROUP g c COUNT 1 STREAMS #1 >|XPENDING #1 g|XCLAIM #1 g c 0 0-1
    XACK #1 g 0-1|XRANGE #1 - +|XTRIM #1 MINID 0|XADD #2 * a b|XADD #3 * a b
    XREVRANGE #2 + -|XLEN #3
    CLIENT TRACKING ON|EVALSHA x 1 #1|SCRIPT LOAD x|HSET #6 a b|HDEL #6 a|HGETALL #6|PEXPIRE #6 1
    """.replace("\n", "|").split("|")
    if line.strip()
)
"""Every command that a daemon sends to these keys, itself, from a script or for its page."""
TRACKING = ("CLIENT", "TRACKING", "ON")
"""The one of them that it can do without."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. level: ok, note (good to know), change (filterd cannot keep its promises)."""

    level: Level
    topic: str
    says: str


class Examination:
    """Asks one server about one group's streams."""

    def __init__(
        self,
        client: redis.Redis,
        names: StreamNames,
        consumer: str,
        text_field: bytes = DEFAULT_NAMES.text,
    ) -> None:
        self._client, self._names, self._text_field = client, names, text_field
        self._keys = (
            *(names.input, names.output, names.dead),
            watermark_key(names.input, names.group),
            lease_key(names.input, names.group, consumer),
            daemons_key(names.input, names.group),
        )
        self._info: dict[str, Any] = {}

    def findings(self) -> Iterator[Finding]:
        """Everything. What the server refuses to tell is a note, where a daemon can do without."""
        checks: tuple[Callable[[], Iterator[Finding]], ...] = (
            *(self._version, self._persistence, self._memory, self._timeouts, self._slots),
            *(self._types, self._rights, self._clock, self._groups, self._fields),
        )
        for check in checks:
            try:
                with translated():
                    yield from check()
            except UnavailableError as error:
                if error.kind in ("away", "timeout", "auth", "tls"):
                    raise
                topic = check.__name__.removeprefix("_")
                vital = topic in ("rights", "types", "groups")
                yield Finding(
                    "change" if vital else "note", topic, f"could not be examined: {error}"
                )

    def _version(self) -> Iterator[Finding]:
        info: Any = self._client.info()
        self._info = info
        name = str(info.get("server_name", "redis"))
        text = str(info.get(f"{name}_version") or info["redis_version"])
        version = tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
        says = f"{name.capitalize()} {text}, {info.get('redis_mode', 'standalone')}"
        if version < OLDEST:
            yield Finding("change", "version", f"{says}: filterd needs Redis 6.2 or later")
        elif name == "redis" and UNSAFE[0] <= version < UNSAFE[1]:
            yield Finding("change", "version", f"{says} has CVE-2025-62507: update to 8.2.3")
        else:
            yield Finding("ok", "version", says)
        if info.get("role") not in ("master", None):
            yield Finding("change", "role", "this is a replica: name the primary")

    def _persistence(self) -> Iterator[Finding]:
        config = self._config("appendonly", "appendfsync", "save")
        fsync = config["appendfsync"]
        if config["appendonly"] == "yes":
            level, loses = FSYNC[fsync]
            yield Finding(level, "persistence", f"appendfsync is {fsync}: {loses}")
        elif config["save"]:
            says = "snapshots only: a crash loses all since the last one: set appendonly yes"
            yield Finding("change", "persistence", says)
        else:
            says = "none: a restart loses every message: set appendonly yes"
            yield Finding("change", "persistence", says)
        for name in (
            "aof_last_write_status",
            "aof_last_bgrewrite_status",
            "rdb_last_bgsave_status",
        ):
            if self._info.get(name, "ok") != "ok":
                yield Finding("change", "persistence", f"{name} is an error: is its disk full?")

    def _memory(self) -> Iterator[Finding]:
        config = self._config("maxmemory", "maxmemory-policy")
        policy, most = config["maxmemory-policy"], int(config["maxmemory"])
        if policy.startswith("allkeys"):
            says = f"maxmemory-policy {policy} deletes streams when memory is full: set noeviction"
            yield Finding("change", "eviction", says)
        else:
            yield Finding("ok", "eviction", f"maxmemory-policy is {policy}")
        used = int(self._info["used_memory"])
        if not most:
            says = "maxmemory is 0: without a limit the kernel kills the server when memory is out"
            yield Finding("note", "memory", says)
        elif used > FULL * most:
            says = f"{used / most:.0%} of maxmemory is in use: trim what nobody reads, or raise it"
            yield Finding("change", "memory", says)
        else:
            yield Finding("ok", "memory", f"{used / most:.0%} of maxmemory is in use")

    def _timeouts(self) -> Iterator[Finding]:
        config = self._config("timeout", "tcp-keepalive")
        if 0 < int(config["timeout"]) < 10:
            says = f"timeout {config['timeout']} cuts quiet clients off: set it to 0"
            yield Finding("change", "time-outs", says)
        elif config["tcp-keepalive"] == "0":
            says = "tcp-keepalive is 0: clients that vanished stay connected: set it to 300"
            yield Finding("note", "time-outs", says)
        else:
            yield Finding("ok", "time-outs", "quiet clients stay connected, dead ones do not")

    def _slots(self) -> Iterator[Finding]:
        if len({key_slot(key.encode()) for key in self._keys}) == 1:
            yield Finding("ok", "slots", "all streams share a slot")
        elif self._info.get("cluster_enabled"):
            says = "the streams lie in different slots: give their names one tag, as {sms}:messages"
            yield Finding("change", "slots", says)
        else:
            yield Finding("ok", "slots", "the streams lie in different slots: it is no cluster")

    def _types(self) -> Iterator[Finding]:
        wrong = False
        for number, key in enumerate(self._keys):
            wanted, found = TYPES[number], _text(self._client.type(key))
            if found not in (wanted, "none"):
                wrong = True
                says = f"{key} is a {found}, not a {wanted}: rename it, or set another name"
                yield Finding("change", "types", says)
        if not wrong:
            yield Finding("ok", "types", "every key is of its type, or not there yet")

    def _rights(self) -> Iterator[Finding]:
        args: list[str | bytes | int] = [len(self._keys), *self._keys]
        for words in RIGHTS:
            args += [len(words), *words]
        refused = SyncScript(self._client, "rights")([], args)
        if refused == [-1]:
            yield Finding("note", "rights", "a server before Redis 7 cannot be asked")
        for number in refused:
            if number > 0:
                yield self._refused(RIGHTS[number - 1])
        if not refused:
            yield Finding("ok", "rights", f"ACL allows all {len(RIGHTS)} commands")

    def _refused(self, words: tuple[str, ...]) -> Finding:
        says = f"ACL refuses {self._shown(words)}"
        if words == TRACKING:
            return Finding("note", "rights", f"{says}: daemons look for entries again and again")
        return Finding("change", "rights", says)

    def _shown(self, words: tuple[str, ...]) -> str:
        keys = {f"#{number}": key for number, key in enumerate(self._keys, 1)}
        return " ".join(keys.get(word, word) for word in words)

    def _clock(self) -> Iterator[Finding]:
        seconds, micros = self._client.time()
        apart = seconds + micros / 1e6 - time.time()
        if abs(apart) > CLOCK_S:
            says = f"the server's is {apart:+.1f} s from this machine's: run NTP on both"
            yield Finding("change", "clock", says)
        else:
            yield Finding("ok", "clock", "the server's agrees with this machine's")

    def _groups(self) -> Iterator[Finding]:
        name = self._names.input
        if self._client.type(name) != b"stream":
            yield Finding("note", "groups", f"{name} is not there yet: the first daemon makes it")
            return
        groups: Any = self._client.xinfo_groups(name)
        own = self._names.group.encode()
        if own not in {group["name"] for group in groups}:
            yield Finding(
                "note", "groups", f"group {self._names.group} is made by a daemon's start"
            )
        for group in groups:
            consumers: Any = self._client.xinfo_consumers(name, group["name"])
            if group["name"] != own:
                yield from self._foreign(group, consumers)
            elif wrong := list(self._wrong(consumers)):
                yield from wrong
            else:
                lag = "unknown" if group.get("lag") is None else group["lag"]
                says = f"consumers {len(consumers)}, pending {group['pending']}, unread {lag}"
                yield Finding("ok", "groups", f"group {self._names.group}: {says}")

    def _wrong(self, consumers: list[Any]) -> Iterator[Finding]:
        if len(consumers) > MANY_CONSUMERS:
            says = f"{len(consumers)} names: give daemons stable ones with FILTERD_CONSUMER"
            yield Finding("change", "consumers", says)
        for found in consumers:
            if found["pending"] and found["idle"] > GONE_MS:
                says = f"{_text(found['name'])} holds {found['pending']} entries and is gone"
                yield Finding("change", "consumers", f"{says}: start a daemon, which claims them")

    def _foreign(self, group: Any, consumers: list[Any]) -> Iterator[Finding]:
        """Another group holds back trimming as long as it has not settled an entry."""
        name = self._names.input
        newest: Any = self._client.xrevrange(name, count=1)
        behind = bool(newest) and group["last-delivered-id"] != newest[0][0]
        if not (behind or group["pending"]):
            return
        says = f"group {_text(group['name'])} holds back the trimming of {name}"
        idle_ms = min((found["idle"] for found in consumers), default=None)
        if idle_ms is None or idle_ms > GONE_MS:
            remedy = "if nobody needs it, XGROUP DESTROY it"
            yield Finding("change", "groups", f"{says} and nobody reads it: {remedy}")
        else:
            at_ms = id_ms(group["last-delivered-id"].decode())
            late = max(0, id_ms(newest[0][0].decode()) - at_ms) // 1000 if newest else 0
            yield Finding("note", "groups", f"{says}: it is {late} s behind")

    def _fields(self) -> Iterator[Finding]:
        name, field = self._names.input, _text(self._text_field)
        newest: Any = self._client.xrevrange(name, count=NEWEST)
        without = [fields for _, fields in newest if self._text_field not in fields]
        if not without:
            return
        seen = sorted({_text(found)[:LONGEST_NAME] for fields in without for found in fields})
        says = f"{len(without)} of the newest {len(newest)} entries of {name} have no field {field}"
        says += f", but {', '.join(seen[:SHOWN_FIELDS])}: "
        if len(without) == len(newest) >= ENOUGH:
            remedy = "set FILTERD_TEXT_FIELD to what holds the message"
            yield Finding("change", "fields", says + remedy)
        else:
            yield Finding("note", "fields", says + "those become dead letters")

    def _config(self, *names: str) -> dict[str, str]:
        found: Any = {}
        for name in names:
            found |= self._client.config_get(name)
        return {_text(name): _text(value) for name, value in found.items()}


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
