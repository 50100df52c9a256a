"""Settings: ``FILTERD_*``, read once, frozen, checked against each other."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from filterd.address import Address, with_cluster
from filterd.entries import VERDICT_FIELDS
from filterd.errors import SettingsError
from filterd.partitions import check_names

PREFIX = "FILTERD_"
KUBERNETES = re.compile(r"FILTERD_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")
"""What Kubernetes injects into every pod for a Service named ``filterd``."""

Name = Annotated[str, Field(min_length=1)]
M = TypeVar("M", bound=BaseSettings)
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Everything that can be set, with its default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    redis_cluster: bool = Field(
        False, description="FILTERD_REDIS_URL names nodes of a Redis Cluster"
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="redis://, rediss:// (TLS), redis+sentinel://, unix:// or embedded:DIR, "
        "which starts a server in DIR",
    )
    partitions: int = Field(
        1, ge=1, le=4096, description="streams of each kind; their names say * inside {}"
    )
    input_stream: Name = Field("filterd:messages", description="stream that messages arrive in")
    output_stream: Name = Field("filterd:verdicts", description="stream that verdicts go to")
    dead_stream: Name = Field("filterd:dead", description="stream of dead letters")
    feedback_stream: Name = Field("filterd:feedback", description="stream of people's corrections")
    text_field: Name = Field("text", description="field of an entry that holds its message")
    id_field: Name = Field("id", description="field that holds the publisher's own id, if any")
    group: Name = Field("filterd", description="consumer group; its daemons share the work")
    consumer: str = Field(
        "", description="stable name of this daemon in the group [default: HOSTNAME-HTTP_PORT]"
    )
    artifact: Path | None = Field(
        None, description="artifact directory [default: the starter that comes along]"
    )
    reload_s: Seconds = Field(
        2.0, description="seconds between looks for another artifact there; 0 leaves it to SIGHUP"
    )
    shadow_share: float = Field(
        0.0, ge=0, le=1, description="share of entries that the challenger scores too, unseen"
    )
    shadow_artifact: Path | None = Field(
        None, description="the challenger [default: challenger beside FILTERD_ARTIFACT]"
    )
    shadow_stream: Name = Field(
        "filterd:disagreements", description="stream of what champion and challenger differ on"
    )
    shadow_text: bool = Field(False, description="1 to put the messages' texts there too")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto", description="auto is bf16 on a GPU; on a CPU the fastest that the artifact allows"
    )
    threads: int = Field(0, ge=0, description="cores that the model uses [default: 0, all]")
    max_batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="token budget of one micro-batch; auto is measured at warm-up"
    )
    linger_s: Seconds = Field(
        0.0, description="seconds that an idle engine waits for a fuller batch"
    )
    max_text_bytes: int = Field(
        65536, ge=1, description="larger entries (text, id, carried fields) are dead letters"
    )
    max_deliveries: int = Field(
        5, ge=2, description="deliveries after which an entry that was never settled is poison"
    )
    claim_idle_s: float = Field(
        30.0,
        ge=0.1,
        allow_inf_nan=False,
        description="seconds without a sign of life until entries are claimed",
    )
    drain_s: Seconds = Field(20.0, description="seconds to finish what is in flight on SIGTERM")
    duplicate_cache: int = Field(
        10_000, ge=0, description="texts whose verdicts are remembered; 0 scores each one anew"
    )
    carry_fields: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma-separated input fields that the verdict repeats"
    )
    output_maxlen: int = Field(
        1_000_000, ge=1, description="verdicts kept, about; older ones are trimmed"
    )
    input_retention_s: Seconds = Field(
        86400.0, description="seconds that settled entries stay in the input stream"
    )
    wait_replicas: int = Field(
        0, ge=0, description="replicas that must have each settle; what too few have is counted"
    )
    http_host: Name = Field("127.0.0.1", description="address of metrics and health")
    http_port: int = Field(9108, ge=0, le=65535, description="port of the same; 0 takes any free")
    http_token: SecretStr = Field(
        SecretStr(""),
        description="bearer token for what writes or shows text; needed beyond loopback",
    )
    show_text: bool = Field(False, description="1 shows messages' texts on the page and in /api")
    threshold: float | None = Field(
        None, ge=0, le=1, description="score from which a message is spam [default: artifact's]"
    )
    log_format: Literal["text", "json"] = Field("text", description="one line, or JSON, an event")

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment; ``overrides`` win.

        Raises SettingsError in one line that names the variable and what it wants.
        """
        return read(cls, overrides)

    @property
    def consumer_name(self) -> str:
        """Stable across restarts, and different for two daemons of one machine.

        Two daemons of one machine cannot share a port, so the port tells them apart; a port
        taken at random says nothing, so the process id has to.
        """
        return self.consumer or f"{socket.gethostname()}-{self.http_port or f'p{os.getpid()}'}"

    @field_validator("carry_fields", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("carry_fields")
    @classmethod
    def _no_verdict_fields(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for field in ("text_field", "id_field"):
            if info.data.get(field) in names:
                raise ValueError(f"{info.data[field]} is {PREFIX}{field.upper()} already")
        taken = sorted(VERDICT_FIELDS.intersection(names))
        if taken:
            raise ValueError(f"verdicts use the names {', '.join(taken)} themselves")
        return names

    @field_validator("redis_url")
    @classmethod
    def _known_form(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        plain = url.get_secret_value()
        Address.parse(with_cluster(plain) if info.data.get("redis_cluster") else plain)
        return url

    @property
    def server(self) -> str:
        """Where Redis is, in the form that ``streams.connection`` takes. It holds a secret."""
        url = self.redis_url.get_secret_value()
        return with_cluster(url) if self.redis_cluster else url

    @field_validator("http_token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr) -> SecretStr:
        value = token.get_secret_value()
        if not (value.isascii() and (value.isprintable() and " " not in value)):
            raise ValueError("use ASCII letters, digits and signs, without spaces")
        return token

    @model_validator(mode="after")
    def _texts_stay_here(self) -> Self:
        token = self.http_token.get_secret_value()
        if self.show_text and not token and not is_loopback(self.http_host):
            raise ValueError(
                f"FILTERD_SHOW_TEXT where others reach the page ({self.http_host}) needs "
                "FILTERD_HTTP_TOKEN"
            )
        return self

    @model_validator(mode="after")
    def _fields_differ(self) -> Self:
        if self.text_field == self.id_field:
            raise ValueError(
                f"FILTERD_TEXT_FIELD and FILTERD_ID_FIELD are both {self.text_field}: "
                "they must differ"
            )
        return self

    @model_validator(mode="after")
    def _settled_together(self) -> Self:
        kinds = {"INPUT": self.input_stream, "OUTPUT": self.output_stream, "DEAD": self.dead_stream}
        names = {f"{PREFIX}{kind}_STREAM": name for kind, name in kinds.items()}
        check_names(names, self.partitions, cluster=self.redis_cluster)
        return self

    @model_validator(mode="after")
    def _streams_differ(self) -> Self:
        taken: dict[str, str] = {}
        for kind in ("input", "output", "dead", "feedback", "shadow"):
            name, variable = getattr(self, f"{kind}_stream"), f"{PREFIX}{kind.upper()}_STREAM"
            if other := taken.get(name):
                raise ValueError(f"{other} and {variable} are both {name}: they must differ")
            taken[name] = variable
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read(model: type[M], overrides: Mapping[str, Any]) -> M:
    """Read settings from the environment, under their model's prefix; ``overrides`` win.

    Raises SettingsError in one line that names the variable and what it wants.
    """
    prefix = model.model_config["env_prefix"]
    _refuse_misspelt(os.environ, prefix, model.model_fields)
    try:
        return model(**overrides)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
        place = errors[0]["loc"][:1]
        # One that may be of two kinds has a message for each.
        says, *others = (each["msg"] for each in errors if each["loc"][:1] == place)
        says = " or ".join([says, *(other.removeprefix("Input should be ") for other in others)])
        field = "_".join(map(str, place)).upper()
        where = f"{prefix}{field}: " if field else ""
        raise SettingsError(where + says.removeprefix("Value error, ")) from None


def _refuse_misspelt(names: Iterable[str], prefix: str, fields: Iterable[str]) -> None:
    known = [field.upper() for field in fields]
    for name in names:
        upper = name.upper()
        bare = upper.removeprefix(prefix)
        if not upper.startswith(prefix) or bare in known or KUBERNETES.fullmatch(upper):
            continue
        near = difflib.get_close_matches(bare, known, n=1, cutoff=0.0)
        raise SettingsError(f"no setting is called {name}: did you mean {prefix}{near[0]}?")
