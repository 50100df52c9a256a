"""The classifier: a causal decoder whose head has two classes, over messages packed end to end.

Read in this order: ``config``, ``attention`` over a packed batch, the blocks of the two families
(``gpt2`` with its ``table``, ``llama``), the model (``decoder``). The last block computes keys and
values for every token, and everything else for the one token a message that the head reads.

Parameter names equal the keys of a Hugging Face checkpoint: GPT-2's, and for Llama-like models
those below ``model.``.
"""

from filterd.model.config import LARGEST, ModelConfig
from filterd.model.decoder import SpamModel

__all__ = ["LARGEST", "ModelConfig", "SpamModel"]
