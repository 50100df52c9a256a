"""A byte-pair vocabulary of one's own, learned from the training split."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as HuggingFaceTokenizer

from filterd.tokenizer import Tokenizer
from trainer.pretrained.vocabularies import BYTE_OF

WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+$|\s+(?!\S)|\s"
"""filterd.tokenizer.GPT2_PATTERN without possessive quantifiers, which this library lacks."""


def learn(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn merges until there are ``vocab_size`` tokens, the end-of-text token among them.

    Small data yields fewer. The 256 bytes come first, then the merges in the order learned.
    """
    learner = HuggingFaceTokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        initial_alphabet=sorted(BYTE_OF),
        show_progress=False,
        special_tokens=[],
    )
    learner.train_from_iterator(texts, trainer)
    return Tokenizer(_ranks(json.loads(learner.to_str())["model"]["merges"]))


def _ranks(merges: Iterable[tuple[str, str]]) -> dict[bytes, int]:
    ranks = {bytes([byte]): byte for byte in range(256)}
    for left, right in merges:
        ranks.setdefault(_bytes(left) + _bytes(right), len(ranks))
    return ranks


def _bytes(token: str) -> bytes:
    return bytes(BYTE_OF[character] for character in token)
