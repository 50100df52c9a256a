"""filterd filters message streams: a GPT-2 spam classifier behind Redis streams."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filterd.classifier import Classifier
    from filterd.entries import Verdict

__all__ = ["Classifier", "Verdict"]
__version__ = version("filterd")


def __getattr__(name: str) -> Any:
    """Import what brings torch along only when somebody asks for it."""
    if name == "Classifier":
        from filterd.classifier import Classifier

        return Classifier
    if name == "Verdict":
        from filterd.entries import Verdict

        return Verdict
    raise AttributeError(f"module 'filterd' has no attribute {name!r}")
