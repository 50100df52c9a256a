"""The code in a Markdown document: fenced with a language, or indented, which is for a shell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELLS = ("sh", "console")


@dataclass(frozen=True, slots=True)
class Code:
    """One piece of code. language: ``sh``, ``console``, ``python``, …"""

    language: str
    text: str

    @property
    def name(self) -> str:
        """Its first line that says something, without the comment behind it."""
        lines = [line for line in self.text.splitlines() if not line.startswith("import ")]
        return re.sub(r"\s+#.*", "", next(filter(None, lines))).strip()


def code(path: Path) -> list[Code]:
    """Programs as they are; of shell blocks each command, with the lines that continue it."""
    document = path.read_text(encoding="utf-8")
    fenced = [Code(*found) for found in FENCED.findall(document)]
    shells = [block.text for block in fenced if block.language in SHELLS]
    shells += _indented(FENCED.sub("", document))
    programs = [block for block in fenced if block.language not in SHELLS]
    return [*(Code("sh", command) for text in shells for command in _commands(text)), *programs]


def _indented(document: str) -> Iterator[str]:
    for inside, lines in groupby(document.splitlines(), lambda line: line.startswith("    ")):
        if inside:
            yield "\n".join(line.removeprefix("    ") for line in lines)


def _commands(text: str) -> Iterator[str]:
    """Commands; of a transcript, whose commands stand behind ``$``, not what they printed."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    yield from (line for line in lines if line.strip() and not line.startswith("#"))
