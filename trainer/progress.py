"""How far long work has come: a bar at a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

EVERY_S = 15.0
LINE = "{desc}: {percentage:.0f}% of {total_fmt}, {elapsed} so far, {remaining} to go{postfix}"


def progress(
    what: str,
    unit: str,
    over: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    **more: Any,
) -> Any:
    """A ``tqdm`` on standard error. over: what it iterates, where it does · more: for ``tqdm``."""
    given = {"desc": what, "unit": unit, "total": total, "leave": False, **more}
    if sys.stderr.isatty():
        return tqdm(over, **given)
    pace = {"delay": EVERY_S, "mininterval": EVERY_S, "maxinterval": EVERY_S, "position": 0}
    return tqdm(over, **given, **pace, file=_Lines(), bar_format=LINE)


class _Lines:
    """Standard error for a bar that would overwrite itself: each look at it is a line."""

    def write(self, text: str) -> None:
        """Write what there is to see, without the bar's moves of the cursor."""
        if line := text.strip("\r\n "):
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        """Flush standard error."""
        sys.stderr.flush()
