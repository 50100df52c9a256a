"""Concealing: secrets leave the command line, which everybody on the machine can read.

The process is replaced by one that has them as environment variables, which only its owner reads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

SECRET_OPTIONS = {"--redis-url": "FILTERD_REDIS_URL", "--http-token": "FILTERD_HTTP_TOKEN"}


def conceal() -> None:
    """Begin this command anew where its line says a secret."""
    kept, secrets = without_secrets(sys.orig_argv)
    if secrets:
        os.environ.update(secrets)
        os.execv(sys.executable, kept)  # noqa: S606 - this same command


def without_secrets(line: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """A command line without its secrets, and those by the names of their variables.

    A URL without a password is none. What follows ``--`` is text, whatever it looks like.

    >>> without_secrets(["filterd", "run", "--redis-url", "redis://:hush@db", "--http-port=1"])
    (['filterd', 'run', '--http-port=1'], {'FILTERD_REDIS_URL': 'redis://:hush@db'})
    """
    kept: list[str] = []
    found: dict[str, str] = {}
    parts = iter(line)
    for part in parts:
        name, given, value = part.partition("=")
        if part == "--":
            kept += [part, *parts]
        elif name in SECRET_OPTIONS:
            found[SECRET_OPTIONS[name]] = value if given else next(parts, "")
        else:
            kept.append(part)
    url = found.get("FILTERD_REDIS_URL", "")
    if "@" in url or "password" in url or found.get("FILTERD_HTTP_TOKEN"):
        return kept, found
    return list(line), {}
