"""The shape of a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LARGEST = 2**20
"""No size of a model is above this: larger ones would overflow where they are multiplied."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of a backbone, in the words of GPT-2's own configuration.

    n_kv_head: heads that share keys and values, 0 for n_head · n_inner: the MLP's width inside, 0
    for 4 * n_embd · rope_theta: base of the rotary positions. The first and last are Llama's alone.
    """

    vocab_size: int
    n_positions: int
    n_layer: int
    n_head: int
    n_embd: int
    family: Literal["gpt2", "llama"] = "gpt2"
    norm_epsilon: float = 1e-5
    n_kv_head: int = 0
    n_inner: int = 0
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.n_positions, self.n_layer, self.n_head, self.n_embd)
        if min(sizes) < 1 or min(self.n_kv_head, self.n_inner) < 0:
            raise ValueError("every size of a model must be at least 1")
        if max(*sizes, self.n_kv_head, self.n_inner) > LARGEST:
            raise ValueError(f"no size of a model is above {LARGEST}")
        if not (0 < self.norm_epsilon < 1 and 1 <= self.rope_theta < 1e12):
            raise ValueError("norm_epsilon or rope_theta is out of its range")
        if self.n_embd % self.n_head:
            raise ValueError(f"width {self.n_embd} does not divide by {self.n_head} heads")
        if self.n_head % self.kv_heads:
            raise ValueError(f"{self.n_head} heads do not divide by {self.kv_heads} of keys")
        if self.family == "gpt2" and self.kv_heads != self.n_head:
            raise ValueError("GPT-2 has as many heads of keys as of queries")
        if self.family == "llama" and self.head_width % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.head_width}")

    @property
    def head_width(self) -> int:
        """Channels of one head."""
        return self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_kv_head or self.n_head

    @property
    def inner(self) -> int:
        """The MLP's width inside."""
        return self.n_inner or 4 * self.n_embd
