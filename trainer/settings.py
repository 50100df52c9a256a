"""Settings of the retrain job: ``TRAINER_*``, read once, frozen. Redis is found as the daemon does.

What a scheduler starts, it tells by the environment; each setting is an option too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from filterd import settings

PREFIX = "TRAINER_"

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class TrainerSettings(BaseSettings):
    """What a retraining works on, and what it takes to be promoted."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    artifacts: Path = Field(Path("artifacts"), description="folder that holds all artifacts")
    data: Path = Field(
        Path("data/sms-spam-collection"),
        description="prepared folder: what is learned beside feedback, and the frozen test set",
    )
    recipe: str = Field("", description="NAME or FILE.toml of what to train [default: champion's]")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="what to train on: a GPU where torch sees one"
    )
    metrics_file: Path | None = Field(
        None, description="textfile for Prometheus's node exporter, such as DIR/retrain.prom"
    )
    least_feedback: Count = Field(20, description="new corrections that are worth a training")
    held_out: Share = Field(
        0.3, gt=0, lt=1, description="share of feedback that is measured and never learned"
    )
    least_test: Count = Field(
        100, description="messages of the frozen test set that can show a difference"
    )
    least_held_out: Count = Field(
        20, description="held-out corrections since the last promotion that can show a difference"
    )
    least_sample: Count = Field(
        30, description="corrections of source 'sample' from which on they have a say"
    )
    margin: Share = Field(
        0.01, description="how far F1, AUC and accuracy may fall on what must be no worse"
    )
    ham_margin: Share = Field(
        0.005, description="how far the share of ham that is blocked may rise there"
    )
    most_doubtful: Share = Field(
        0.5, description="share of new feedback that may look mislabelled to cross-validation"
    )

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment; ``overrides`` win. Raises SettingsError."""
        return settings.read(cls, overrides)
