"""Explaining a score: what it would be without each part of the message (leave-one-out).

The effect of a part is the model's log-odds of spam with the part minus without it, each computed
by the engine that serves, in its precision. So an effect is a fact about the model that anybody
can check by leaving the part out, and needs no gradient, which a quantised model has not got. Its
limit: where two parts each suffice, leaving out one changes little, and neither shows.

Of a message in several windows the most spam-like decides, and its parts are the ones explained.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from filterd.classifier import Classifier
from filterd.classify import as_line as verdict_line
from filterd.classify import columns
from filterd.engine import Engine, Tokens
from filterd.entries import Verdict
from filterd.terminal import printable, write_line
from filterd.tokenizer import window_starts

MOST_TOKENS = 65_536
"""What explaining one message may cost; a longer one is explained in coarser parts."""
LONGEST_WORD = 12
"""Tokens of a word that are left out together."""
STRONG, FAINT, NAMED = 1.0, 0.1, 5
"""Log-odds that at least count as the strongest, the share of it that is coloured, words named."""
COLOURS = {"spam": "red", "ham": "blue"}
LEAST_ODDS = 1e-7
"""Scores nearer to 0 or 1 than fp32 can tell apart are taken for this far from them."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the text. start, stop: its characters · effect: log-odds, above 0 towards spam."""

    start: int
    stop: int
    effect: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a text has its verdict.

    text: as the model reads it, with look-alikes and white space undone where the artifact does so
    parts: of its deciding window, in order, without gaps.
    """

    verdict: Verdict
    text: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring tokens, first to stop, that together are whole characters."""

    first: int
    stop: int


def explain(classifier: Classifier, text: str, most_tokens: int = MOST_TOKENS) -> Explanation:
    """The verdict on a text, and what each part of it contributes."""
    engine = classifier.engine
    ids = engine.encode(text)
    pieces = engine.tokenizer.pieces(ids)
    windows = engine.cut(ids).windows
    scores = engine.score([Tokens((window,)) for window in windows]).values
    best = max(range(len(windows)), key=scores.__getitem__)
    first, stop = _range(engine, len(ids), best)
    runs = _coarser(_words(pieces[first:stop]), most_tokens // len(windows[best]))
    without = _scores_without(engine, ids[first:stop], runs)
    full = _log_odds(scores[best])
    lengths = [len(_text(pieces[: first + run.first])) for run in runs]
    ends = [*lengths[1:], len(_text(pieces[:stop]))] if runs else []
    parts = tuple(
        Part(start, end, full - _log_odds(score))
        for start, end, score in zip(lengths, ends, without, strict=True)
    )
    return Explanation(classifier.verdict(scores[best]), _text(pieces), parts)


def as_json(text: str, explained: Explanation) -> str:
    """One JSON object: the verdict, the text as given, and its parts as read."""
    return json.dumps({**as_object(explained), "text": text}, ensure_ascii=False)


def as_object(explained: Explanation) -> dict[str, object]:
    """The verdict, the text as read, and its parts in order."""
    read = explained.text
    parts = [
        {
            "start": part.start,
            "stop": part.stop,
            "text": read[part.start : part.stop],
            "effect": round(part.effect, 4),
        }
        for part in explained.parts
    ]
    return {**columns(explained.verdict), "read": read, "parts": parts}


def show_lines(explained: Explanation) -> None:
    """Verdict and text, then effect and part, a line each."""
    write_line(verdict_line(explained.text, explained.verdict))
    for part in explained.parts:
        write_line(f"{part.effect:+.2f}\t{printable(explained.text[part.start : part.stop])}")


def show_in_colour(explained: Explanation) -> None:
    """The text for a terminal, the stronger a part's effect the stronger its colour."""
    from rich.console import Console
    from rich.text import Text

    read, verdict = explained.text, explained.verdict
    most = max([STRONG, *(abs(part.effect) for part in explained.parts)])
    line = Text()
    shown = 0
    for part in explained.parts:
        line.append(printable(read[shown : part.start]), style="dim")
        line.append(printable(read[part.start : part.stop]), style=_style(part.effect / most))
        shown = part.stop
    line.append(printable(read[shown:]), style="dim")
    console = Console(highlight=False)
    console.print(
        Text.assemble((verdict.label, f"bold {COLOURS[verdict.label]}"), f" {verdict.score:.4f}"),
        line,
        Text.assemble("towards ", ("spam", COLOURS["spam"]), " or ", ("ham", COLOURS["ham"]), ": ")
        + Text(", ".join(_strongest(explained)) or "nothing in particular"),
        soft_wrap=True,
        sep="\n",
    )


def _strongest(explained: Explanation) -> list[str]:
    parts = sorted(explained.parts, key=lambda part: -abs(part.effect))[:NAMED]
    words = [(printable(explained.text[part.start : part.stop].strip()), part) for part in parts]
    return [f"{word} {part.effect:+.2f}" for word, part in words]


def _style(share: float) -> str:
    if abs(share) < FAINT:
        return ""
    return f"{'bold ' if abs(share) > 0.5 else ''}{COLOURS['spam' if share > 0 else 'ham']}"


def _range(engine: Engine, count: int, window: int) -> tuple[int, int]:
    """Which of a message's tokens a window holds."""
    length = engine.manifest.max_length
    if engine.manifest.pooling != "last":
        return 0, min(count, length)
    start = window_starts(count, length)[window]
    return start, min(count, start + length - 1)


def _words(pieces: Sequence[bytes]) -> list[_Run]:
    """Tokens, those of a word together: without half a word the rest would be another one.

    What is long and has no white space, as in Chinese, comes in its tokens.
    """
    runs = _characters(pieces)
    begins = [i for i, run in enumerate(runs) if i == 0 or pieces[run.first][:1].isspace()]
    words: list[_Run] = []
    for begin, end in pairwise([*begins, len(runs)]):
        word = runs[begin:end]
        words += word if len(word) > LONGEST_WORD else [_Run(word[0].first, word[-1].stop)]
    return words


def _characters(pieces: Sequence[bytes]) -> list[_Run]:
    """Tokens, those that share a character together."""
    runs: list[_Run] = []
    first = 0
    for index in range(1, len(pieces) + 1):
        if index == len(pieces) or not _continues(pieces[index]):
            runs.append(_Run(first, index))
            first = index
    return runs


def _continues(piece: bytes) -> bool:
    """Whether a token begins inside a character (UTF-8: 10xxxxxx)."""
    return piece[0] & 0xC0 == 0x80


def _coarser(runs: Sequence[_Run], most: int) -> list[_Run]:
    """At most ``most`` runs, each of about equally many."""
    size = math.ceil(len(runs) / max(1, most)) or 1
    groups = [runs[index : index + size] for index in range(0, len(runs), size)]
    return [_Run(group[0].first, group[-1].stop) for group in groups]


def _scores_without(engine: Engine, ids: Sequence[int], runs: Sequence[_Run]) -> list[float]:
    shorter = [engine.cut([*ids[: run.first], *ids[run.stop :]]) for run in runs]
    return engine.score(shorter).values if shorter else []


def _log_odds(score: float) -> float:
    kept = min(max(score, LEAST_ODDS), 1 - LEAST_ODDS)
    return math.log(kept / (1 - kept))


def _text(pieces: Sequence[bytes]) -> str:
    return b"".join(pieces).decode(errors="replace")
