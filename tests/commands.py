"""Run ``filterd`` as a user does: a process, its output, its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on standard error, without its beginning."""
        assert self.err.startswith("filterd: "), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("filterd: ").rstrip("\n")


def command(*arguments: str) -> list[str]:
    """The command line of ``filterd``."""
    return [sys.executable, "-m", "filterd", *arguments]


def environment(**settings: str) -> dict[str, str]:
    """This process's environment and settings, given without their prefix in small letters."""
    return {**os.environ, **{f"FILTERD_{name.upper()}": value for name, value in settings.items()}}


def filterd(*arguments: str, stdin: str | bytes = b"", **settings: str) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        command(*arguments),
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=environment(**settings),
        timeout=60,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
