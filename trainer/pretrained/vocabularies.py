"""Byte-pair vocabularies of other people's checkpoints as the daemon's own tokenizer.

A checkpoint lists its merges in order and applies the first that fits; tiktoken, which the daemon
uses, joins whichever neighbours make the token of the lowest rank, and takes a word that is a
token as it is. Both give the same where every token is what its own bytes are merged to, and
ranks follow the merges: whatever lies in a text as two neighbours that make up a token got there
as it does when the token stands alone. So tokens that merging never reaches, which the checkpoint
cannot produce either, are left out, and the others are ranked by the merge that makes them.

Special tokens are left out as well (no message can produce one), but for the end of text, which
becomes the id after the last rank. Bytes that a vocabulary lacks are given ids at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import tiktoken
import torch
from torch import Tensor

from filterd.errors import ArtifactError, UnavailableError
from filterd.tokenizer import DIGITS_PATTERN, GPT2_PATTERN, Tokenizer
from trainer.pretrained.weights import read_json

END_OF_TEXT = "<|endoftext|>"
TOKENIZER = "tokenizer.json"
PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
"""The names of GPT-2's two files, Hugging Face's and OpenAI's own."""


def _letters() -> dict[str, int]:
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    plain += range(ord("®"), ord("ÿ") + 1)
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + index): byte for index, byte in enumerate(others)
    }


BYTE_OF = _letters()
"""The byte that each character of a byte-level vocabulary stands for, as GPT-2 began it."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer and the checkpoint's own id of each of its ids, the end of text last.

    None stands for a byte that the checkpoint cannot represent.
    """

    tokenizer: Tokenizer
    token_ids: tuple[int | None, ...]

    def rows_of(self, embedding: Tensor, where: str) -> Tensor:
        """The embedding's rows in the tokenizer's order, (vocabulary, C).

        A byte without a row gets the mean of all rows (Hewitt, 2021). Zeros would be read through
        RMSNorm, whose gradient at zero is as large as one over the root of its epsilon.
        Raises ArtifactError where there are fewer rows than ids.
        """
        known = [token_id for token_id in self.token_ids if token_id is not None]
        if max(known) >= len(embedding):
            raise ArtifactError(f"{where}: {len(embedding)} rows for a token id of {max(known)}")
        if self.token_ids == tuple(range(len(embedding))):
            return embedding
        rows = torch.tensor([len(embedding) if i is None else i for i in self.token_ids])
        mean = embedding[torch.tensor(known)].mean(0, keepdim=True)
        return torch.cat((embedding, mean))[rows]


def from_merges(
    ids: Mapping[str, int], merges: Sequence[Any], closing: int, pattern: str, where: str
) -> Vocabulary:
    """A vocabulary from a checkpoint's ids and its merges, each ``"a b"`` or ``["a", "b"]``.

    closing: the id that ends a text. Raises ArtifactError where a merge is of or to no token.
    """
    named = {_bytes(token): index for token, index in ids.items() if set(token) <= BYTE_OF.keys()}
    rules = {pair: rank for rank, pair in enumerate(_pair(merge, where) for merge in merges)}
    for left, right in rules:
        if not {left, right, left + right} <= named.keys():
            raise ArtifactError(f"{where}: the merge of {left!r} and {right!r} is of no token")
    singles = sorted((token for token in named if len(token) == 1), key=named.__getitem__)
    ranked = {}
    for token in {left + right for left, right in rules}:
        pair = last_merge(token, lambda left, right: rules.get((left, right)))
        if pair is not None:
            ranked[token] = rules[pair]
    absent = [bytes([byte]) for byte in range(256) if bytes([byte]) not in named]
    ordered = [*singles, *sorted(ranked, key=ranked.__getitem__), *absent]
    tokenizer = Tokenizer({token: rank for rank, token in enumerate(ordered)}, pattern)
    return Vocabulary(tokenizer, (*(named.get(token) for token in ordered), closing))


def last_merge(
    token: bytes, rank_of: Callable[[bytes, bytes], int | None]
) -> tuple[bytes, bytes] | None:
    """The two parts that a token is merged from when it stands alone, None if it never is.

    rank_of: the rank of a merge, the lowest goes first, None if there is no such merge.
    """
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        best = min(
            (
                (rank, index)
                for index, pair in enumerate(pairwise(parts))
                if (rank := rank_of(*pair)) is not None
            ),
            default=None,
        )
        if best is None:
            return None
        index = best[1]
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    if len(parts) < 2 or rank_of(*parts) is None:
        return None
    return parts[0], parts[1]


def end_of_text(ids: Mapping[str, int], otherwise: object, where: str) -> int:
    """The id of ``<|endoftext|>``, otherwise the one that the configuration names."""
    if END_OF_TEXT in ids:
        return ids[END_OF_TEXT]
    if isinstance(otherwise, list) and otherwise:
        otherwise = otherwise[0]
    if isinstance(otherwise, int) and otherwise >= 0:
        return otherwise
    raise ArtifactError(f"{where}: the vocabulary has no {END_OF_TEXT}, nor an eos_token_id")


def of_folder(folder: Path, config: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of a Hugging Face folder, whose config.json is given.

    Raises ArtifactError where there is none, or one that the tokenizer cannot equal.
    """
    if (folder / TOKENIZER).is_file():
        return from_tokenizer_json(folder / TOKENIZER, config.get("eos_token_id"))
    found = of_pair(folder) if config.get("model_type") == "gpt2" else None
    if found is None:
        raise ArtifactError(
            f"{folder} holds no {TOKENIZER}, nor a GPT-2's vocab.json and merges.txt"
        )
    return found


def of_pair(folder: Path) -> Vocabulary | None:
    """GPT-2's vocabulary from its two files, None where they are not in the folder."""
    for vocabulary, merges in PAIRS:
        if (folder / vocabulary).is_file() and (folder / merges).is_file():
            ids = _checked_ids(read_json(folder / vocabulary), str(folder / vocabulary))
            try:
                lines = (folder / merges).read_text(encoding="utf-8").split("\n")
            except (OSError, ValueError) as error:
                raise ArtifactError(f"{folder / merges} cannot be read: {error}") from error
            listed = [line for line in lines if line.strip() and not line.startswith("#version")]
            closing = end_of_text(ids, None, str(folder / vocabulary))
            ids.pop(END_OF_TEXT)
            return from_merges(ids, listed, closing, GPT2_PATTERN, str(folder / merges))
    return None


def of_tiktoken() -> Vocabulary:
    """GPT-2's vocabulary as tiktoken downloads and keeps it. Raises UnavailableError."""
    from requests import RequestException

    try:
        encoding = tiktoken.get_encoding("gpt2")
    except (RequestException, OSError) as error:
        raise UnavailableError(
            "GPT-2's vocabulary cannot be downloaded: put its vocab.json and merges.txt "
            "(or encoder.json and vocab.bpe) beside the weights"
        ) from error
    tokenizer = Tokenizer(encoding._mergeable_ranks)
    return Vocabulary(tokenizer, tuple(range(tokenizer.vocab_size)))


def from_tokenizer_json(path: Path, eos_token_id: object) -> Vocabulary:
    """A vocabulary of the form that Hugging Face's tokenizers write.

    Raises ArtifactError where the file asks for what the daemon's tokenizer does not do.
    """
    content = read_json(path)
    where = str(path)
    model = content.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("merges"), list):
        raise ArtifactError(f"{where} is no byte-pair vocabulary")
    asked = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    if unknown := [name for name in (*asked, "ignore_merges") if model.get(name)]:
        raise ArtifactError(f"{where} asks for {', '.join(unknown)}, which is not supported")
    if content.get("normalizer"):
        raise ArtifactError(f"{where} changes texts before it splits them, which is not supported")
    pattern = _pattern(content.get("pre_tokenizer"), where)
    ids = _checked_ids(model.get("vocab"), where)
    added = {}
    for token in content.get("added_tokens") or ():
        if not token.get("special"):
            raise ArtifactError(f"{where} adds {token.get('content')!r} outside its merges")
        added[token["content"]] = token["id"]
    closing = end_of_text(ids | added, eos_token_id, where)
    ordinary = {token: index for token, index in ids.items() if token not in added}
    return from_merges(ordinary, model["merges"], closing, pattern, where)


def _pattern(pre_tokenizer: Any, where: str) -> str:
    """The regular expression that splits as a pre-tokenizer does."""
    steps = pre_tokenizer or {}
    steps = steps.get("pretokenizers", []) if steps.get("type") == "Sequence" else [steps]
    kinds = [step.get("type") for step in steps]
    plain = not any(step.get("add_prefix_space") for step in steps) and all(
        step.get("use_regex", True) for step in steps
    )
    if plain and kinds == ["ByteLevel"]:
        return GPT2_PATTERN
    if plain and kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return DIGITS_PATTERN
    raise ArtifactError(
        f"{where} splits words by {' and '.join(map(str, kinds))}: only GPT-2's split, "
        "alone or after single digits and without a space before, is supported"
    )


def _checked_ids(value: Any, where: str) -> dict[str, int]:
    if not isinstance(value, dict) or not all(isinstance(index, int) for index in value.values()):
        raise ArtifactError(f"{where} holds no token ids")
    if len(set(value.values())) < len(value) or min(value.values(), default=-1) < 0:
        raise ArtifactError(f"{where} gives two tokens the same id")
    return dict(value)


def _pair(merge: Any, where: str) -> tuple[bytes, bytes]:
    parts: Iterable[Any] = merge.split(" ") if isinstance(merge, str) else merge
    match [_bytes(part) if isinstance(part, str) else b"" for part in parts]:
        case [left, right] if left and right:
            return left, right
    raise ArtifactError(f"{where}: {merge!r} is no merge of two tokens")


def _bytes(token: str) -> bytes:
    """The bytes of a byte-level token; empty where a character stands for none."""
    if not set(token) <= BYTE_OF.keys():
        return b""
    return bytes(BYTE_OF[character] for character in token)
