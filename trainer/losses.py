"""What is minimised, and the log-odds that validation and calibration start from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.model import SpamModel
from trainer.calibration import Floats
from trainer.readers import Reader

BATCH = 64
"""Messages scored at once: near lengths together."""


def class_weights(targets: Tensor, balance: float, weights: Tensor | None = None) -> Tensor:
    """Weights of ham and spam, (2,), mean 1 over the messages.

    targets: P(spam), (B,) · weights: the messages' own, (B,), all 1 where None.
    """
    each = (torch.ones_like(targets) if weights is None else weights).double()
    spam = (targets * each).sum()
    counts = torch.stack((each.sum() - spam, spam)).clamp(min=1e-9).float()
    raw = counts**-balance
    return raw * counts.sum() / (raw * counts).sum()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Loss of each message, (B,), in nats: logits (B, 2) against P(spam), (B,)."""
    log = F.log_softmax(logits, dim=-1)
    return -(log[:, 0] * (1 - targets) + log[:, 1] * targets)


@torch.inference_mode()
def log_odds_of(model: SpamModel, first: int, reader: Reader) -> Floats:
    """Spam's logit above ham's for each message of the plain view, (B,), in order."""
    lengths = [len(span) for span in reader.view(0).ids]
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    found = np.empty(len(lengths))
    for place in range(0, len(order), BATCH):
        batch = order[place : place + BATCH]
        hidden, packed = reader.batch(model, 0, batch)
        logits = model.classify(model.through(hidden, packed, first, model.config.n_layer))
        indices = [batch[position] for position in packed.order.tolist()]
        found[indices] = (logits[:, 1] - logits[:, 0]).cpu().numpy()
    return found
