"""Reading every form of labelled messages, and saying which rows do not fit."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.errors import DataError
from trainer.dataset import Message, read_any, read_file, read_messages, read_texts, to_csv

ROWS = [("ham", "see, you"), ("spam", 'win "now"'), ("ham", "two\nlines"), ("spam", "NA")]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def pairs(messages: list[Message]) -> list[tuple[str, str]]:
    return [(message.label, message.text) for message in messages]


@given(st.lists(TEXTS, max_size=20))
def test_a_written_split_reads_back_equal(texts: list[str]) -> None:
    messages = [Message("a ham", "ham", 1), Message("a spam", "spam", 2)]
    messages += [Message(text, "spam", row) for row, text in enumerate(texts, start=3)]
    assert read_messages("split.csv", to_csv(messages)) == messages


@pytest.mark.parametrize(
    ("text", "label"), [("Text", "Label"), ("message", "Category"), ("sms", "label"), ("v2", "v1")]
)
def test_columns_are_guessed(text: str, label: str) -> None:
    frame = pd.DataFrame(ROWS, columns=[label, text])
    frame["other"] = 1
    assert pairs(read_messages("a.csv", frame.to_csv(index=False).encode())) == ROWS
    lines = "\n".join(json.dumps({label: row[0], text: row[1]}) for row in ROWS)
    assert pairs(read_messages("a.jsonl", lines.encode())) == ROWS
    out = io.BytesIO()
    frame.to_parquet(out)
    assert pairs(read_messages("a.parquet", out.getvalue())) == ROWS


def test_columns_are_named() -> None:
    data = b"a,b\nHAM,x\n Spam ,y\n"
    assert pairs(read_messages("f.csv", data, "b", "a")) == [("ham", "x"), ("spam", "y")]


def test_labels_are_also_numbers() -> None:
    assert pairs(read_messages("a.tsv", b"label\ttext\n0\tx\n1\ty\n")) == [
        ("ham", "x"),
        ("spam", "y"),
    ]
    out = io.BytesIO()
    pd.DataFrame({"spam": [False, True], "text": ["x", "y"]}).to_parquet(out)
    assert pairs(read_messages("a.parquet", out.getvalue())) == [("ham", "x"), ("spam", "y")]
    numbers = b'{"label": 0.0, "text": "x"}\n{"label": 1, "text": "y"}\n'
    assert pairs(read_messages("a.jsonl", numbers)) == [("ham", "x"), ("spam", "y")]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"label,text\n\nham,x\n\nspam,y\n\n"),
        ("a.tsv", b"\nham\tx\r\n\r\nspam\ty\n\n"),
        ("a.tsv", b"label\ttext\n\nham\tx\nspam\ty\n\n"),
        ("a.jsonl", b'{"label":"ham","text":"x"}\n\n \n{"label":"spam","text":"y"}\n\n'),
    ],
)
def test_blank_lines_are_not_counted(name: str, data: bytes) -> None:
    messages = read_messages(name, data)
    assert [(message.text, message.row) for message in messages] == [("x", 1), ("y", 2)]


def test_the_headerless_form_knows_no_quotes() -> None:
    data = b'ham\t"unbalanced\nspam\tnext\r\n'
    assert pairs(read_messages("SMSSpamCollection", data)) == [
        ("ham", '"unbalanced'),
        ("spam", "next"),
    ]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.tsv", b"ham\tx\nspma\ty\nspam\tz\n", "row 2: the label is neither"),
        ("a.tsv", b"ham\tx\nspam\t \nspam\t\n", "rows 2, 3: the text is empty"),
        ("a.tsv", b"ham\tx\nham\ty\n", "only ham"),
        ("a.tsv", b"ham\tx\nspam\ty\tz\n", "row 2: not label<TAB>text"),
        ("a.tsv", b"ham\tx\nspam\t\xff\n", "not UTF-8 in line 2"),
        (
            "a.csv",
            "label,text\nham,caf\u00e9\nspam,x\n".encode() + b"ham,caf\xe9\n",
            "in line 4: save it",
        ),
        ("a.csv", "label,text\nham,x\n".encode("utf-16"), "not UTF-8 in line 1: save it as UTF-8"),
        ("a.jsonl", '{"label":"ham","text":"\u00e9"}\n'.encode("latin-1"), "not UTF-8 in line 1"),
        ("a.tsv", b"", "is empty"),
        ("a.csv", b"", "is empty"),
        ("a.jsonl", b"\n", "is empty"),
        ("a.csv", b"label,text\n", "holds no messages"),
        (
            "a.csv",
            b"a,b\nham,x\n",
            "name it text, or give trainer prepare --text-column, one of: a, b",
        ),
        ("a.csv", b"text,kind\nx,ham\n", "name it label, or give trainer prepare --label-column"),
        ("a.tsv", b"text\tlabel\nx\tham\ny\tgood\n", "row 2: the label is neither spam nor ham"),
        ("a.csv", b"label,Text,text \nham,x,y\n", "give trainer prepare --text-column"),
        ("a.csv", b"label,text\nham\n", "row 1: not the header's 2 columns"),
        ("a.csv", b'label,text\nham,"x\n', "not well-formed CSV"),
        ("a.jsonl", b'{"label": "ham", "text": "x"}\n{"label"\n', "row 2 is not JSON"),
        ("a.jsonl", b"[1]\n", "row 1 is not a JSON object"),
        ("a.jsonl", b'{"label":"ham","text":"x"}\n{"label":"spam","text":"\\ud800"}', "row 2"),
        ("a.jsonl", b'{"label":"ham","text":"x"}\n{"label":"spam"}', "row 2: the text is empty"),
        ("a.parquet", b"nothing", "not a parquet file"),
    ],
)
def test_bad_data_names_its_rows(name: str, data: bytes, says: str) -> None:
    with pytest.raises(DataError) as caught:
        read_messages(name, data)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_bad_rows_are_counted() -> None:
    data = "label,text\n" + "what,x\n" * 41
    with pytest.raises(DataError, match=r"rows 1, 2, .*, 8 … \(41 in all\)"):
        read_messages("a.csv", data.encode())


def test_a_named_column_that_is_not_there() -> None:
    with pytest.raises(DataError, match="no column 'body'; name it text, or give trainer prepare"):
        read_messages("a.csv", b"label,text\nham,x\nspam,y\n", "body")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    marked = "label,text\nham,x\nspam,y\n".encode("utf-8-sig")
    assert pairs(read_messages("a.csv", marked)) == [("ham", "x"), ("spam", "y")]
    assert pairs(read_messages("a.tsv", "ham\tx\nspam\ty\n".encode("utf-8-sig"))) == [
        ("ham", "x"),
        ("spam", "y"),
    ]
    (tmp_path / "a.csv").write_bytes(marked)
    assert read_file(tmp_path / "a.csv") == read_messages("a.csv", marked)


def test_one_label_is_enough_to_add(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,text\nham,x\nham,y\n")
    assert [message.row for message in read_any(tmp_path / "a.csv")] == [1, 2]
    with pytest.raises(DataError, match=r"a\.csv holds only ham"):
        read_file(tmp_path / "a.csv")
    for content, says in (("label,text\n", "holds no messages"), ("label,text\nx,y\n", "row 1: ")):
        (tmp_path / "a.csv").write_text(content)
        with pytest.raises(DataError, match=says):
            read_any(tmp_path / "a.csv")
    for read in (read_any, read_file, read_texts):
        with pytest.raises(DataError, match=r"absent\.csv cannot be read"):
            read(tmp_path / "absent.csv")


def test_texts_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffone, two\r\n\n \nthree\u2028four".encode())
    assert read_texts(tmp_path / "a.txt") == ["one, two", "three\u2028four"]
    (tmp_path / "a.csv").write_text("label,text\nham,x\n")
    assert read_texts(tmp_path / "a.csv") == ["x"]
