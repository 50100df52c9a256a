"""What the engine is measured against: the article's way, transformers, and bare products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know
from transformers import GPT2Config, GPT2ForSequenceClassification

from filterd.model import ModelConfig
from tests.bench.article.plain import PlainGPT2, plain_weights

ARTICLE_LENGTH = 120
HF_BATCH = 32
Ids = list[int]


def article(config: ModelConfig, weights: dict[str, Tensor]) -> Callable[[Sequence[Ids]], None]:
    """The article's ``classify_review``: one message, padded to 120, the head at all positions."""
    model = PlainGPT2(config).eval()
    model.load_state_dict(plain_weights(weights))
    padding = config.vocab_size - 1

    @torch.no_grad()
    def classify_review(ids: Ids) -> int:
        kept = ids[:ARTICLE_LENGTH]
        inputs = torch.tensor(kept + [padding] * (ARTICLE_LENGTH - len(kept)))[None]
        return int(model(inputs)[:, -1].argmax(-1))

    def run(messages: Sequence[Ids]) -> None:
        for ids in messages:
            classify_review(ids)

    return run


def hugging_face(
    config: ModelConfig,
    weights: dict[str, Tensor],
    *,
    by_length: bool,
    device: str = "cpu",
    size: int = HF_BATCH,
) -> Callable[[Sequence[Ids]], None]:
    """transformers' classifier over padded batches, in arrival order or by length.

    In fp32 on a CPU, in bf16 on a GPU.
    """
    padding = config.vocab_size - 1
    model = GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.n_positions,
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
            num_labels=2,
            pad_token_id=padding,
            eos_token_id=padding,
            bos_token_id=padding,
            use_cache=False,
        )
    ).eval()
    transposed = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    renamed = {
        f"transformer.{k}": v.t() if k.endswith(transposed) else v for k, v in weights.items()
    }
    renamed["score.weight"] = renamed.pop("transformer.head.weight")
    renamed.pop("transformer.head.bias")
    model.load_state_dict(renamed)
    model.to(device, torch.float32 if device == "cpu" else torch.bfloat16)

    @torch.inference_mode()
    def run(messages: Sequence[Ids]) -> None:
        ordered = sorted(messages, key=len) if by_length else messages
        for first in range(0, len(ordered), size):
            rows = ordered[first : first + size]
            longest = max(map(len, rows))
            inputs = torch.tensor([ids + [padding] * (longest - len(ids)) for ids in rows])
            mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in rows])
            given = {"input_ids": inputs.to(device), "attention_mask": mask.to(device)}
            model(**given).logits.softmax(-1)[:, 1].tolist()

    return run


def products(config: ModelConfig) -> list[tuple[int, int]]:
    """Inputs and outputs of a GPT-2 block's four linear layers."""
    width = config.n_embd
    return [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]


def operations(config: ModelConfig, lengths: Sequence[int], *, last_only: bool) -> float:
    """Two for each multiplication of the linear layers; all of it, or what ``last`` needs.

    The last block then computes keys and values for each token, the rest for one a message.
    """
    square = 2 * config.n_embd**2
    tokens = sum(lengths)
    whole = 12 * square * tokens
    final = square * (2 * tokens + 10 * len(lengths)) if last_only else whole
    return whole * (config.n_layer - 1) + final


class Peak:
    """The best rate of the model's own products: any layout, all cores on one or one on each."""

    def __init__(
        self, config: ModelConfig, threads: int, clock: Callable[[], float], tokens: int = 512
    ) -> None:
        self._threads, self._clock = threads, clock
        self._pool = ThreadPoolExecutor(threads)
        self._made = [
            (torch.randn(tokens, given), torch.randn(made, given), torch.randn(made))
            for given, made in products(config)
        ]
        self._turned = [weight.t().contiguous() for _, weight, _ in self._made]
        self._operations = sum(2 * w.numel() for _, w, _ in self._made) * tokens
        self._times = max(1, round(2e9 / self._operations))

    @torch.inference_mode()
    def rate(self) -> float:
        """Floating-point operations a second."""
        return max(self._measured())

    def _measured(self) -> Iterator[float]:
        for work in (self._plain, self._transposed):
            work()
            started = self._clock()
            work()
            yield self._operations * self._times / (self._clock() - started)
            started = self._clock()
            list(self._pool.map(self._alone, [work] * self._threads))
            yield self._threads * self._operations * self._times / (self._clock() - started)

    def _alone(self, work: Callable[[], None]) -> None:
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)
        with torch.inference_mode():
            work()

    def _plain(self) -> None:
        for _ in range(self._times):
            for hidden, weight, bias in self._made:
                F.linear(hidden, weight, bias)

    def _transposed(self) -> None:
        for _ in range(self._times):
            for (hidden, _, bias), weight in zip(self._made, self._turned, strict=True):
                torch.addmm(bias, hidden, weight)
