"""Command-line options made from the settings, when a command needs them and not before."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import click

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ALL = ("*",)


class Command(click.Command):
    """A command that takes settings as options; its function gets them as ``settings``.

    fields: names of settings, or ALL. ``--debug`` may stand before or after a command's name.
    """

    def __init__(self, *args: Any, fields: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fields = fields

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own options, then those of its settings."""
        own = super().get_params(ctx)  # the last one is --help
        return [*own[:-1], *self._setting_options(), debug_option(), *own[-1:]]

    def invoke(self, ctx: click.Context) -> Any:
        """Read the settings; options that were given win over the environment."""
        if self._fields:
            from filterd.settings import Settings

            names = [parameter.name or "" for parameter in self._setting_options()]
            given = {name: ctx.params.pop(name, None) for name in names}
            ctx.params["settings"] = Settings.load(
                **{name: value for name, value in given.items() if value is not None}
            )
        return super().invoke(ctx)

    def _setting_options(self) -> list[click.Parameter]:
        if not self._fields:
            return []
        from filterd.settings import PREFIX, Settings

        known = Settings.model_fields
        return [
            option(PREFIX, name, known[name])
            for name in (known if self._fields == ALL else self._fields)
        ]


def debug_option() -> click.Option:
    """``--debug``, kept in the root context's object, where ``cli.main`` looks."""

    def remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            ctx.find_root().ensure_object(dict)["debug"] = True

    return click.Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=remember,
        help="Show the traceback of an error.",
    )


def option(prefix: str, name: str, field: FieldInfo) -> click.Option:
    """The option of a setting, which is an environment variable with that prefix too."""
    default = field.get_default(call_default_factory=True)
    if hasattr(default, "get_secret_value"):
        default = default.get_secret_value()
    shown = "" if default in (None, "", ()) else f"; default: {default}"
    return click.Option(
        ["--" + name.replace("_", "-"), name],
        type=_type(field.annotation),
        default=None,
        help=f"{field.description}  [{prefix}{name.upper()}{shown}]",
    )


def _type(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    return {int: click.INT, float: click.FLOAT, bool: click.BOOL}.get(annotation, click.STRING)
