"""The table of ids: packed, they keep their order and number; what is none is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.streams.id_table import IdTable, array, is_id, pack, unpack

PARTS = st.integers(0, 2**64 - 1)


@given(st.lists(st.tuples(PARTS, PARTS), max_size=50))
def test_packed_ids_keep_their_order_and_number(ids: list[tuple[int, int]]) -> None:
    text = [b"%d-%d" % id_ for id_ in ids]
    packed = pack(text)
    table = IdTable(packed)
    assert [unpack(one) for one in table.ids] == [f"{ms}-{seq}" for ms, seq in sorted(set(ids))]
    assert list(table.look_up(array(packed))) == [ids.count(id_) for id_ in ids]
    assert table.seen.all()
    assert all(map(is_id, text))


@pytest.mark.parametrize("text", [b"", b"1", b"-", b"1-", b"a-1", b"1-1-1", b"1-%d" % 2**64])
def test_what_is_no_id(text: bytes) -> None:
    assert not is_id(text)
