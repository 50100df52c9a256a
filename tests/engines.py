"""Engines for tests: of changed manifests, on one thread, and what they are given to score."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from hypothesis import strategies as st

from filterd.artifact import Artifact
from filterd.engine import Engine
from filterd.precision import Wanted

some_texts = st.lists(st.text(max_size=100), min_size=1, max_size=8)


@contextmanager
def one_thread() -> Iterator[None]:
    """Small matrices are slower on several threads, and much slower on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def engine_of(
    loaded: Artifact,
    *,
    max_batch_tokens: int = 4096,
    precision: Wanted = "auto",
    **manifest: object,
) -> Engine:
    """An engine of an artifact whose manifest says something else."""
    changed = replace(loaded, manifest=loaded.manifest.model_copy(update=manifest))
    return Engine(
        changed, device="cpu", precision=precision, max_batch_tokens=max_batch_tokens, threads=1
    )
