"""Web addresses that belong to nobody, and other ways of writing a phone number."""

from __future__ import annotations

import random
import re
from string import ascii_letters, digits

_SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
_ENDS = ("com", "com", "net", "org", "info", "biz", "co.uk", "online", "shop", "xyz", "site", "top")
_SHORT_ENDS = ("ly", "to", "cc", "gl", "me", "io", "link")
_STARTS = ("", "", "www.", "http://", "https://", "https://", "http://www.")


def address(rng: random.Random) -> str:
    """An invented address: long or short, with or without a path, now and then obscured."""
    name = "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4)))
    if rng.random() < 0.25:
        path = "".join(rng.choices(ascii_letters + digits, k=rng.randint(4, 8)))
        found = f"{rng.choice(('', 'https://'))}{name[:5]}.{rng.choice(_SHORT_ENDS)}/{path}"
    else:
        if rng.random() < 0.3:
            name += rng.choice("-0123456789") + rng.choice(_SYLLABLES)
        path = "/" + "".join(rng.choices(_SYLLABLES, k=2)) if rng.random() < 0.4 else ""
        found = f"{rng.choice(_STARTS)}{name}.{rng.choice(_ENDS)}{path}"
    if rng.random() < 0.15:
        found = found.replace(".", rng.choice(("[.]", "(.)", " dot ", " . ")))
    return found


def dialled(number: str, rng: random.Random) -> str:
    """The same phone number, written another way."""
    plain = "".join(re.findall("[0-9]+", number))
    if number.startswith("+44"):
        plain = "0" + plain[2:].removeprefix("0")
    elif number.startswith("+"):
        return "+" + rng.choice((plain, f"{plain[:2]} {plain[2:7]} {plain[7:]}"))
    if plain.startswith("0") and not plain.startswith("00") and rng.random() < 0.3:
        start, rest = rng.choice(("+44", "+44 ", "+44 (0)", "0044 ")), plain[1:]
        return start + rng.choice(
            (rest, f"{rest[:4]} {rest[4:]}", f"{rest[:3]} {rest[3:6]} {rest[6:]}")
        )
    area, middle, last = plain[:4], plain[4:7], plain[7:]
    between = rng.choice(" -.")
    return rng.choice(
        (plain, f"{area}{between}{middle}{between}{last}", f"({area}) {middle}{last}")
    )
