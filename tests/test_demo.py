"""The demo: everything starts, messages flow, everything stops."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.demo import Tally, percentile
from filterd.tail import Seen
from tests.commands import command, environment, filterd


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the demo makes its folder."""
    with tempfile.TemporaryDirectory(prefix="fd-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def left_over(folder: Path) -> list[str]:
    """Processes that still have to do with a folder."""
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [" ".join(words) for words in commands if any(str(folder) in word for word in words)]


def test_demo_shows_verdicts_and_cleans_up(temporary: Path, tiny: Path) -> None:
    done = filterd("demo", "--count", "25", "--rate", "200", "--artifact", str(tiny))
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len([line for line in lines if re.match(r"(spam|ham ) +[01]\.\d{4} ", line)]) == 25
    assert re.match(r"25 messages · .*median \d+ ms, p95 \d+ ms · .*% as people", lines[-1])
    assert "http://127.0.0.1:" in done.out
    assert list(temporary.glob("filterd*")) == []
    assert left_over(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_everything(temporary: Path, tiny: Path, number: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with subprocess.Popen(
            command("demo", "--rate", "50", "--artifact", str(tiny), "--port", str(port)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        ) as process:
            assert process.stdout is not None
            said = iter(process.stdout.readline, "")
            address = next(line for line in said if line.startswith("page: "))
            assert f":{port}/" not in address
            next(line for line in said if line.startswith(("spam", "ham")))
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert re.match(r"\d+ messages? · ", out.splitlines()[-1])
    assert list(temporary.glob("filterd*")) == []
    assert left_over(temporary) == []


def test_daemon_that_dies_is_named_by_its_last_line(temporary: Path) -> None:
    done = filterd("demo", "--artifact", str(temporary / "absent"))
    assert done.code == 1
    assert done.error.startswith(f"the daemon ended: no artifact at {temporary}/absent")
    assert list(temporary.glob("filterd*")) == []


def test_given_directory_is_kept(short_path: Path, tiny: Path) -> None:
    given = ("demo", "--count", "1", "--artifact", str(tiny), "--dir", str(short_path / "kept"))
    for _ in range(2):
        assert filterd(*given).out.splitlines()[-1].startswith("1 message ·")
    assert (short_path / "kept" / "daemon.log").exists()
    assert (short_path / "kept" / "appendonlydir").is_dir()


@given(st.lists(st.floats(0, 1000), min_size=1), st.floats(1, 100))
def test_percentile_is_a_value_that_enough_are_not_above(
    values: list[float], percent: float
) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values) - 1e-9
    assert sum(value < found for value in values) <= percent / 100 * len(values) + 1e-9


def test_tally_counts_our_messages_alone() -> None:
    tally = Tally(0.0, human={"1000-0": ("spam", "win"), "2000-0": ("ham", "hi")})
    fields = {"label": "spam", "score": "0.9", "at": "1012"}
    assert tally.settle(Seen("1-1", {**fields, "entry": "9-9"})) is None
    judged = tally.settle(Seen("1-2", {**fields, "entry": "1000-0"}))
    assert judged is not None
    assert (judged.label, judged.human, judged.text) == ("spam", "spam", "win")
    tally.settle(Seen("1-3", {**fields, "entry": "2000-0", "at": "2004"}))
    assert (tally.verdicts, tally.agreed, tally.latencies_ms) == (2, 1, [12.0, 4.0])
    assert "50.0% as people label them" in tally.summary()
