"""The plain side: the article's method written straight down in torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know
from torch.utils.data import DataLoader, Dataset

from filterd.model import ModelConfig
from filterd.tokenizer import Tokenizer
from tests.bench.article.case import Case, Course
from trainer.dataset import Message

Batch = tuple[Tensor, Tensor]
Loader = DataLoader[Batch]
Say = Callable[[str], None]


class PlainAttention(nn.Module):
    """Causal attention over rows of one length, the whole square of weights written out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.n_embd
        self.heads = config.n_head
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, width)

    def forward(self, hidden: Tensor, future: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C); future (T, T): what no token may see."""
        query, key, value = (
            layer(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )  # (B, H, T, D)
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        shares = scores.masked_fill(future, -math.inf).softmax(dim=-1)  # (B, H, T, T)
        return self.c_proj((shares @ value).transpose(1, 2).flatten(2))


class PlainBlock(nn.Module):
    """Attention and MLP, each behind a norm and beside a residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.n_embd
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = PlainAttention(config)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, hidden: Tensor, future: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        hidden = hidden + self.attn(self.ln_1(hidden), future)
        return hidden + self.mlp(self.ln_2(hidden))


class PlainGPT2(nn.Module):
    """GPT-2 with a head of two classes at every position, all but its end frozen."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(PlainBlock(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.head = nn.Linear(config.n_embd, 2)
        square = torch.ones(config.n_positions, config.n_positions, dtype=torch.bool)
        self.register_buffer("future", square.triu(1), persistent=False)
        self.requires_grad_(False)
        for module in (self.h[-1], self.ln_f, self.head):
            module.requires_grad_(True)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, T) to logits (B, T, 2)."""
        length = ids.shape[1]
        hidden = self.wte(ids) + self.wpe(torch.arange(length))
        for block in self.h:
            hidden = block(hidden, self.future[:length, :length])
        return self.head(self.ln_f(hidden))


def plain_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """SpamModel's weights under the plain model's names."""
    renamed = {}
    for name, weight in weights.items():
        name = name.replace("mlp.c_fc", "mlp.0").replace("mlp.c_proj", "mlp.2")
        parts = weight.chunk(3) if "c_attn" in name else (weight,)
        layers = ("query", "key", "value") if "c_attn" in name else ("c_attn",)
        renamed |= {name.replace("c_attn", to): w for to, w in zip(layers, parts, strict=True)}
    return renamed


class PaddedMessages(Dataset[Batch]):
    """Messages tokenised, cut and filled up to one length, with their classes."""

    def __init__(self, messages: Sequence[Message], tokenizer: Tokenizer, length: int) -> None:
        filling = [tokenizer.end_of_text] * length
        encoded = (tokenizer.encode(message.text) for message in messages)
        self._rows = [(ids + filling)[:length] for ids in encoded]
        self._classes = [int(message.label == "spam") for message in messages]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Batch:
        return torch.tensor(self._rows[index]), torch.tensor(self._classes[index])


class PlainLoop:
    """The article's training: a step a batch, looks in between, accuracy behind each epoch."""

    def __init__(self, case: Case, weights: dict[str, Tensor], say: Say) -> None:
        method = case.method
        self.method, self.say = method, say
        self.model = PlainGPT2(case.config)
        self.model.load_state_dict(plain_weights(weights))
        split = [
            PaddedMessages(m, case.tokenizer, case.length) for m in (case.learned, case.checked)
        ]
        self.loaders: tuple[Loader, Loader] = (
            DataLoader(split[0], method.batch_size, shuffle=True, drop_last=True),
            DataLoader(split[1], method.batch_size),
        )
        self.optimizer = torch.optim.AdamW(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=method.learning_rate,
            weight_decay=method.weight_decay,
        )
        self.course = Course([], [])

    def run(self) -> Course:
        """All epochs."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.method.seed)
            for _ in range(self.method.epochs):
                self.model.train()
                for ids, classes in self.loaders[0]:
                    self._step(ids, classes)
                    if (len(self.course.losses) - 1) % self.method.every == 0:
                        self._look("loss", self._loss)
                self._look("accuracy", self._accuracy)
        return self.course

    def _step(self, ids: Tensor, classes: Tensor) -> None:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(ids)[:, -1], classes)
        loss.backward()
        self.optimizer.step()
        self.course.losses.append(loss.item())

    @torch.no_grad()
    def _look(self, what: str, measure: Callable[[Loader], float]) -> None:
        self.model.eval()
        found = (measure(self.loaders[0]), measure(self.loaders[1]))
        self.model.train()
        self.course.looks.append(found)
        self.say(
            f"step {len(self.course.losses)} · {what} {found[0]:.3f}, validation {found[1]:.3f}"
        )

    def _loss(self, loader: Loader) -> float:
        return statistics.fmean(
            F.cross_entropy(logits, classes).item() for logits, classes in self._scored(loader)
        )

    def _accuracy(self, loader: Loader) -> float:
        right = [(logits.argmax(-1) == classes) for logits, classes in self._scored(loader)]
        return torch.cat(right).float().mean().item()

    def _scored(self, loader: Loader) -> Iterator[Batch]:
        """Logits (B, 2) and classes (B,) of the loader's first batches."""
        for ids, classes in islice(loader, self.method.looked_at):
            yield self.model(ids)[:, -1], classes
