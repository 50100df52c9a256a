"""Small changes to a training message that leave its label as it is.

So the model cannot lean on one number, on capitals, on one word, or on one way of cutting words
into tokens.
"""

from __future__ import annotations

import random
import re

from trainer.recipe import Recipe

_DIGIT = re.compile(r"\d")


def augment(text: str, recipe: Recipe, rng: random.Random) -> list[str]:
    """A text altered as the recipe says, in pieces that are to be encoded one by one."""
    if rng.random() < recipe.other_digits:
        text = _DIGIT.sub(lambda _: str(rng.randrange(10)), text)
    if rng.random() < recipe.other_case:
        text = rng.choice((str.lower, str.upper, str.capitalize))(text)
    if recipe.drop_words:
        words = [word for word in text.split(" ") if rng.random() >= recipe.drop_words]
        text = " ".join(words) or text
    return cut(text, recipe.cut_words, rng)


def cut(text: str, share: float, rng: random.Random) -> list[str]:
    """Cut a text before ``share`` of its characters, in the spirit of BPE-dropout.

    A word then reaches the model in other tokens than usual (Provilkov et al., 2020).
    """
    if not share:
        return [text]
    cuts = [place for place in range(1, len(text)) if rng.random() < share]
    return [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, None], strict=True)]
