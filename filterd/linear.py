"""Linear layers as a CPU serves them: weights laid out once, for the products that follow.

``for_serving`` swaps them into a model. Both compute what ``nn.Linear`` does, int8 nearly so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

WEIGHT_STEPS = 63
"""Weights take 7 bits: without VNNI a CPU adds two products of bytes in 16 bits, which 255 * 63 * 2
just fits."""
ACTIVATION_STEPS = 127
SMALLEST = 1e-12
"""Where a row of weights or activations is all zeros, its step must not be."""


class Rows(nn.Module):
    """Some of a linear layer's outputs, from its own weights: it has none, and shares gradients."""

    def __init__(self, linear: nn.Linear, first: int, stop: int) -> None:
        super().__init__()
        self.whole = (linear,)  # in a tuple, or its weights would be in the state twice
        self.rows = slice(first, stop)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, in) to (N, stop - first)."""
        (linear,) = self.whole
        return F.linear(inputs, linear.weight[self.rows], linear.bias[self.rows])

    def alone(self) -> nn.Linear:
        """The same as a layer of its own, over the same memory."""
        (linear,) = self.whole
        with torch.device("meta"):
            made = nn.Linear(linear.in_features, self.rows.stop - self.rows.start)
        made.weight = nn.Parameter(linear.weight[self.rows], requires_grad=False)
        made.bias = nn.Parameter(linear.bias[self.rows], requires_grad=False)
        return made


class TransposedLinear(nn.Module):
    """A linear layer whose weight lies as the product reads it, (in, out): up to a fifth faster."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight.detach().t().contiguous()
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        if self.bias is None:
            return inputs @ self.weight
        return torch.addmm(self.bias, inputs, self.weight)


class Int8Linear(nn.Module):
    """A linear layer over bytes: a step for each output's weights, a step for each token's inputs.

    A token's step is its own largest input / 127, so no other token of the batch can move it
    (LLM.int8(), Dettmers et al., 2022, section 2). Through oneDNN on plain int8 tensors: torch's
    quantized tensor types, which FBGEMM's layers take, are deprecated, and ``torch._int_mm`` is
    thirty times slower than fp32 where the CPU has no VNNI.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.steps = (weight.abs().amax(1) / WEIGHT_STEPS).clamp_min(SMALLEST)
        whole = (weight / self.steps[:, None]).round_().to(torch.int8)
        self.weight = torch.ops.onednn.qlinear_prepack(whole, None)
        self.zeros = torch.zeros(len(whole), dtype=torch.int8)
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        largest = inputs.abs().amax(-1, keepdim=True).clamp_min_(SMALLEST)  # (N, 1)
        whole = (inputs * (ACTIVATION_STEPS / largest)).add_(128.5).to(torch.uint8)  # rounds
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(whole, 1.0, 128),
            *(self.weight, self.steps, self.zeros, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        steps = largest.div_(ACTIVATION_STEPS)
        if self.bias is None:
            return product.mul_(steps)
        return torch.addcmul(self.bias, product, steps, out=product)


def for_serving(blocks: Iterable[nn.Module], make: Callable[[nn.Linear], nn.Module]) -> None:
    """Swap the linear layers of a model's blocks.

    Of the last block, which computes queries for one token a message, it swaps what serves them.
    """
    *others, last = blocks
    for block in others:
        _swap(block, make, rows=False)
    _swap(last, make, rows=True)


def _swap(module: nn.Module, make: Callable[[nn.Linear], nn.Module], *, rows: bool) -> None:
    children = dict(module.named_children())
    divided = [child.whole[0] for child in children.values() if isinstance(child, Rows)]
    for name, child in children.items():
        if isinstance(child, Rows):
            if rows:
                setattr(module, name, make(child.alone()))
        elif isinstance(child, nn.Linear):
            if not (rows and child in divided):
                setattr(module, name, make(child))
        else:
            _swap(child, make, rows=rows)
