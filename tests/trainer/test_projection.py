"""A pretrained embedding through few channels starts at its principal axes; its rows stay."""

from __future__ import annotations

import torch

from trainer.projection import STD, ProjectedEmbedding, centred


def table() -> torch.Tensor:
    """Rows that vary along two directions above all, 0 and 1, and hardly along the other six."""
    generator = torch.Generator().manual_seed(3)
    spread = torch.tensor([9.0, 4.0, *[0.01] * 6])
    return centred(torch.randn(50, 8, generator=generator) * spread)


def test_starts_from_the_principal_axes() -> None:
    rows = table()
    projected = ProjectedEmbedding(rows, 2)
    axes = projected.axes.detach()
    assert axes.shape == (8, 2)
    assert axes[0].abs()[0] > 100 * axes[2:].abs().max()
    assert axes[1].abs()[1] > 100 * axes[2:].abs().max()
    assert torch.isclose(projected.weight.std(), torch.tensor(STD))


def test_what_is_served_is_what_was_trained() -> None:
    projected = ProjectedEmbedding(table(), 3)
    torch.nn.init.normal_(projected.shift, generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([4, 0, 49, 4])
    assert torch.allclose(projected(tokens), projected.weight[tokens], atol=1e-6)


def test_the_table_stays() -> None:
    projected = ProjectedEmbedding(table(), 3)
    assert [name for name, _ in projected.named_parameters()] == ["axes", "shift"]
    projected(torch.tensor([1, 2])).sum().backward()
    assert projected.axes.grad is not None
    assert projected.shift.grad is not None
    assert projected.shift.grad.abs().sum(1).nonzero().flatten().tolist() == [1, 2]
    assert not projected.table.requires_grad
