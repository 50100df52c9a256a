"""Small changes to a training message that leave its label as it is."""

from __future__ import annotations

import random
import re

_DIGIT = re.compile(r"\d")
_EDGE = re.compile(r"^\W+|\W+$")


def augment(text: str, share: float, rng: random.Random) -> str:
    """Alter a text with probability ``share``: its digits, its case, or a few of its words.

    So the model cannot lean on one number, on capitals or on one word.
    """
    if rng.random() >= share:
        return text
    return rng.choice((_other_digits, _other_case, _fewer_words, _no_edges))(text, rng)


def _other_digits(text: str, rng: random.Random) -> str:
    return _DIGIT.sub(lambda _: str(rng.randrange(10)), text)


def _other_case(text: str, rng: random.Random) -> str:
    return rng.choice((str.lower, str.upper, str.capitalize))(text)


def _fewer_words(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    return " ".join(word for word in words if rng.random() > 0.1) or text


def _no_edges(text: str, rng: random.Random) -> str:
    return _EDGE.sub("", text) or text
