"""Recipes: every choice of a training run, read from TOML and kept in the artifact's manifest."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from filterd.errors import SettingsError

RECIPES = Path(__file__).parent / "recipes"

Share = Annotated[float, Field(ge=0, le=1)]
Portion = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Recipe(BaseModel):
    """How to train a classifier from random weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")
    seed: int = Field(default=123, ge=0)

    vocab_size: int = Field(description="byte-pair ranks and the end-of-text token", ge=257)
    n_layer: Count
    n_head: Count
    n_embd: Count
    n_positions: int = Field(ge=2)

    epochs: Count
    batch_size: Count = 32
    learning_rate: Positive = Field(description="the highest, after warm-up")
    warmup: Portion = Field(default=0.1, description="share of all steps")
    weight_decay: float = Field(default=0.1, ge=0)
    gradient_clip: Positive = Field(default=1.0, description="largest norm of the gradient")
    dropout: Portion = 0.1
    label_smoothing: Portion = 0.0
    balance: Share = Field(
        default=0.0, description="class weights by frequency ** -balance: 0 none, 1 full"
    )
    average: Portion = Field(
        default=0.0, description="decay of the moving average of the weights, 0 is off"
    )
    language_weight: float = Field(
        default=0.0, ge=0, description="of the next-token loss beside the label's, 0 is off"
    )
    other_digits: Share = Field(default=0.0, description="share of messages given other digits")
    other_case: Share = Field(default=0.0, description="share of messages given another case")
    drop_words: Portion = Field(default=0.0, description="share of words left out")
    cut_words: Portion = Field(
        default=0.0, description="share of characters before which the text is cut for encoding"
    )
    threshold: Share = 0.5

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} does not divide by n_head {self.n_head}")
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


def _parse(overrides: Sequence[str]) -> dict[str, str]:
    parsed = {}
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals:
            raise SettingsError(f"--set {override}: write it as name=value")
        parsed[name.strip()] = value.strip()
    return parsed


def _validate(where: str, values: Mapping[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "recipe"
        if first["type"] == "extra_forbidden":
            known = ", ".join(Recipe.model_fields)
            raise SettingsError(f"{where}: no field {field!r}; there are {known}") from error
        raise SettingsError(f"{where}: {field}: {first['msg']}") from error
