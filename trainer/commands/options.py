"""What several commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

DEFAULT_DATA = Path("data/sms-spam-collection")
DEFAULT_ARTIFACTS = Path("artifacts")

AnyPath = click.Path(path_type=Path)
ExistingPath = click.Path(exists=True, path_type=Path)


device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    envvar="TRAINER_DEVICE",
    show_default=True,
    help="What to train on, where anything is trained; auto is a GPU where torch sees one.",
)


@dataclass
class State:
    """What ``main`` must know when a command has failed."""

    debug: bool = False


def _remember_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().ensure_object(State).debug = True


def debug_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--debug``: an error comes with its traceback."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_remember_debug,
        help="Show the traceback of an error.",
    )(command)


def registry_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--artifacts``: the folder of all artifacts."""
    return click.option(
        "--artifacts",
        type=AnyPath,
        default=DEFAULT_ARTIFACTS,
        show_default=True,
        envvar="TRAINER_ARTIFACTS",
        show_envvar=True,
        help="The folder that holds all artifacts.",
    )(command)
