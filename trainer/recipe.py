"""Recipes: every choice of a training run, read from TOML and kept in the artifact's manifest."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from filterd.errors import ArtifactError, SettingsError
from filterd.normalizer import Normalization

if TYPE_CHECKING:
    from filterd.artifact import Manifest

RECIPES = Path(__file__).parent / "recipes"
RANDOM = "random"
SUCCESSORS_FOLDS = 2
"""The fewest that there can be: each is a training more."""

Share = Annotated[float, Field(ge=0, le=1)]
Portion = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Trainable = Literal["head", "all"] | Count


class Recipe(BaseModel):
    """How to train a classifier. Sizes of 0 mean what their description says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")
    seed: int = Field(default=123, ge=0)

    backbone: str = Field(
        default=RANDOM, description="random, or a pretrained model's name, folder or file"
    )
    embedding: str = Field(
        default="", description="a pretrained model whose token embedding is brought to n_embd"
    )
    family: Literal["gpt2", "llama"] = Field(default="gpt2", description="of a random backbone")
    vocab_size: Size = Field(
        default=0, description="tokens at most, the end-of-text token among them; 0: all there are"
    )
    n_layer: Size = Field(default=0, description="blocks; of a pretrained one the first, 0: all")
    n_head: Size = 0
    n_kv_head: Size = 0
    n_embd: Size = 0
    n_inner: Size = 0
    max_length: int = Field(
        default=256, ge=0, description="tokens read at once; 0: the longest training message's"
    )

    normalization: Normalization = "none"
    pooling: Literal["last", "padded-last"] = "last"
    trainable: Trainable = Field(
        default="all", description="head, all, or how many of the last blocks"
    )

    zero_head: bool = Field(
        default=False, description="a pretrained one's head starts at zero, not as torch draws it"
    )

    undersample: bool = Field(default=False, description="as many ham as spam, unless prepared so")
    corpus: bool = Field(default=False, description="learn from the project's own messages too")
    contrasts: bool = Field(
        default=False,
        description="learn from messages with the look of one label and the sense of the other",
    )
    base_weight: Positive = Field(
        default=1.0, description="of the prepared messages, where what is added weighs 1"
    )
    balance: Share = Field(
        default=0.0, description="class weights by frequency ** -balance: 0 none, 1 full"
    )
    alteration: Share = Field(default=0.0, description="share of messages altered in a view")
    alter_corpus: bool = Field(default=True, description="alter the project's own messages, too")
    ham_disguised: Share = Field(
        default=1.0,
        description="of the leet, accents and spelt-out words that spam gets, the share for ham",
    )
    joining: Portion = Field(default=0.0, description="share of messages followed by another")
    cut_words: Portion = Field(
        default=0.0, description="share of characters before which the text is cut for encoding"
    )
    views: Count = Field(
        default=1,
        description="forms of each message for frozen blocks, one an epoch: plain, then altered",
    )

    epochs: Count
    batch_size: Count = 32
    order: Literal["length", "shuffled"] = Field(
        default="length", description="batches of near lengths, or the article's: drops the rest"
    )
    learning_rate: Positive = Field(description="the highest, after warm-up")
    embedding_rate: Share = Field(
        default=1.0, description="share of the learning rate for the token embedding, 0: frozen"
    )
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Portion = Field(default=0.1, description="share of all steps, for cosine")
    beta2: Portion = Field(default=0.98, description="AdamW's decay of squared gradients")
    weight_decay: float = Field(default=0.1, ge=0)
    decay_all: bool = Field(default=False, description="decay biases and norms too")
    gradient_clip: float = Field(
        default=1.0, ge=0, description="largest norm of the gradient, 0: off"
    )
    dropout: Portion = 0.0
    label_smoothing: Portion = 0.0
    average: Portion = Field(
        default=0.0, description="decay of the moving average of the weights, 0: off"
    )
    teacher_weight: Share = Field(
        default=0.7, description="of the teacher's score beside a known label, in distilling"
    )
    hints: str = Field(
        default="",
        description="a pretrained model of sentences for hints, read by the mean of its tokens; "
        "else a teacher's middle gives them, in distilling",
    )
    hint_weight: float = Field(
        default=0.0, ge=0, description="of the distance to the hints in the loss, 0: off"
    )
    keep: Literal["best", "last"] = Field(
        default="best", description="the epoch of the lowest validation loss, or the last"
    )
    evaluate_every: Size = Field(default=0, description="steps between looks at the losses, 0: off")
    evaluate_batches: Count = 5

    folds: Size = Field(
        default=5, description="folds whose scores set temperature and threshold, 0: validation's"
    )
    false_positive_rate: float = Field(
        default=0.002,
        gt=0,
        lt=1,
        description="share of ham that may be blocked",
    )
    threshold: Share | None = Field(default=None, description="instead of the rate's")
    temperature: Positive | None = Field(
        default=None, description="of the scores, instead of the one fitted on unseen messages"
    )

    @model_validator(mode="after")
    def _shape_fits(self) -> Recipe:
        sizes = ("n_layer", "n_head", "n_embd", "max_length")
        missing = [name for name in sizes if not getattr(self, name)]
        if self.backbone == RANDOM and missing:
            raise ValueError(f"a random backbone needs {', '.join(missing)}")
        if self.backbone == RANDOM and not (self.vocab_size or self.embedding):
            raise ValueError("a random backbone needs vocab_size, or an embedding to start from")
        if self.backbone != RANDOM and self.embedding:
            raise ValueError("a pretrained backbone has its own embedding: --set embedding=")
        if isinstance(self.trainable, int) and 0 < self.n_layer < self.trainable:
            raise ValueError(f"trainable {self.trainable} is more than n_layer {self.n_layer}")
        if self.n_head and self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} does not divide by n_head {self.n_head}")
        return self

    @model_validator(mode="after")
    def _method_fits(self) -> Recipe:
        changed = self.alteration or self.joining or self.cut_words
        if self.trainable != "all" and changed and self.views < 2:
            raise ValueError("frozen blocks see no altered message with views = 1: give 2 or more")
        if self.hints and not self.hint_weight:
            raise ValueError("hints need a hint_weight above 0")
        if self.folds == 1:
            raise ValueError("folds must be 0, or 2 or more")
        if self.pooling == "last" and not self.max_length:
            raise ValueError("max_length = 0 is for padded-last")
        if self.max_length == 1:
            raise ValueError("max_length must leave room for a token beside the end of text")
        if self.pooling == "padded-last" and self.joining:
            raise ValueError("padded-last has no joining: set it to 0")
        return self


def load(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe that comes along, by its name, or a TOML file; ``name=value`` overrides a field.

    Raises SettingsError naming the field, or the recipes there are.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = RECIPES / f"{name_or_path}.toml"
        if path.parent != RECIPES or not path.is_file():
            known = ", ".join(sorted(found.stem for found in RECIPES.glob("*.toml")))
            raise SettingsError(f"no recipe {name_or_path!r}: give one of {known}, or FILE.toml")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    return _validate(path.name, {"name": path.stem, **values, **_parse(overrides)})


def of_artifact(manifest: Manifest) -> Recipe:
    """The recipe that made an artifact. Raises ArtifactError for one of another version."""
    try:
        return Recipe.model_validate(manifest.recipe)
    except ValidationError as error:
        raise ArtifactError(
            f"{manifest.version} was made by another version of the trainer, whose recipe this one "
            "cannot repeat: train it anew"
        ) from error


def to_repeat(manifest: Manifest) -> Recipe:
    """The recipe to train an artifact's successor by, from prepared messages and labels alone.

    Where messages of elsewhere set the threshold (``--unseen``), folds do: without those messages
    a validation split is too small to show a low rate. Raises ArtifactError as ``of_artifact``.
    """
    recipe = of_artifact(manifest)
    if manifest.data.get("unseen") and not recipe.folds:
        return recipe.model_copy(update={"folds": SUCCESSORS_FOLDS})
    return recipe


def as_toml(recipe: Recipe) -> str:
    """A recipe as a file of its own, every choice spelt out."""
    values = recipe.model_dump(exclude_none=True)
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _parse(overrides: Sequence[str]) -> dict[str, str | int | None]:
    parsed: dict[str, str | int | None] = {}
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals:
            raise SettingsError(f"--set {override}: write it as name=value")
        field, plain = name.strip(), value.strip()
        if field in ("threshold", "temperature") and plain == "none":
            parsed[field] = None
        else:
            parsed[field] = int(plain) if plain.isdecimal() else plain
    return parsed


def _validate(where: str, values: Mapping[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "recipe"
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(field, Recipe.model_fields, n=1)
            hint = f"did you mean {near[0]}?" if near else "trainer/recipe.py describes all"
            raise SettingsError(f"{where}: no field {field!r}: {hint}") from error
        said = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{where}: {field}: {said}") from error
