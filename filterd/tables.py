"""Files of messages: csv, tsv, jsonl and parquet, read in chunks.

The first line of a csv or tsv names the columns. A tsv has no quoting: one line is one row. A
jsonl has one object a line. ``sinks.py`` writes the same formats.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from filterd.errors import DataError, FilterdError, SettingsError

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
CHUNK_ROWS = 256
READ_BYTES = 65536
PARQUET_HINT = "parquet needs pyarrow: pip install 'filterd[parquet]'"

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One message: where it stands in its file, its text, and all columns of its row."""

    where: str
    text: str
    values: Values


class Source:
    """A file of messages, opened: iterate for chunks of rows.

    total, done: how far it is read, in bytes, or in rows for parquet.
    """

    def __init__(self, path: Path, column: str = "text") -> None:
        self.path, self.column = path, column
        self.done = 0
        self.schema: Any = None
        self._suffix = format_of(path)
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        self.total = path.stat().st_size
        if self._suffix == ".parquet":
            try:
                self._parquet = _open_parquet(self._file, path)
            except FilterdError:
                self._file.close()
                raise
            self.schema, self.total = self._parquet.schema_arrow, self._parquet.metadata.num_rows

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[list[Row]]:
        readers = {".csv": self._csv, ".tsv": self._tsv, ".jsonl": self._jsonl}
        rows = readers.get(self._suffix, self._parquet_rows)()
        while chunk := list(islice(rows, CHUNK_ROWS)):
            yield chunk

    def _lines(self) -> Iterator[str]:
        """The lines with their ends, as text. Raises DataError at the first that is not UTF-8."""
        for number, line in enumerate(self._file, start=1):
            self.done += len(line)
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self.path}, line {number}: byte {error.start + 1} is not UTF-8"
                ) from error

    def _csv(self) -> Iterator[Row]:
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        reader = csv.reader(self._lines(), strict=True)
        try:
            header = self._checked_header(next(reader, []))
            for values in reader:
                if values:  # a blank line is no row
                    yield self._row(f"line {reader.line_num}", header, values)
        except csv.Error as error:
            raise DataError(f"{self.path}, line {reader.line_num}: {error}") from error

    def _tsv(self) -> Iterator[Row]:
        lines = ((n, line.rstrip("\r\n")) for n, line in enumerate(self._lines(), start=1))
        first = next(lines, (1, ""))[1]
        header = self._checked_header(first.split("\t") if first else [])
        for number, line in lines:
            if line:
                yield self._row(f"line {number}", header, line.split("\t"))

    def _jsonl(self) -> Iterator[Row]:
        for number, line in enumerate(self._lines(), start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{self.path}, line {number}: not JSON: {error}") from error
            if not isinstance(values, dict):
                raise DataError(f"{self.path}, line {number}: not an object {{…}}")
            yield self._message(f"line {number}", values)

    def _parquet_rows(self) -> Iterator[Row]:
        self._checked_header(self.schema.names)
        for batch in self._parquet.iter_batches(batch_size=CHUNK_ROWS):
            for values in batch.to_pylist():
                self.done += 1
                yield self._message(f"row {self.done}", values)

    def _checked_header(self, header: Sequence[str]) -> Sequence[str]:
        # The header is not repeated in the error: where it is missing, it is somebody's message.
        if not header:
            raise DataError(f"{self.path} is empty: its first line must name the columns")
        if self.column not in header:
            raise DataError(
                f"{self.path} has no column '{self.column}' among the {len(header)} of its first "
                "line: name the one that holds the text with --column, or add a first line "
                "with names"
            )
        if len(set(header)) < len(header):
            raise DataError(f"{self.path} has two columns of the same name")
        return header

    def _row(self, where: str, header: Sequence[str], values: Sequence[str]) -> Row:
        if len(values) != len(header):
            raise DataError(f"{self.path}, {where}: {len(values)} values for {len(header)} columns")
        return self._message(where, dict(zip(header, values, strict=True)))

    def _message(self, where: str, values: Values) -> Row:
        text = values.get(self.column)
        if not isinstance(text, str):
            what = "is no text" if self.column in values else "is missing"
            raise DataError(f"{self.path}, {where}: '{self.column}' {what}")
        return Row(where, text, values)


def format_of(path: Path) -> str:
    """The suffix of a file in a known format. Raises SettingsError for any other."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise SettingsError(f"{path}: its name must end in one of {', '.join(FORMATS)}")
    return suffix


def _open_parquet(file: IO[bytes], path: Path) -> Any:
    arrow = load_pyarrow()
    try:
        return arrow.parquet.ParquetFile(file)
    except arrow.ArrowException as error:
        raise DataError(f"{path} is no parquet file") from error


def load_pyarrow() -> Any:
    """The parquet library. Raises SettingsError with what to install."""
    try:
        import pyarrow.parquet  # an extra, and heavy
    except ImportError as error:
        raise SettingsError(PARQUET_HINT) from error
    return pyarrow


def lines_of(stream: IO[bytes]) -> Iterator[list[str]]:
    """Messages, one a line, in chunks as they come: a slow sender waits for nobody.

    Raises DataError at the first line that is not UTF-8, after yielding those before it.
    """
    number, rest = 0, b""
    while True:
        read = stream.read1(READ_BYTES)  # type: ignore[attr-defined]  # BufferedReader has it
        *lines, rest = (rest + read).split(b"\n")
        if not read and rest:
            lines.append(rest)
        for start in range(0, len(lines), CHUNK_ROWS):
            chunk = lines[start : start + CHUNK_ROWS]
            yield from _decoded(chunk, number)
            number += len(chunk)
        if not read:
            return


def _decoded(lines: Sequence[bytes], before: int) -> Iterator[list[str]]:
    texts: list[str] = []
    for number, line in enumerate(lines, start=before + 1):
        try:
            texts.append(line.removesuffix(b"\r").decode())
        except UnicodeDecodeError as error:
            yield texts
            raise DataError(
                f"standard input, line {number}: byte {error.start + 1} is not UTF-8"
            ) from error
    yield texts
