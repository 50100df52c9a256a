"""The audit: that every input entry is exactly one of what it may be, proved from the streams.

It goes on while daemons work. The order makes that safe, because outcomes are only ever added, and
an entry only moves from not delivered to pending to settled:

1. the input's last id is the horizon; what comes later is left for the next audit
2. all outcomes there are, by the entries that they name
3. the input to the horizon, in pages: a page's ids, the pending ones among them and how far the
   group was delivered are of one moment. An entry that has an outcome of step 2 must be settled.
4. the outcomes that were added since step 2: a settled entry without one so far must be here
5. ids that outcomes name and no page showed, asked for one by one

Entries are never held, only the ids that outcomes name: about as many as FILTERD_OUTPUT_MAXLEN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from filterd.errors import SettingsError
from filterd.streams.audit_report import Report, Tally
from filterd.streams.connection import translated
from filterd.streams.consumer import before, watermark_key
from filterd.streams.id_table import Counts, Ids, IdTable, array, is_id, ms_of, pack, unpack
from filterd.streams.names import StreamNames
from filterd.streams.scripts import Argument, SyncScript

if TYPE_CHECKING:
    import redis

PAGE = 2000


def audit(
    client: redis.Redis,
    names: StreamNames,
    most_verdicts: int,
    watch: Callable[[int], None] = lambda done: None,
) -> Report:
    """Audit the streams of one group.

    most_verdicts: FILTERD_OUTPUT_MAXLEN, beyond which old verdicts are trimmed · watch: is told
    how many entries have been read, out of ``work_ahead``.
    Raises UnavailableError where the server does not answer, SettingsError without the stream.
    """
    return _Audit(client, names, most_verdicts, watch).run()


def work_ahead(client: redis.Redis, names: StreamNames) -> int:
    """About how many entries an audit has to read."""
    with translated():
        streams = (names.input, names.output, names.dead, names.closed)
        return sum(int(client.xlen(stream)) for stream in streams)


class _Audit:
    def __init__(
        self,
        client: redis.Redis,
        names: StreamNames,
        most_verdicts: int,
        watch: Callable[[int], None],
    ) -> None:
        self._client, self._names, self._most = client, names, most_verdicts
        self._watch, self._done = watch, 0
        self._entries_page = SyncScript(client, "audit_entries")
        self._outcomes_page = SyncScript(client, "audit_outcomes")
        self._absent = SyncScript(client, "audit_absent")
        self._cursors = dict.fromkeys((names.output, names.dead, names.closed), "0-0")
        self._tally = Tally()
        self._suspects = bytearray()

    def run(self) -> Report:
        upto = self._horizon()
        earlier = self._outcomes()
        trimmed_ms = self._trimmed_ms()
        for page in self._pages(upto):
            self._judge(page, earlier, trimmed_ms)
        later = self._outcomes()
        self._judge_suspects(later)
        self._judge_repeats(earlier, later)
        self._judge_unseen([*earlier, *later])
        return self._tally.report()

    def _horizon(self) -> str:
        with translated():
            if not self._client.exists(self._names.input):
                raise SettingsError(
                    f"there is no stream {self._names.input}: FILTERD_INPUT_STREAM names it"
                )
            info: Any = self._client.xinfo_stream(self._names.input)
            mark: Any = self._client.get(watermark_key(self._names.input, self._names.group))
        # Without its group all is delivered again from here, as the daemon makes it.
        self._restart = before(mark.decode()) if mark else "0-0"
        return str(info["last-generated-id"].decode())

    # Outcomes: verdicts, dead letters, closed letters.

    def _outcomes(self) -> list[IdTable]:
        return [IdTable(self._named_by(stream)) for stream in self._cursors]

    def _named_by(self, stream: str) -> bytearray:
        packed = bytearray()
        while True:
            args: list[Argument] = [self._cursors[stream], PAGE, self._names.input]
            last, *entries = self._outcomes_page([stream], args)
            if not last:
                return packed
            self._cursors[stream] = last.decode()
            valid = [entry for entry in entries if is_id(entry)]
            for _ in range(len(entries) - len(valid)):
                self._tally.found("foreign", "", f"in {stream}, at or before {last.decode()}")
            packed += pack(valid)
            self._progress(len(entries))

    def _trimmed_ms(self) -> int:
        """Entries up to this time may have had a verdict that was trimmed since; -1: none.

        A server from Redis 7 on tells trimming from deleting. Where verdicts were deleted as
        well, filterd has trimmed only if there ever were more of them than it keeps.
        """
        with translated():
            if not self._client.exists(self._names.output):
                return -1
            info: Any = self._client.xinfo_stream(self._names.output)
        added, length = info.get("entries-added"), info["length"]
        if added is None:
            trimmed = length >= self._most
        else:
            deleted = info["max-deleted-entry-id"] != b"0-0"
            trimmed = added > length and (not deleted or added > self._most)
        if not trimmed:
            return -1
        first = info["first-entry"][0] if info["first-entry"] else info["last-generated-id"]
        return int(first.split(b"-")[0])

    # Entries.

    def _pages(self, upto: str) -> Iterator[_Page]:
        cursor = "0-0"
        while cursor:
            args: list[Argument] = [self._names.group, cursor, upto, PAGE]
            after, delivered, ids, pending = self._entries_page([self._names.input], args)
            cursor = after.decode()
            entries, waiting = array(pack(ids)), array(pack(pending))
            if len(pending) == PAGE and pending[-1] != after:
                cursor = pending[-1].decode()  # there may be more of them before the page's end
                entries = entries[entries <= waiting[-1]]
            yield _Page(entries, waiting, _packed(delivered.decode() or self._restart))
            self._progress(len(entries))

    def _judge(self, page: _Page, outcomes: Sequence[IdTable], trimmed_ms: int) -> None:
        tally, ids = self._tally, page.ids
        each = [table.look_up(ids) for table in outcomes]
        named = _total(each)
        pending = np.isin(ids, page.pending)
        undelivered = ~pending & (ids > np.bytes_(page.delivered))
        settled = ~pending & ~undelivered
        tally.entries += len(ids)
        tally.count_settled(each, settled & (named == 1))
        tally.pending += int(np.sum(pending & (named == 0)))
        tally.undelivered += int(np.sum(undelivered & (named == 0)))
        tally.find("unsettled", ids[pending & (named > 0)])
        tally.find("early", ids[undelivered & (named > 0)])
        tally.find("bodiless", page.pending[~np.isin(page.pending, ids)])
        for packed in ids[settled & (named == 0)]:
            if ms_of(packed) <= trimmed_ms:
                tally.forgotten += 1
            else:
                self._suspects += packed.ljust(16, b"\0")

    def _judge_suspects(self, later: Sequence[IdTable]) -> None:
        """Settled entries that had no outcome when outcomes were first read."""
        ids, trimmed_ms = array(self._suspects), self._trimmed_ms()
        each = [table.look_up(ids) for table in later]
        named = _total(each)
        self._tally.count_settled(each, named == 1)
        for packed in ids[named == 0]:
            if ms_of(packed) <= trimmed_ms:
                self._tally.forgotten += 1
            else:
                self._tally.found("missing", unpack(packed))

    # What outcomes say that no entry can.

    def _judge_repeats(self, earlier: Sequence[IdTable], later: Sequence[IdTable]) -> None:
        tables = [*earlier, *later]
        ids = np.unique(np.concatenate([table.ids for table in tables]))
        each = [
            old.counts_of(ids) + new.counts_of(ids) for old, new in zip(earlier, later, strict=True)
        ]
        total = _total(each)
        for packed, count in zip(ids[total > 1], total[total > 1], strict=True):
            self._tally.found("repeated", unpack(packed), f"{count} outcomes")

    def _judge_unseen(self, tables: Sequence[IdTable]) -> None:
        """Ids that outcomes name and no page showed: trimmed long ago, or never there."""
        unseen = np.unique(np.concatenate([table.ids[~table.seen] for table in tables]))
        for start in range(0, len(unseen), PAGE):
            ids = [unpack(packed) for packed in unseen[start : start + PAGE]]
            first, last, absent = self._absent([self._names.input], ids)
            low = _packed((first or last).decode())
            for id_ in absent:
                if _packed(id_.decode()) < low:
                    self._tally.past += 1
                else:
                    self._tally.found("orphan", id_.decode())

    def _progress(self, count: int) -> None:
        self._done += count
        self._watch(self._done)


@dataclass(frozen=True, slots=True)
class _Page:
    """Ids of entries, those that are pending, and the last one delivered, packed."""

    ids: Ids
    pending: Ids
    delivered: bytes


def _total(each: Sequence[Counts]) -> Counts:
    """Outcomes of each entry. A letter may be met and, a moment later, the word of its closing."""
    verdicts, letters, closed = each
    return verdicts + np.maximum(letters, closed)


def _packed(id_: str) -> bytes:
    return pack([id_.encode()])
