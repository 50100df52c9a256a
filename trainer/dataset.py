"""Files of labelled messages: read them row by row, write splits, cut as the article does.

The only file that uses pandas, and only where parquet or the article's own cut asks for it.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from filterd.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Label = Literal["ham", "spam"]
Columns = tuple[str | None, str | None]

LABEL_WORDS: dict[str, Label] = {"ham": "ham", "0": "ham", "spam": "spam", "1": "spam"}
TEXT_NAMES = ("text", "message", "sms", "content", "body", "v2")
LABEL_NAMES = ("label", "category", "class", "target", "spam", "is_spam", "v1")
ARTICLE_SEED = 123
ROWS_NAMED = 8


@dataclass(frozen=True, slots=True)
class Message:
    """A labelled text and the row, counted from 1 and without a header, where it was read."""

    text: str
    label: Label
    row: int


def read_messages(
    name: str, data: bytes, text_column: str | None = None, label_column: str | None = None
) -> list[Message]:
    """Parse a file's content; ``name`` tells its form by its ending.

    ``.csv`` with a header; ``.jsonl``; ``.parquet``; all else is tab-separated and unquoted, with
    a header or in the headerless ``label<TAB>text`` form. Columns left None are guessed.
    Raises DataError with the rows that do not fit.
    """
    messages = _checked(name, _cells(name, data, (text_column, label_column)))
    found = {message.label for message in messages}
    if len(found) < 2:
        only = f"only {cast(str, found.pop())}" if found else "no messages"
        raise DataError(f"{name} holds {only}: it takes spam and ham to learn the difference")
    return messages


def read_file(path: Path) -> list[Message]:
    """Read a file of labelled messages. Raises DataError."""
    return read_messages(path.name, _read(path))


def read_any(path: Path) -> list[Message]:
    """Like ``read_file``, but one label is enough: to measure, or to add. Raises DataError."""
    messages = _checked(path.name, _cells(path.name, _read(path), (None, None)))
    if not messages:
        raise DataError(f"{path} holds no messages")
    return messages


def read_texts(path: Path) -> list[str]:
    """The texts of a file, one a line where it ends in ``.txt``, else labelled messages."""
    if path.suffix.lower() != ".txt":
        return [message.text for message in read_any(path)]
    lines = (line.removesuffix("\r") for line in _decode(path.name, _read(path)).split("\n"))
    return [line for line in lines if line.strip()]


def to_csv(messages: Iterable[Message]) -> bytes:
    """A split as CSV with the columns Label and Text."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(("Label", "Text"))
    writer.writerows((message.label, message.text) for message in messages)
    return out.getvalue().encode()


def article_splits(data: bytes) -> tuple[dict[str, bytes], int]:
    """The article's train, validation and test CSV, and how many rows it read.

    Default quoting, as the article reads: two unbalanced quotes swallow the lines after them, so
    that 5,572 of the 5,574 rows are read. Ham is under-sampled, all is shuffled and cut 0.7, 0.1,
    0.2; labels are 0 and 1; duplicates stay. Raises DataError where the columns are not two.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(io.BytesIO(data), sep="\t", header=None, names=["Label", "Text"])
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError("--article needs the headerless label<TAB>text form") from error
    spam = frame[frame["Label"] == "spam"]
    ham = frame[frame["Label"] == "ham"]
    if not 0 < len(spam) <= len(ham):
        raise DataError(f"--article needs spam, and as much ham: found {len(spam)} and {len(ham)}")
    balanced = pd.concat([ham.sample(len(spam), random_state=ARTICLE_SEED), spam])
    balanced["Label"] = balanced["Label"].map({"ham": 0, "spam": 1})
    return _cut(balanced.sample(frac=1, random_state=ARTICLE_SEED)), len(frame)


def _cut(shuffled: pd.DataFrame) -> dict[str, bytes]:
    train_end = int(len(shuffled) * 0.7)
    validation_end = train_end + int(len(shuffled) * 0.1)
    parts = {
        "train": shuffled[:train_end],
        "validation": shuffled[train_end:validation_end],
        "test": shuffled[validation_end:],
    }
    return {
        name: part.to_csv(index=False, lineterminator="\n").encode() for name, part in parts.items()
    }


def rows_named(rows: Sequence[int]) -> str:
    """Row numbers for an error's line: ``row 3`` or ``rows 3, 5, 8 … (41 in all)``."""
    shown = ", ".join(str(row) for row in rows[:ROWS_NAMED])
    more = f" … ({len(rows)} in all)" if len(rows) > ROWS_NAMED else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _cells(name: str, data: bytes, wanted: Columns) -> Iterable[tuple[object, object]]:
    """A file's labels and texts, by the form that its name's ending tells."""
    ending = Path(name).suffix.lower()
    if ending == ".parquet":
        return _parquet_cells(name, data, wanted)
    text = _decode(name, data)
    if ending == ".csv":
        return _csv_cells(name, text, wanted)
    if ending in (".jsonl", ".ndjson"):
        return _jsonl_cells(name, text, wanted)
    return _tab_cells(name, text, wanted)


def _decode(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name} is not UTF-8 in line {line}: save it as UTF-8") from error


def _tab_cells(name: str, text: str, wanted: Columns) -> Iterator[tuple[object, object]]:
    lines = text.split("\n")
    rows = [row.split("\t") for line in lines if (row := line.removesuffix("\r"))]
    if rows and rows[0][0].strip().lower() in LABEL_WORDS:
        bad = [number for number, row in enumerate(rows, start=1) if len(row) != 2]
        if bad:
            raise DataError(f"{name}: {rows_named(bad)}: not label<TAB>text")
        return iter([(label, message) for label, message in rows])
    return _table_cells(name, rows, wanted)


def _csv_cells(name: str, text: str, wanted: Columns) -> Iterator[tuple[object, object]]:
    csv.field_size_limit(sys.maxsize)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise DataError(f"{name} is not well-formed CSV: {error}") from error
    return _table_cells(name, rows, wanted)


def _table_cells(
    name: str, rows: list[list[str]], wanted: Columns
) -> Iterator[tuple[object, object]]:
    if not rows:
        raise DataError(f"{name} is empty")
    header, *body = rows
    text_at, label_at = (header.index(column) for column in _columns(name, header, wanted))
    bad = [number for number, row in enumerate(body, start=1) if len(row) != len(header)]
    if bad:
        raise DataError(f"{name}: {rows_named(bad)}: not the header's {len(header)} columns")
    return ((row[label_at], row[text_at]) for row in body)


def _jsonl_cells(name: str, text: str, wanted: Columns) -> Iterator[tuple[object, object]]:
    objects: list[dict[str, object]] = []
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise DataError(f"{name} is empty")
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(f"{name}: row {number} is not JSON") from error
        if not isinstance(value, dict):
            raise DataError(f"{name}: row {number} is not a JSON object")
        objects.append(value)
    text_name, label_name = _columns(name, list(objects[0]), wanted)
    return ((item.get(label_name), item.get(text_name)) for item in objects)


def _parquet_cells(name: str, data: bytes, wanted: Columns) -> Iterator[tuple[object, object]]:
    import pandas as pd
    from pyarrow import ArrowException

    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except (ArrowException, ValueError) as error:
        raise DataError(f"{name} is not a parquet file") from error
    text_name, label_name = _columns(name, [str(column) for column in frame.columns], wanted)
    return zip(frame[label_name].tolist(), frame[text_name].tolist(), strict=True)


def _columns(name: str, header: list[str], wanted: Columns) -> tuple[str, str]:
    """The text's and the label's column."""
    text = _column(name, header, wanted[0], TEXT_NAMES, "--text-column")
    rest = [column for column in header if column != text]
    return text, _column(name, rest, wanted[1], LABEL_NAMES, "--label-column")


def _column(
    name: str, header: list[str], wanted: str | None, guesses: tuple[str, ...], option: str
) -> str:
    if wanted is not None and wanted in header:
        return wanted
    if wanted is None:
        for guess in guesses:
            found = [column for column in header if column.strip().lower() == guess]
            if len(found) == 1:
                return found[0]
    what = (
        f"no column {wanted!r}"
        if wanted is not None
        else f"no column of the {guesses[0]} is known by its name"
    )
    raise DataError(
        f"{name}: {what}; name it {guesses[0]}, or give trainer prepare {option}, "
        f"one of: {', '.join(header)}"
    )


def _checked(name: str, cells: Iterable[tuple[object, object]]) -> list[Message]:
    messages: list[Message] = []
    unknown, empty, broken = [], [], []
    for row, (raw_label, raw_text) in enumerate(cells, start=1):
        label = LABEL_WORDS.get(_label_word(raw_label))
        if label is None:
            unknown.append(row)
        elif not isinstance(raw_text, str) or not raw_text.strip():
            empty.append(row)
        elif not _is_unicode(raw_text):
            broken.append(row)
        else:
            messages.append(Message(raw_text, label, row))
    for rows, what in (
        (unknown, "the label is neither spam nor ham (1 nor 0)"),
        (empty, "the text is empty"),
        (broken, "the text holds half a character (a lone surrogate)"),
    ):
        if rows:
            raise DataError(f"{name}: {rows_named(rows)}: {what}")
    return messages


def _label_word(raw: object) -> str:
    if isinstance(raw, bool | float):
        raw = int(raw) if raw in (0, 1) else raw
    return str(raw).strip().lower()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
