"""Files that a crash cannot tear: each call has happened, and stays, or has not happened at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def sync(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fill(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a new folder, by their names inside; none may exist."""
    folder.chmod(0o755)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    for inner in {(folder / name).parent for name in files}:
        sync(inner)


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Replace a file's content at once."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync(path.parent)


def append_line(path: Path, line: str) -> None:
    """Append a line; what a crash left of an unfinished one is cut off first."""
    with path.open("a+b") as file:
        file.seek(0)
        whole = file.read().rpartition(b"\n")
        file.truncate(len(whole[0]) + len(whole[1]))
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def lines_of(path: Path) -> list[str]:
    """The finished lines of such a file; none where there is no file.

    A line ends with a line feed and nothing else: U+2028 may stand in somebody's words.
    """
    try:
        lines, end, _ = path.read_bytes().rpartition(b"\n")
    except FileNotFoundError:
        return []
    return lines.decode().split("\n") if end else []


def point(link: Path, target: str) -> None:
    """Make a link point to ``target``, or remove it where that is empty. No moment has neither."""
    if target:
        aside = link.with_name(f".{link.name}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        aside.symlink_to(target)
        aside.replace(link)
    else:
        link.unlink(missing_ok=True)
    sync(link.parent)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock that ends with this process, whatever ends it; yields whether it was free."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
