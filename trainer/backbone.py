"""Where a run starts: random weights, a pretrained backbone, or a pretrained embedding alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from filterd.errors import SettingsError
from filterd.model import ModelConfig, SpamModel
from filterd.normalizer import normalizer
from filterd.tokenizer import Tokenizer
from trainer import pretrained, vocabulary
from trainer.distributed import CPU
from trainer.optimising import is_token_embedding
from trainer.pretrained import Pretrained, cut_to_size
from trainer.projection import ProjectedEmbedding, centred
from trainer.recipe import RANDOM, Recipe

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Start:
    """A model before its first step.

    weights: by SpamModel's parameter names, those that are not random · table: a pretrained token
    embedding (V, W) to be projected to n_embd channels · origin: whose they are · device: what
    models are built on.
    """

    config: ModelConfig
    tokenizer: Tokenizer
    weights: dict[str, Tensor] = field(default_factory=dict)
    table: Tensor | None = None
    origin: dict[str, str] = field(default_factory=dict)
    device: torch.device = CPU

    def build(self, recipe: Recipe) -> SpamModel:
        """The model, in fp32, with all that the recipe freezes frozen.

        What is random is drawn from the recipe's seed: as GPT-2 draws it in a model of ours, as
        torch draws a linear layer in the head of a pretrained one.
        """
        with torch.device("meta"):
            model = SpamModel(self.config, recipe.dropout)
        model.to_empty(device="cpu")
        if recipe.backbone == RANDOM:
            model.initialise(torch.Generator().manual_seed(recipe.seed))
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(recipe.seed)
                model.head.reset_parameters()
        model.load_state_dict(self.weights, strict=False)
        if self.table is not None:
            embedding = ProjectedEmbedding(self.table, self.config.n_embd)
            model.set_submodule(self.embedding_name, embedding)
        if recipe.zero_head:
            nn.init.zeros_(model.head.weight)
            nn.init.zeros_(model.head.bias)
        model.to(self.device).requires_grad_(False)
        for parameter in trainable_parameters(model, recipe).values():
            parameter.requires_grad_(True)
        return model

    def served(self, model: SpamModel) -> dict[str, Tensor]:
        """All weights of a model built here, as an artifact holds them, on the CPU."""
        weights: dict[str, Tensor] = dict(model.state_dict())
        if self.table is not None:
            for name in ("axes", "shift"):
                weights.pop(f"{self.embedding_name}.{name}")
            weights[f"{self.embedding_name}.weight"] = model.token_embedding.weight.detach()
        return {name: weight.cpu() for name, weight in weights.items()}

    @property
    def embedding_name(self) -> str:
        """What the token embedding is called in this family."""
        return "wte" if self.config.family == "gpt2" else "embed_tokens"

    def digest(self) -> str:
        """Stands for the weights it starts from."""
        digest = hashlib.sha256(repr(self.config).encode())
        tables = {} if self.table is None else {"table": self.table}
        for name, weight in sorted({**self.weights, **tables}.items()):
            digest.update(name.encode())
            digest.update(weight.contiguous().numpy().tobytes())
        return digest.hexdigest()[:20]


def first_trainable(recipe: Recipe, config: ModelConfig) -> int:
    """The first block that learns: 0 where all do, n_layer where none does."""
    if recipe.trainable == "all":
        return 0
    return config.n_layer - (0 if recipe.trainable == "head" else recipe.trainable)


def trainable_parameters(model: SpamModel, recipe: Recipe) -> dict[str, nn.Parameter]:
    """What learns, by name: the head; with blocks, the final norm too; with all, embeddings too."""
    if recipe.trainable == "all":
        return {
            name: parameter
            for name, parameter in model.named_parameters()
            if recipe.embedding_rate or not is_token_embedding(name)
        }
    modules: list[nn.Module] = [model.head]
    if recipe.trainable != "head":
        modules += [*model.blocks[first_trainable(recipe, model.config) :], model.final_norm]
    wanted = {id(parameter) for module in modules for parameter in module.parameters()}
    return {name: p for name, p in model.named_parameters() if id(p) in wanted}


def prepare(recipe: Recipe, texts: Sequence[str], say: Say) -> Start:
    """Find or make what the recipe starts from; ``texts`` are those to learn from.

    Raises SettingsError where the recipe asks for more than the backbone has, ArtifactError,
    DataError or UnavailableError where a pretrained one cannot be had.
    """
    if recipe.backbone != RANDOM:
        start = _pretrained(recipe, texts, say)
    elif recipe.embedding:
        start = _from_embedding(recipe, texts, say)
    else:
        tokenizer = vocabulary.learn(texts, recipe.vocab_size)
        start = Start(_random_config(recipe, tokenizer.vocab_size), tokenizer)
    say(
        f"{start.config.family}: {start.config.n_layer} blocks of width {start.config.n_embd}, "
        f"vocabulary of {start.tokenizer.vocab_size:,} tokens"
    )
    return start


def _pretrained(recipe: Recipe, texts: Sequence[str], say: Say) -> Start:
    found = pretrained.load(recipe.backbone, say)
    config = found.config
    for name in ("n_head", "n_kv_head", "n_embd", "n_inner"):
        wanted = getattr(recipe, name)
        if wanted and wanted != getattr(config, name):
            raise SettingsError(f"{recipe.backbone} has {name} {getattr(config, name)}: leave it 0")
    for name, way in found.reads.items():
        if getattr(recipe, name) != way:
            raise SettingsError(f"{recipe.backbone} reads texts so: --set {name}={way}")
    blocks = recipe.n_layer or config.n_layer
    if blocks > config.n_layer:
        raise SettingsError(f"{recipe.backbone} has {config.n_layer} blocks: n_layer {blocks}")
    if isinstance(recipe.trainable, int) and recipe.trainable > blocks:
        raise SettingsError(f"trainable {recipe.trainable} is more than the {blocks} blocks")
    if recipe.max_length > config.n_positions:
        raise SettingsError(
            f"{recipe.backbone} reads {config.n_positions} tokens: max_length {recipe.max_length}"
        )
    tokenizer, table = _cut(recipe, found, texts)
    weights = {
        name: weight
        for name, weight in found.weights.items()
        if not is_token_embedding(name) and _block(name) < blocks
    }
    embedding = next(name for name in found.weights if is_token_embedding(name))
    config = replace(config, n_layer=blocks, vocab_size=tokenizer.vocab_size)
    return Start(config, tokenizer, {**weights, embedding: table}, origin=found.origin)


def _from_embedding(recipe: Recipe, texts: Sequence[str], say: Say) -> Start:
    """A random model whose token embedding is another's, brought to fewer channels."""
    found = pretrained.load(recipe.embedding, say)
    tokenizer, table = _cut(recipe, found, texts)
    if recipe.n_embd > table.shape[1]:
        raise SettingsError(f"{recipe.embedding} has width {table.shape[1]}: n_embd is above it")
    config = _random_config(recipe, tokenizer.vocab_size)
    return Start(config, tokenizer, table=centred(table), origin=found.origin)


def _cut(recipe: Recipe, found: Pretrained, texts: Sequence[str]) -> tuple[Tokenizer, Tensor]:
    """The vocabulary and its rows, (V, C), cut to the tokens most used where the recipe says so."""
    table = next(weight for name, weight in found.weights.items() if is_token_embedding(name))
    if not recipe.vocab_size or recipe.vocab_size >= found.tokenizer.vocab_size:
        return found.tokenizer, table
    return _most_used(recipe, found.tokenizer, table, texts)


def _most_used(
    recipe: Recipe, tokenizer: Tokenizer, table: Tensor, texts: Sequence[str]
) -> tuple[Tokenizer, Tensor]:
    """First what the texts use, most used first, then by rank: learned early is common anywhere.

    The tokens that lead to a kept one by merges are kept with it, so the size is a bound.
    """
    normalise = normalizer(recipe.normalization)
    used = Counter(token for text in texts for token in tokenizer.encode(normalise(text)))
    wanted = [token for token, _ in used.most_common()]
    wanted += [token for token in range(len(tokenizer.ranks)) if token not in used]
    cut, kept = cut_to_size(tokenizer, wanted, recipe.vocab_size)
    return cut, table[kept]


def _random_config(recipe: Recipe, vocab_size: int) -> ModelConfig:
    try:
        return ModelConfig(
            vocab_size=vocab_size,
            n_positions=recipe.max_length,
            n_layer=recipe.n_layer,
            n_head=recipe.n_head,
            n_embd=recipe.n_embd,
            family=recipe.family,
            n_kv_head=recipe.n_kv_head,
            n_inner=recipe.n_inner,
        )
    except ValueError as error:
        raise SettingsError(f"recipe {recipe.name}: {error}") from error


def _block(name: str) -> int:
    """The number of the block that a parameter belongs to, -1 for those outside."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] in ("h", "layers") else -1
