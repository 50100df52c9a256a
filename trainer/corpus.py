"""The project's own labelled messages, written by hand for it, in ``corpus/``.

Their domains end in ``.example`` and so belong to nobody; a model must not learn that ending, so
each gets one that is in use when it is read.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from trainer.dataset import Message, read_file

NAME = "trainer/corpus"
FOLDER = Path(__file__).parent / "corpus"
ENDINGS = [*["com"] * 8, *["net", "org", "info", "co", "in", "co.uk", "xyz", "io", "me", "app"]]
_EXAMPLE = re.compile(r"(\.| dot )example\b", re.IGNORECASE)


def messages() -> list[Message]:
    """All of them; the same every time."""
    rng = random.Random(0)  # noqa: S311 - reproducible, not secret
    found = [message for path in sorted(FOLDER.glob("*.tsv")) for message in read_file(path)]
    return [
        Message(
            _EXAMPLE.sub(lambda found: found[1] + rng.choice(ENDINGS), message.text),
            message.label,
            row,
        )
        for row, message in enumerate(found, start=1)
    ]
