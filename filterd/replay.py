"""``filterd replay``: score the past with another artifact, and show what would change.

The past is what the streams still hold, judged as it was then; or a file, judged by what is served.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

from filterd.classifier import Classifier
from filterd.entries import DEFAULT_NAMES, Label, Verdict
from filterd.streams.connection import translated
from filterd.tables import Source
from filterd.terminal import printable

CHUNK = 256
NEEDED = frozenset({b"entry", b"label", b"score", b"threshold", b"model"})


@dataclass(frozen=True, slots=True)
class Past:
    """A message and what became of it. where: its entry's id, or its place in a file."""

    where: str
    text: str
    before: Verdict


@dataclass(frozen=True, slots=True)
class Change:
    """A message that would get the other label."""

    past: Past
    after: Verdict

    def as_json(self, show_text: bool) -> dict[str, Any]:
        """One object; the text only where it was asked for."""
        text = {"text": self.past.text} if show_text else {}
        before, after = (
            {"label": v.label, "score": v.score, "threshold": v.threshold, "model": v.model}
            for v in (self.past.before, self.after)
        )
        return {"entry": self.past.where, "before": before, "after": after, **text}


@dataclass
class Replayed:
    """What a replay found so far. most: how many examples are kept, those that move furthest.

    gone: verdicts whose message the streams no longer hold.
    """

    candidate: str
    most: int
    gone: int = 0
    messages: int = 0
    models: Counter[str] = field(default_factory=Counter)
    before: Counter[Label] = field(default_factory=Counter)
    after: Counter[Label] = field(default_factory=Counter)
    to_spam: int = 0
    to_ham: int = 0
    shift: float = 0.0
    distance: float = 0.0
    _furthest: list[tuple[float, int, Change]] = field(default_factory=list)

    def add(self, past: Past, after: Verdict) -> None:
        """Count a message."""
        before = past.before
        self.messages += 1
        self.models[before.model] += 1
        self.before[before.label] += 1
        self.after[after.label] += 1
        self.shift += after.score - before.score
        self.distance += abs(after.score - before.score)
        if before.label == after.label:
            return
        self.to_spam += after.label == "spam"
        self.to_ham += after.label == "ham"
        kept = (abs(after.score - before.score), self.messages, Change(past, after))
        heapq.heappush(self._furthest, kept)
        if len(self._furthest) > self.most:
            heapq.heappop(self._furthest)

    @property
    def changed(self) -> int:
        """Messages that would get the other label."""
        return self.to_spam + self.to_ham

    @property
    def examples(self) -> list[Change]:
        """Those that move furthest, furthest first."""
        return [change for _, _, change in sorted(self._furthest, key=lambda kept: kept[:2])[::-1]]

    def as_json(self, show_text: bool) -> str:
        """One object."""
        count = max(1, self.messages)
        return json.dumps(
            {
                "messages": self.messages,
                "gone": self.gone,
                "candidate": self.candidate,
                "models": dict(self.models),
                "spam_before": self.before["spam"],
                "spam_after": self.after["spam"],
                "changed": {"to_spam": self.to_spam, "to_ham": self.to_ham},
                "agreement": round(1 - self.changed / count, 6),
                "score_shift": round(self.shift / count, 6),
                "score_distance": round(self.distance / count, 6),
                "examples": [change.as_json(show_text) for change in self.examples],
            },
            ensure_ascii=False,
        )

    def lines(self, show_text: bool) -> list[str]:
        """The same for people."""
        if not self.messages:
            return [f"no messages to score again ({self.gone:,} are gone from the stream)"]
        judges = ", ".join(f"{model} ({count:,})" for model, count in self.models.most_common())
        gone = f", {self.gone:,} more are gone from the stream" if self.gone else ""
        lines = [
            f"{self.messages:,} messages{gone}; judged by {judges}",
            f"spam then {self.before['spam']:,}, by {self.candidate} {self.after['spam']:,}",
            f"{self.changed:,} would change ({self.changed / self.messages:.2%}): "
            f"{self.to_spam:,} to spam, {self.to_ham:,} to ham",
            f"scores move by {self.distance / self.messages:.4f}, "
            f"{self.shift / self.messages:+.4f} in the mean",
        ]
        return lines + [_example(change, show_text) for change in self.examples]


def replay(candidate: Classifier, chunks: Iterable[Sequence[Past]], found: Replayed) -> Replayed:
    """Score chunks of the past with the candidate, and count into ``found``."""
    for chunk in chunks:
        for past, after in zip(chunk, candidate.classify([p.text for p in chunk]), strict=True):
            found.add(past, after)
    return found


def from_file(path: Path, column: str, served: Classifier) -> Iterator[list[Past]]:
    """The rows of a file, judged by what is served."""
    with Source(path, column) as source:
        for rows in source:
            verdicts = served.classify([row.text for row in rows])
            yield [
                Past(row.where, row.text, verdict)
                for row, verdict in zip(rows, verdicts, strict=True)
            ]


def from_streams(
    client: redis.Redis,
    verdicts: str,
    messages: str,
    since_ms: int,
    found: Replayed,
    text_field: bytes = DEFAULT_NAMES.text,
) -> Iterator[list[Past]]:
    """The verdicts given since a time, with the texts that the input stream still holds.

    Counts those that it no longer holds. Raises UnavailableError where Redis does not answer.
    """
    start = f"{since_ms}-0"
    while True:
        with translated():
            page: Any = client.xrange(verdicts, start, "+", count=CHUNK)
        if not page:
            return
        start = f"({page[-1][0].decode()}"
        judged = [
            (fields[b"entry"].decode(), _verdict(fields))
            for _, fields in page
            if fields.keys() >= NEEDED  # whoever else writes there
        ]
        texts = _texts(client, messages, [entry for entry, _ in judged], text_field)
        found.gone += sum(text is None for text in texts)
        yield [
            Past(entry, text, verdict)
            for (entry, verdict), text in zip(judged, texts, strict=True)
            if text is not None
        ]


def _texts(client: redis.Redis, stream: str, ids: Sequence[str], field: bytes) -> list[str | None]:
    pipeline = client.pipeline(transaction=False)
    for id_ in ids:
        pipeline.xrange(stream, id_, id_)
    with translated():
        found: Any = pipeline.execute()
    raw = [entries[0][1].get(field) if entries else None for entries in found]
    return [None if text is None else text.decode(errors="replace") for text in raw]


def _verdict(fields: dict[bytes, bytes]) -> Verdict:
    label: Label = "spam" if fields[b"label"] == b"spam" else "ham"
    score, threshold = (float(fields[name]) for name in (b"score", b"threshold"))
    return Verdict(label, score, threshold, fields[b"model"].decode())


def _example(change: Change, show_text: bool) -> str:
    before, after = change.past.before, change.after
    line = (
        f"{change.past.where}\t{before.label} {before.score:.4f}\t{after.label} {after.score:.4f}"
    )
    return f"{line}\t{printable(change.past.text)}" if show_text else line
