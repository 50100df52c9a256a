"""The command ``filterd``: thin, and nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import click

from filterd import __version__
from filterd.commands import (
    dead,
    explaining,
    inspecting,
    loading,
    messages,
    opinions,
    past,
    serving,
)
from filterd.concealing import conceal
from filterd.errors import FilterdError
from filterd.options import debug_option

INTERRUPTED, TERMINATED = 130, 143


@click.group(
    params=[debug_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every setting is an environment variable too: 'filterd run --help' lists them. "
    "Exit codes: 0 done, 1 failed, 2 used wrongly.",
)
@click.version_option(__version__, message="filterd %(version)s")
def cli() -> None:
    """Filter message streams: spam or ham, by a GPT-2 classifier behind Redis streams."""


for _command in (
    serving.run,
    serving.demo,
    messages.classify,
    messages.publish,
    messages.tail,
    explaining.explain,
    opinions.feedback,
    loading.bench,
    inspecting.audit,
    inspecting.doctor,
    dead.dead,
    past.replay,
):
    cli.add_command(_command)


def main() -> NoReturn:
    """Run a command; every expected error is one line on standard error."""
    conceal()
    # Leave by way of every 'finally': whoever started a server stops it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    state: dict[str, bool] = {}
    try:
        code = cli.main(prog_name="filterd", standalone_mode=False, obj=state)
        sys.stdout.flush()
    except click.Abort:
        code = INTERRUPTED
    except (click.ClickException, FilterdError, OSError) as error:
        if state.get("debug"):
            raise
        code = _report(error)
    sys.exit(code if isinstance(code, int) else 0)


def _report(error: click.ClickException | FilterdError | OSError) -> int:
    """Say what is wrong, and what to do; returns the exit code."""
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has seen enough; the interpreter must not flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.ClickException):
        message, code = error.format_message(), error.exit_code
        if isinstance(error, click.UsageError) and error.ctx is not None:
            message = f"{message.rstrip('.')}. Try '{error.ctx.command_path} --help'."
    elif isinstance(error, OSError):
        message, code = f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), 1
    else:
        message, code = str(error), error.exit_code
    print(f"filterd: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    return code
