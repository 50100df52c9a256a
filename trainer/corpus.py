"""The project's own labelled messages, written for it, in ``corpus/``.

Those in ``corpus/contrasts/`` have the surface of one label and the meaning of the other, or stand
beside such a message: notices and their fakes, offers and talk of the same things; in
``lifelike-*`` they have the kinds and proportions of real traffic.

Their domains end in ``.example`` and so belong to nobody; a model must not learn that ending, so
each gets one that is in use when it is read: at random for either label, and its own for a service
whose links everybody writes, for such links are what real messages have. A number that lacks
digits (``07911 12xxxx``), so that it is nobody's, gets some when it is read.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from trainer.dataset import Message, read_file

NAME = "trainer/corpus"
CONTRASTS = "trainer/corpus/contrasts"
FOLDER = Path(__file__).parent / "corpus"
ENDINGS = [
    *["com"] * 12,
    *["net", "org", "info", "co", "in", "co.uk", "xyz", "io", "me", "app", "us", "de"],
    *["top", "cc", "site", "online", "shop", "live"],
]
SERVICES = {
    **dict.fromkeys(("bit", "cutt"), "ly"),
    **dict.fromkeys(("tinyurl", "youtube"), "com"),
    **dict.fromkeys(("t", "wa"), "me"),
    "goo": "gl",
    "youtu": "be",
}
"""Names that everybody's links begin with, of either label, and their endings."""
_EXAMPLE = re.compile(r"([a-z0-9-]*)(\.| dot )example\b", re.IGNORECASE)
_UNSEEN = "[\u200b-\u200d\u2060\ufeff\u00ad]*"
_DISGUISED = re.compile(
    rf"()([.,\])．] ?)(?:{_UNSEEN.join('example')}\b|ｅｘａｍｐｌｅ)", re.IGNORECASE
)
"""As in ``shop[.]example``, ``shop,example`` and ``shop . exam\u200bple``."""

_MASKED = re.compile(
    r"(?<![A-Za-z0-9*£$€.])"
    r"\+?\(?\d[\dx]+\)?(?:[ -]\(?(?=[\dx]*\d|xxx)[\dx]{2,}\)?)*"
    r"(?![A-Za-z0-9])"
)
"""Groups of digits and x, as one writes a number."""
LENGTHS = range(5, 14)
"""Digits, masked ones among them, of what is filled: short codes to telephone numbers. Ends of
accounts are shorter, cards longer."""


def messages() -> list[Message]:
    """All but the contrasts; the same every time."""
    return _of(FOLDER)


def contrasts() -> list[Message]:
    """The contrasts; the same every time."""
    return _of(FOLDER / "contrasts")


def _of(folder: Path) -> list[Message]:
    plain, disguised, digits = map(random.Random, range(3))
    found = [message for path in sorted(folder.glob("*.tsv")) for message in read_file(path)]
    return [
        Message(
            _dialled(_ended(_DISGUISED, _ended(_EXAMPLE, message.text, plain), disguised), digits),
            message.label,
            row,
        )
        for row, message in enumerate(found, start=1)
    ]


def _dialled(text: str, rng: random.Random) -> str:
    """A text with digits in place of those that its numbers lack."""

    def dialled(found: re.Match[str]) -> str:
        number = found[0]
        if not _is_masked(number):
            return number
        return re.sub("x", lambda _: rng.choice("0123456789"), number)

    return _MASKED.sub(dialled, text)


def _is_masked(number: str) -> bool:
    """Whether digits are missing: in ``24x7``, ``4x100`` and ``0x80070057`` none are."""
    masks, length = number.count("x"), sum(sign in "0123456789x" for sign in number)
    alone = masks == 1 and number[0] in "0+" and number[1] != "x"
    return (masks > 1 or alone) and length in LENGTHS


def _ended(pattern: re.Pattern[str], text: str, rng: random.Random) -> str:
    """A text with an ending that is in use in each place of the pattern.

    Of the pattern's groups the first is the name before the ending, the second what parts them.
    """

    def ended(found: re.Match[str]) -> str:
        name, parting = found.groups()
        return name + parting + (SERVICES.get(name.lower()) or rng.choice(ENDINGS))

    return pattern.sub(ended, text)
