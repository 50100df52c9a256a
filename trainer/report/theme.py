"""How plots look: the same on paper, on a light page and on a dark one."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Form = Literal["png", "svg"]

SIZE = (5.0, 3.4)
DPI = 80


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours, as matplotlib names them; ours is the artifact's, theirs the baseline's."""

    ink: str
    faint: str
    ham: str
    spam: str
    ours: str
    theirs: str
    fill: str
    paper: str


LIGHT = Theme(
    *("#22272e", "#d5dae1", "#2b6cb0", "#c2410c", "#6d28d9", "#7b8694", "Purples", "#ffffff"),
)
DARK = Theme(
    *("#dfe5ec", "#3a434f", "#63a4ec", "#f28b50", "#b794f6", "#8f9bab", "Purples_r", "none"),
)

Draw = Callable[[Axes, Theme], None]


def render(draw: Draw, theme: Theme, form: Form) -> bytes:
    """A plot as an image; equal plots give equal bytes."""
    with mpl.rc_context(_style(theme)), warnings.catch_warnings():
        # A label that leaves its axes no room makes an ugly plot; no reason to lose the artifact.
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        draw(figure.add_subplot(), theme)
        out = io.BytesIO()
        figure.savefig(out, format=form, metadata={"Software" if form == "png" else "Date": None})
    return out.getvalue()


def _style(theme: Theme) -> Any:
    """matplotlib's settings; Any, for it types them by the literal names of its own 300."""
    inked = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(inked, theme.ink),
        **dict.fromkeys(("axes.edgecolor", "grid.color", "legend.edgecolor"), theme.faint),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), theme.paper),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
        "axes.grid": True,
        "axes.axisbelow": True,
        "font.size": 10,
        "grid.linewidth": 0.7,
        "legend.fontsize": 9,
        "legend.framealpha": 0.6,
        "legend.facecolor": "inherit" if theme.paper != "none" else "none",
        "lines.linewidth": 1.8,
        "svg.fonttype": "path",
        "svg.hashsalt": "filterd",
    }
