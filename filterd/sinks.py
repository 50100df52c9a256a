"""Tables written: rows to csv, tsv, jsonl or parquet, in chunks, in a file that appears whole.

A tsv has no quoting: a tab or a line break inside a value is written as ``\\t`` or ``\\n``.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from filterd.errors import DataError
from filterd.tables import Values, format_of, load_pyarrow

ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})
LATE_COLUMN = "{}: column {!r} turns up only in a late row: write .jsonl"


class Sink(Protocol):
    """Takes rows in chunks."""

    def write(self, rows: Sequence[Values]) -> None:
        """Append rows."""

    def finish(self) -> None:
        """Write what is still due."""


@contextmanager
def open_sink(path: Path, schema: Any = None) -> Iterator[Sink]:
    """A new file of rows, in the format that its name ends with; it appears whole or not at all.

    schema: of the parquet file that the rows come from, if any; added columns join it.
    """
    makers: dict[str, Callable[[IO[bytes], Path], Sink]]
    makers = {".csv": CsvSink, ".tsv": TsvSink, ".jsonl": JsonSink}
    make = makers.get(format_of(path))
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("xb") as file:
            sink = make(file, path) if make else ParquetSink(file, path, schema)
            try:
                yield sink
            finally:  # a parquet writer must end before its file does, also after an error
                sink.finish()
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            aside.unlink()


class CsvSink:
    """Comma-separated, quoted where needed, one header line."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._header: list[str] = []

    def write(self, rows: Sequence[Values]) -> None:
        """The columns are those of the first chunk."""
        if not self._header and rows:
            self._header = list(dict.fromkeys(name for row in rows for name in row))
            self._write_line(self._header)
        for row in rows:
            if new := row.keys() - set(self._header):
                raise DataError(LATE_COLUMN.format(self._path, min(new)))
            self._write_line([_cell(row.get(name)) for name in self._header])

    def finish(self) -> None:
        """Nothing is due."""

    def _write_line(self, cells: Sequence[str]) -> None:
        line = _Line()
        # Only what is in the terminator is quoted, and a lone \r must be: readers end a row there.
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        text = line.text.removesuffix("\r\n") + "\n"
        self._file.write(text.encode(errors="backslashreplace"))


class TsvSink(CsvSink):
    """Tab-separated, nothing quoted, tabs and line breaks escaped."""

    def _write_line(self, cells: Sequence[str]) -> None:
        line = "\t".join(cell.translate(ESCAPES) for cell in cells) + "\n"
        self._file.write(line.encode(errors="backslashreplace"))


class JsonSink:
    """One JSON object a line."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file

    def write(self, rows: Sequence[Values]) -> None:
        """Append rows."""
        for row in rows:
            # A lone surrogate becomes its own JSON escape.
            line = json.dumps(row, ensure_ascii=False, default=str) + "\n"
            self._file.write(line.encode(errors="backslashreplace"))

    def finish(self) -> None:
        """Nothing is due."""


class ParquetSink:
    """A parquet file; the columns and their types are those of the first chunk."""

    def __init__(self, file: IO[bytes], path: Path, schema: Any) -> None:
        self._file, self._path, self._given = file, path, schema
        self._pyarrow = load_pyarrow()
        self._writer: Any = None
        self._schema: Any = None

    def write(self, rows: Sequence[Values]) -> None:
        """Append rows as one row group."""
        arrow = self._pyarrow
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
        try:
            if self._writer is None:
                self._schema = self._merged(arrow.table(columns).schema)
                self._writer = arrow.parquet.ParquetWriter(self._file, self._schema)
            if new := names.keys() - set(self._schema.names):
                raise DataError(LATE_COLUMN.format(self._path, min(new)))
            filled = {name: columns.get(name, [None] * len(rows)) for name in self._schema.names}
            self._writer.write_table(arrow.table(filled, schema=self._schema))
        except (arrow.ArrowException, OverflowError) as error:
            raise DataError(
                f"{self._path}: a column holds values of different types: write .jsonl"
            ) from error

    def finish(self) -> None:
        """Write the footer."""
        if self._writer is None:
            self.write([])
        self._writer.close()

    def _merged(self, found: Any) -> Any:
        given = [] if self._given is None else list(self._given)
        known = {field.name for field in given}
        return self._pyarrow.schema([*given, *(f for f in found if f.name not in known)])


class _Line:
    """Takes what csv.writer writes."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return f"{value:.6f}" if isinstance(value, float) else str(value)
