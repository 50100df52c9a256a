"""The ledger: what was published and how it ended, checked as it happens, in bounded memory.

Only entries that have not ended are remembered. An outcome of any other entry is one too many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

MOST_COMPLAINTS = 20
QUANTILE_DIGITS = 2


class Ledger:
    """Every entry of the input must end once; every publisher's numbers must all be there."""

    def __init__(self) -> None:
        self.open: dict[bytes, bytes] = {}
        self.entries = self.verdicts = self.dead = self.resent = self.broken = 0
        self.complaints: list[str] = []
        self._next: Counter[bytes] = Counter()
        self._suspects: frozenset[bytes] = frozenset()
        self._waits: Counter[float] = Counter()

    def published(self, entry: bytes, own: bytes) -> None:
        """An entry was seen in the input. own: ``PUBLISHER-NUMBER``.

        A publisher sends again, in order, what was not confirmed: a number may come twice, and
        none may be left out.
        """
        self.entries += 1
        self.open[entry] = own
        publisher, _, number = own.partition(b"-")
        if int(number) == self._next[publisher]:
            self._next[publisher] += 1
        elif int(number) < self._next[publisher]:
            self.resent += 1
        else:
            self.complain(f"{entry!r}: messages before {own!r} were lost by the server")
            self._next[publisher] = int(number) + 1

    def judged(self, fields: Mapping[bytes, bytes]) -> None:
        """A verdict was seen in the output."""
        self.verdicts += 1
        entry = fields[b"entry"]
        own = self.open.pop(entry, None)
        if own is None:
            self.complain(f"{entry!r}: a verdict too many")
            return
        if fields.get(b"id") != own:
            self.complain(f"{entry!r}: published as {own!r}, judged as {fields.get(b'id')!r}")
        self._waited(int(fields[b"at"]) - int(entry.partition(b"-")[0]))

    def buried(self, fields: Mapping[bytes, bytes]) -> None:
        """A dead letter was seen: no message of a soak deserves one."""
        self.dead += 1
        entry, reason = fields[b"entry"], fields[b"reason"].decode()
        self.complain(f"{entry!r}: a dead letter: {reason}, {fields[b'detail'].decode()}")
        self.open.pop(entry, None)

    def acked(self, entries: Iterable[bytes]) -> None:
        """Entries found neither pending nor undelivered: still open at the next look, are lost."""
        now = frozenset(entries) & self.open.keys()
        for entry in self._suspects & now:
            self.complain(f"{entry!r}: acked without an outcome")
            del self.open[entry]
        self._suspects = now

    def complete(self, numbers: Mapping[bytes, int]) -> bool:
        """Whether all that the publishers had confirmed was seen, and has ended."""
        return not self.open and all(self._next[who] >= count for who, count in numbers.items())

    def complain(self, what: str) -> None:
        """Note a broken promise; the first ones are kept."""
        self.broken += 1
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(what)

    def waited_ms(self, share: float) -> float:
        """A quantile of the milliseconds from publishing to the verdict, in two digits."""
        left = share * self._waits.total()
        for wait in sorted(self._waits):
            left -= self._waits[wait]
            if left <= 0:
                return wait
        return 0.0

    def _waited(self, ms: int) -> None:
        self._waits[float(f"{max(0, ms):.{QUANTILE_DIGITS}g}")] += 1
