"""An audit beside a daemon that works: what is on its way is pending or new, nothing is wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from filterd.streams.audit import audit
from filterd.streams.audit_report import Report
from filterd.streams.names import StreamNames
from tests.commands import filterd
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Streams
from tests.waiting import eventually

AT_ONCE = 20
LOOKS = 30
OUTPUT_MAXLEN = 100_000


def test_nothing_is_wrong_while_entries_come_and_go(
    daemon: MakeDaemon, streams: Streams, redis_url: str, sample: list[str]
) -> None:
    daemon(DUPLICATE_CACHE=0)
    with load(streams, redis_url, sample) as published:
        eventually(lambda: streams.outcomes() > 0, "begun")
        reports = [_audit(streams) for _ in range(LOOKS)]
        names = {"input": streams.input, "output": streams.output, "dead": streams.dead}
        settings = {f"{kind}_stream": name for kind, name in names.items()}
        ended = filterd("audit", redis_url=redis_url, group=streams.group, **settings)
        reports += [_audit(streams) for _ in range(LOOKS)]
    assert [report.findings for report in reports if not report.sound] == []
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "each entry is exactly one of these")
    assert any(report.pending for report in reports), "some were on their way"
    assert any(report.dead_letters for report in reports)
    assert reports[-1].entries > reports[0].entries
    eventually(lambda: streams.exactly_once(published), "all settled", within_s=90)
    last = _audit(streams)
    assert last.sound
    assert last.verdicts + last.dead_letters == last.entries == len(published)


@contextmanager
def load(streams: Streams, url: str, sample: list[str]) -> Iterator[list[bytes]]:
    """Messages published all the while, one in twenty without a text; their ids so far."""
    ids: list[bytes] = []
    enough = threading.Event()

    def publish() -> None:
        with redis.Redis.from_url(url) as client:
            own = Streams(client, streams.input.removesuffix(":in"))
            start = 0
            while not enough.wait(0.02):
                ids.extend(own.publish(sample[start : start + AT_ONCE - 1]))
                ids.append(client.xadd(own.input, {"no": "text"}))
                start = (start + AT_ONCE) % (len(sample) - AT_ONCE)

    publishing = threading.Thread(target=publish)
    publishing.start()
    try:
        yield ids
    finally:
        enough.set()
        publishing.join(30)


def _audit(streams: Streams) -> Report:
    names = StreamNames(streams.input, streams.output, streams.dead, streams.group)
    return audit(streams.client, names, OUTPUT_MAXLEN)
