"""Reading the streams of a soak into its ledger, again and again, from where it stood."""

from __future__ import annotations

import threading
from typing import Any

import redis

from tests.e2e.daemon import Streams
from tests.soak.ledger import Ledger

EVERY_S = 0.25
LOOK_EVERY = 12
PAGE = 2000

NOT_OPEN = """
local last, acked = '0-0', {}
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #info, 2 do group[info[i]] = info[i + 1] end
  if group.name == ARGV[1] then last = group['last-delivered-id'] end
end
for i = 2, #ARGV do
  local delivered = #redis.call('XRANGE', KEYS[1], '(' .. last, ARGV[i], 'COUNT', 1) == 0
  if delivered and #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1) == 0 then
    acked[#acked + 1] = ARGV[i]
  end
end
return acked
"""
"""Which of the given entries were delivered and are pending no more."""


class Reader(threading.Thread):
    """Follows input, output and dead letters until it is stopped."""

    def __init__(self, client: redis.Redis, streams: Streams, ledger: Ledger) -> None:
        super().__init__(name="reader", daemon=True)
        self._client = client
        self._streams = streams
        self._ledger = ledger
        self._last = dict.fromkeys((streams.input, streams.output, streams.dead), b"0-0")
        self._enough = threading.Event()
        self.failure: BaseException | None = None

    def stop(self) -> None:
        """Read what is there to its end, and no more."""
        self._enough.set()
        self.join(60)

    def run(self) -> None:
        """Look until told to stop; the server may be away at any time."""
        try:
            rounds = 0
            while not self._enough.wait(EVERY_S):
                rounds += 1
                self._look(rounds % LOOK_EVERY == 0)
            self._look(suspect=False)
        except Exception as error:  # noqa: BLE001 - the soak reports it
            self.failure = error

    def _look(self, suspect: bool) -> None:
        """Outcomes are fetched first: then the entry of each is there to be read."""
        ledger, names = self._ledger, self._streams
        try:
            verdicts, dead = self._new(names.output), self._new(names.dead)
            entries = self._new(names.input)
        except redis.exceptions.RedisError:
            return
        for id_, fields in entries:
            self._last[names.input] = id_
            ledger.published(id_, fields[b"id"])
        for id_, fields in verdicts:
            self._last[names.output] = id_
            ledger.judged(fields)
        for id_, fields in dead:
            self._last[names.dead] = id_
            ledger.buried(fields)
        if suspect and ledger.open:
            self._suspect()

    def _new(self, stream: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """All that came since the last look."""
        found: list[Any] = []
        last = self._last[stream]
        while page := self._client.xrange(stream, b"(" + last, "+", PAGE):
            found += page
            last = page[-1][0]
        return found

    def _suspect(self) -> None:
        oldest = sorted(self._ledger.open, key=_order)[:PAGE]
        try:
            acked = self._client.eval(
                NOT_OPEN, 1, self._streams.input, self._streams.group, *oldest
            )
        except redis.exceptions.RedisError:
            return
        self._ledger.acked(acked)


def _order(entry: bytes) -> tuple[int, int]:
    ms, _, seq = entry.partition(b"-")
    return int(ms), int(seq)
