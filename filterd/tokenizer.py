"""Text to token ids: a byte-pair vocabulary and the windows that a model can read.

The vocabulary is kept in tiktoken's own format, one ``base64(token) rank`` a line, so that an
artifact needs no download. The end-of-text token is the id after the last rank; it closes every
window and can never be produced by a message, whatever its text says.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence

import tiktoken

from filterd.errors import ArtifactError

GPT2_PATTERN = (
    r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
)
"""GPT-2's split into words, as tiktoken writes it (possessive, so that it never backtracks)."""
DIGITS_PATTERN = (
    r"""'(?:[sdmt]|ll|ve|re)|\p{N}| ?\p{L}++| ?[^\s\p{L}\p{N}]++|\s++(?=\p{N}|$)|\s+(?!\S)|\s"""
)
"""SmolLM2's split into words: every digit alone, GPT-2's split between them.

White space before a digit stays whole, because there GPT-2's split sees the end of its text. Equal
for every character but 13 digits of Unicode 17 (U+11DE0 to 9, U+16FF4 to 6), which tiktoken's
tables do not know yet.
"""
PATTERNS = (GPT2_PATTERN, DIGITS_PATTERN)
"""Those that served artifacts may use: another could match nothing, or take for ever."""


class Tokenizer:
    """A byte-pair tokenizer.

    ranks: every token's bytes and its rank, which is its id. The 256 single bytes must be there,
    so that any text can be encoded. Raises ArtifactError where they are not, or where the
    pattern is no regular expression.
    """

    def __init__(self, ranks: Mapping[bytes, int], pattern: str = GPT2_PATTERN) -> None:
        missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
        if missing:
            raise ArtifactError(f"the vocabulary lacks {len(missing)} of the 256 single bytes")
        if sorted(ranks.values()) != list(range(len(ranks))):
            raise ArtifactError("the vocabulary's ranks are not 0, 1, 2 … without a gap")
        self.ranks = dict(ranks)
        self.pattern = pattern
        try:
            self._encoding = tiktoken.Encoding(
                "filterd",
                pat_str=pattern,
                mergeable_ranks=self.ranks,
                special_tokens={"<|endoftext|>": self.end_of_text},
            )
        except ValueError as error:
            raise ArtifactError("the vocabulary's pattern is no regular expression") from error

    @property
    def end_of_text(self) -> int:
        """The id that closes a message."""
        return len(self.ranks)

    @property
    def vocab_size(self) -> int:
        """Ranks and the end-of-text token."""
        return len(self.ranks) + 1

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, without the end-of-text token."""
        return self._encoding.encode_ordinary(text)

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """What each token stands for; a token may hold a part of a character."""
        return [self._encoding.decode_single_token_bytes(id_) for id_ in ids]

    @classmethod
    def from_bytes(cls, data: bytes, pattern: str = GPT2_PATTERN) -> Tokenizer:
        """Read tiktoken's format. Raises ArtifactError with the line that does not fit."""
        ranks: dict[bytes, int] = {}
        for number, line in enumerate(data.splitlines(), start=1):
            try:
                token, rank = line.split()
                ranks[base64.b64decode(token, validate=True)] = int(rank)
            except (ValueError, binascii.Error) as error:
                raise ArtifactError(f"the vocabulary's line {number} is damaged") from error
        return cls(ranks, pattern)

    def to_bytes(self) -> bytes:
        """Write tiktoken's format, in the order of the ranks."""
        ordered = sorted(self.ranks.items(), key=lambda item: item[1])
        return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ordered)


def windows(ids: Sequence[int], max_length: int, end_of_text: int) -> list[list[int]]:
    """Cut a message into overlapping windows that a model of ``max_length`` tokens can read.

    Each window closes with the end-of-text token. Neighbours overlap by half, so that whatever
    stands within half a window of text is seen whole by one of them.
    """
    room = max_length - 1
    return [
        [*ids[start : start + room], end_of_text] for start in window_starts(len(ids), max_length)
    ]


def window_starts(count: int, max_length: int) -> list[int]:
    """Where the windows of a message of ``count`` tokens begin."""
    room = max_length - 1
    if count <= room:
        return [0]
    stride = max(1, room // 2)
    return [*range(0, count - room, stride), count - room]


def padded(ids: Sequence[int], length: int, end_of_text: int) -> list[list[int]]:
    """The article's way: cut at ``length`` tokens, then fill up with end-of-text to ``length``."""
    kept = list(ids[:length])
    return [kept + [end_of_text] * (length - len(kept))]
