"""``trainer``: from labelled messages to an artifact that filterd serves."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from filterd.errors import FilterdError
from trainer.commands import (
    cascading,
    composing,
    keeping,
    measuring,
    preparing,
    retraining,
    training,
)
from trainer.commands.options import State, debug_option


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@debug_option
@click.version_option(package_name="filterd")
def cli() -> None:
    """From labelled messages to an artifact that filterd serves."""


for _command in (
    preparing.prepare,
    training.train,
    training.distill,
    training.fetch,
    composing.compose,
    measuring.evaluate,
    cascading.cascade,
    retraining.retrain,
    keeping.list_,
    keeping.show,
    keeping.promote,
    keeping.rollback,
    keeping.prune,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line: 0 done, 1 failed, 2 used wrongly; errors are one line on stderr."""
    state = State()
    try:
        cli.main(arguments, prog_name="trainer", obj=state, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _fail(_usage(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except (FilterdError, OSError) as error:
        if state.debug:
            raise
        _fail(_one_line(error), getattr(error, "exit_code", 1))
    sys.exit(0)


def _usage(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{message.rstrip('.')}. Try '{error.ctx.command_path} --help'."
    return message


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def _fail(line: str, code: int) -> NoReturn:
    click.echo(f"trainer: {line}", err=True)
    sys.exit(code)
