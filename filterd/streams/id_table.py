"""Many entry ids in little memory: sixteen bytes each, sorted, looked up a page at a time."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.bytes_]
"""Ids as ``pack`` makes them, an array of type ``S16``: in order of time when sorted as bytes."""
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]

_ID = re.compile(rb"(\d{1,20})-(\d{1,20})")
LARGEST = 2**64


def is_id(text: bytes) -> bool:
    """Whether this is an entry's id in full."""
    found = _ID.fullmatch(text)
    return bool(found) and all(int(part) < LARGEST for part in _parts(text))


def pack(ids: Iterable[bytes]) -> bytes:
    """Ids as they are kept: milliseconds and sequence, eight bytes each, the highest first."""
    return b"".join(struct.pack(">QQ", *_parts(id_)) for id_ in ids)


def unpack(packed: bytes) -> str:
    """One id as Redis writes it. numpy takes zeros off the end, which are put back here.

    >>> unpack(pack([b"5-0"]))
    '5-0'
    """
    ms, seq = struct.unpack(">QQ", packed.ljust(16, b"\0"))
    return f"{ms}-{seq}"


def ms_of(packed: bytes) -> int:
    """The unix milliseconds of a packed id."""
    return int(struct.unpack(">Q", packed.ljust(16, b"\0")[:8])[0])


def array(packed: bytes | bytearray) -> Ids:
    """Packed ids as an array."""
    return np.frombuffer(packed, dtype="S16")


class IdTable:
    """How often each id was met, and whether it has been looked up since."""

    def __init__(self, packed: bytes | bytearray = b"") -> None:
        self.ids, counts = np.unique(array(packed), return_counts=True)
        self.counts: Counts = counts
        self.seen: Flags = np.zeros(len(self.ids), dtype=bool)

    def look_up(self, ids: Ids) -> Counts:
        """How often each of these was met; they count as seen from now on."""
        at, found = self._find(ids)
        self.seen[at[found]] = True
        return self.counts_of(ids)

    def counts_of(self, ids: Ids) -> Counts:
        """How often each of these was met."""
        at, found = self._find(ids)
        counts = np.zeros(len(ids), dtype=np.int64)
        counts[found] = self.counts[at[found]]
        return counts

    def _find(self, ids: Ids) -> tuple[NDArray[np.intp], Flags]:
        if not len(self.ids):
            return np.zeros(len(ids), dtype=np.intp), np.zeros(len(ids), dtype=bool)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return at, self.ids[at] == ids


def _parts(id_: bytes) -> tuple[int, int]:
    ms, _, seq = id_.partition(b"-")
    return int(ms), int(seq)
