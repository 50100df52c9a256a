"""Smaller vocabularies: what a kind of message never uses need not be served."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from filterd.tokenizer import Tokenizer
from trainer.pretrained.vocabularies import last_merge


def cut_vocabulary(tokenizer: Tokenizer, used: Collection[int]) -> tuple[Tokenizer, list[int]]:
    """Keep the tokens that are used, the 256 bytes and all that their merges go through.

    Texts of kept tokens are encoded as before, because merging takes the same steps; any other
    text is encoded to shorter tokens. Returns the tokenizer and the old id of each of its ids,
    the end of text last. Raises ValueError for an id that the tokenizer has not.
    """
    if unknown := set(used) - set(range(tokenizer.vocab_size)):
        raise ValueError(f"the vocabulary has no token {min(unknown)}")
    return cut_to_size(tokenizer, used, tokenizer.vocab_size)


def cut_to_size(
    tokenizer: Tokenizer, wanted: Iterable[int], vocab_size: int
) -> tuple[Tokenizer, list[int]]:
    """As ``cut_vocabulary``, of the tokens wanted the first that fit into ``vocab_size`` ids."""
    ranks = tokenizer.ranks
    token_of = {rank: token for token, rank in ranks.items()}
    kept = {bytes([byte]) for byte in range(256)}
    for index in wanted:
        if index == tokenizer.end_of_text:
            continue
        needed = _needed(token_of[index], kept, ranks)
        if len(kept) + len(needed) + 1 > vocab_size:
            break
        kept |= needed
    ordered = sorted(kept, key=ranks.__getitem__)
    smaller = Tokenizer({token: rank for rank, token in enumerate(ordered)}, tokenizer.pattern)
    return smaller, [*(ranks[token] for token in ordered), tokenizer.end_of_text]


def _needed(token: bytes, kept: Collection[bytes], ranks: Mapping[bytes, int]) -> set[bytes]:
    """A token and all that its merges go through, without what is kept already."""
    needed: set[bytes] = set()
    waiting = [token]
    while waiting:
        token = waiting.pop()
        if token not in kept and token not in needed:
            needed.add(token)
            # None: a word that is this token is taken whole, and no merge leads to it.
            waiting += last_merge(token, lambda left, right: ranks.get(left + right)) or ()
    return needed
