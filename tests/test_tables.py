"""Files of messages: read and written in four formats, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filterd.errors import DataError, SettingsError
from filterd.sinks import open_sink
from filterd.tables import CHUNK_ROWS, Source, Values, lines_of

ROWS: list[Values] = [
    {"id": "1", "text": 'Hello, "you"', "source": "web"},
    {"id": "2", "text": "", "source": "app"},
    {"id": "3", "text": "café 🎉 \\n", "source": ""},
]


def write(path: Path, rows: list[Values], schema: Any = None) -> Path:
    with open_sink(path, schema) as sink:
        sink.write(rows)
    return path


def write_chunks(path: Path, *chunks: list[Values]) -> None:
    with open_sink(path) as sink:
        for chunk in chunks:
            sink.write(chunk)


def read(path: Path, column: str = "text") -> list[Values]:
    with Source(path, column) as source:
        return [row.values for chunk in source for row in chunk]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".CSV"])
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    assert read(write(tmp_path / f"t{suffix}", ROWS)) == ROWS
    assert [file.name for file in tmp_path.iterdir()] == [f"t{suffix}"]


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(ANY_TEXT, min_size=1, max_size=5))
@example(["\r"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_any_text_survives(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("any") / f"t{suffix}"
    rows = [{"text": text, "n": "x"} for text in texts]
    assert read(write(path, rows)) == rows


@given(ANY_TEXT)
def test_any_text_is_one_line_of_a_tsv(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = write(tmp_path_factory.mktemp("any") / "t.tsv", [{"n": "x", "text": text}])
    assert path.read_bytes().count(b"\n") == 2
    (row,) = read(path)
    assert row["n"] == "x"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_long_files_come_in_chunks_with_progress(tmp_path: Path, suffix: str) -> None:
    rows = [{"text": f"message {n}"} for n in range(2 * CHUNK_ROWS + 3)]
    write(tmp_path / f"t{suffix}", rows)
    with Source(tmp_path / f"t{suffix}") as source:
        done, sizes = [], []
        for chunk in source:
            sizes.append(len(chunk))
            done.append(source.done)
        assert sizes == [CHUNK_ROWS, CHUNK_ROWS, 3]
        assert done == sorted(done)
        assert done[-1] == source.total


def test_csv_of_other_programs_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('\ufefftext,n\r\n"two\r\nlines",1\r\n\r\nplain,2\r\n'.encode())
    assert read(path) == [{"text": "two\r\nlines", "n": "1"}, {"text": "plain", "n": "2"}]


def test_huge_text_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [{"text": "x" * 1_000_000}])
    assert len(read(path)[0]["text"]) == 1_000_000


def test_quotes_mean_nothing_in_a_tsv(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('text\tn\n"open\t1\nnext\t2\n')
    assert read(path) == [{"text": '"open', "n": "1"}, {"text": "next", "n": "2"}]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("t.csv", b"text\nfine\n\xff\xfe\n", "line 3: byte 1 is not UTF-8"),
        ("t.tsv", b"text\nfine\nca\xe9\n", "line 3: byte 3 is not UTF-8"),
        ("t.jsonl", b'{"text": "a"}\n\xff\n', "line 2: byte 1 is not UTF-8"),
        ("t.csv", b"text,n\na,1\nb\n", "line 3: 1 values for 2 columns"),
        ("t.tsv", b"text\tn\na\t1\tz\n", "line 2: 3 values for 2 columns"),
        ("t.csv", b'text\n"open\n', "line 2: unexpected end of data"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"body\nsecret words\n", "no column 'text'"),
        ("t.csv", b"text,text\na,b\n", "two columns of the same name"),
        ("t.jsonl", b'{"text": "a"}\n{"text": 3}\n', "line 2: 'text' is no text"),
        ("t.jsonl", b'{"body": "secret words"}\n', "line 1: 'text' is missing"),
        ("t.jsonl", b'{"text": null}\n', "line 1: 'text' is no text"),
        ("t.jsonl", b"[1]\n", "line 1: not an object"),
        ("t.jsonl", b"secret words\n", "line 1: not JSON"),
        ("t.parquet", b"PAR1 not really", "is no parquet file"),
    ],
)
def test_bad_rows_are_named_and_not_shown(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert what in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_absent_file_and_unknown_format_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv cannot be read"):
        read(tmp_path / "t.csv")
    with pytest.raises(SettingsError, match=r"must end in one of \.csv, \.tsv"):
        read(tmp_path / "t.xlsx")
    with pytest.raises(SettingsError, match="must end in"):
        write(tmp_path / "t.txt", [])


def test_null_text_of_a_parquet_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", [{"text": "a"}, {"text": None}])
    with pytest.raises(DataError, match="row 2: 'text' is no text"):
        read(path)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"text": "a", "n": 3, "tags": ["x"]}])
    with Source(path) as source:
        rows = [row.values for chunk in source for row in chunk]
        write(tmp_path / "b.parquet", [{**row, "score": 0.5} for row in rows], source.schema)
    assert read(tmp_path / "b.parquet") == [{"text": "a", "n": 3, "tags": ["x"], "score": 0.5}]


def test_objects_become_json_in_a_csv(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [{"text": "a", "tags": ["é"], "n": None, "score": 0.25}])
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert row == {"text": "a", "tags": '["é"]', "n": "", "score": "0.250000"}


def test_lone_surrogate_becomes_its_escape(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [{"text": "a\ud800"}])
    assert json.loads(path.read_text()) == {"text": "a\ud800"}


@pytest.mark.parametrize(
    ("suffix", "late"), [(".csv", {"m": 2}), (".parquet", {"m": 2}), (".parquet", {"n": "one"})]
)
def test_rows_that_do_not_fit_the_first_name_the_remedy(
    tmp_path: Path, suffix: str, late: Values
) -> None:
    path = tmp_path / f"t{suffix}"
    with pytest.raises(DataError, match=r"write \.jsonl"):
        write_chunks(path, [{"text": "a", "n": 1}], [{"text": "a", "n": 2, **late}])
    assert not list(tmp_path.iterdir())


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [{"text": "old"}])
    with pytest.raises(DataError):
        write_chunks(path, [{"text": "new"}], [{"late": "column"}])
    assert read(path) == [{"text": "old"}]
    assert len(list(tmp_path.iterdir())) == 1


def test_no_place_to_write_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: No such file"):
        write(tmp_path / "nowhere" / "t.csv", [])


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "t.parquet", ROWS)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SettingsError, match=r"pip install 'filterd\[parquet\]'"):
        read(tmp_path / "t.parquet")


class Trickle(io.BytesIO):
    """A stream that hands out at most three bytes at a time."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(3)


@given(st.lists(ANY_TEXT.filter(lambda text: not {"\n", "\r"} & set(text))))
def test_lines_are_messages_however_they_arrive(texts: list[str]) -> None:
    data = "".join(text + "\n" for text in texts).encode()
    for stream in (io.BytesIO(data), Trickle(data)):
        assert [text for chunk in lines_of(stream) for text in chunk] == texts


def test_last_line_needs_no_end_and_windows_ends_are_dropped() -> None:
    assert list(lines_of(io.BytesIO(b"a\r\n\r\nb"))) == [["a", ""], ["b"]]


def test_lines_before_a_broken_one_are_kept() -> None:
    lines = lines_of(io.BytesIO(b"one\ntwo\nca\xe9\nfour\n"))
    assert next(lines) == ["one", "two"]
    with pytest.raises(DataError, match="standard input, line 3: byte 3 is not UTF-8"):
        next(lines)
