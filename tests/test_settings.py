"""Settings: read from the environment, frozen, refused in one line that names the variable."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from filterd.address import Address
from filterd.errors import SettingsError
from filterd.settings import PREFIX, Settings

SECRET = "hunter2"  # noqa: S105


def refused(match: str | None = None, **overrides: object) -> str:
    with pytest.raises(SettingsError, match=match) as caught:
        Settings.load(**overrides)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return said


def test_every_setting_has_a_default_and_a_description() -> None:
    settings = Settings.load()
    assert settings.input_stream == "filterd:messages"
    assert settings.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"
    assert all(field.description for field in Settings.model_fields.values())


def test_environment_is_read_and_overrides_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILTERD_INPUT_STREAM", "in")
    monkeypatch.setenv("filterd_output_stream", "out")
    monkeypatch.setenv("FILTERD_LINGER_S", "0.25")
    monkeypatch.setenv("FILTERD_CARRY_FIELDS", " user, chat ,,")
    monkeypatch.setenv("FILTERD_ARTIFACT", "some/folder")
    settings = Settings.load(input_stream="mine")
    assert (settings.input_stream, settings.output_stream) == ("mine", "out")
    assert settings.linger_s == 0.25
    assert settings.carry_fields == ("user", "chat")
    assert settings.artifact == Path("some/folder")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.load().group = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INPUT_STREAM", ""),
        ("GROUP", ""),
        ("DEVICE", "gpu"),
        ("PRECISION", "fp16"),
        ("MAX_BATCH_TOKENS", "0"),
        ("MAX_BATCH_TOKENS", "many"),
        ("MAX_BATCH_TOKENS", "1.5"),
        ("LINGER_S", "-1"),
        ("LINGER_S", "inf"),
        ("LINGER_S", "nan"),
        ("MAX_TEXT_BYTES", "0"),
        ("MAX_DELIVERIES", "1"),
        ("CLAIM_IDLE_S", "0"),
        ("CLAIM_IDLE_S", "nan"),
        ("CLAIM_IDLE_S", "inf"),
        ("DRAIN_S", "soon"),
        ("CARRY_FIELDS", "user,label"),
        ("CARRY_FIELDS", "text"),
        ("OUTPUT_MAXLEN", "0"),
        ("INPUT_RETENTION_S", "inf"),
        ("HTTP_PORT", "65536"),
        ("HTTP_PORT", "http"),
        ("HTTP_HOST", ""),
        ("THRESHOLD", "1.1"),
        ("THRESHOLD", "nan"),
        ("LOG_FORMAT", "xml"),
        ("REDIS_URL", ""),
        ("REDIS_URL", "http://here"),
    ],
)
def test_bad_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    assert refused().startswith(f"{PREFIX}{name}: ")


def test_a_value_of_two_kinds_names_both() -> None:
    assert refused(max_batch_tokens="lots").endswith("as an integer or 'auto'")


def test_names_of_verdicts_cannot_be_carried() -> None:
    said = refused("verdicts use the names", carry_fields="user,score,label")
    assert "label, score" in said
    refused("text is FILTERD_TEXT_FIELD already", carry_fields="user,text")
    refused("ticket is FILTERD_ID_FIELD already", carry_fields="ticket", id_field="ticket")
    refused("id", carry_fields="id", id_field="ticket")
    refused("both body: they must differ", text_field="body", id_field="body")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"input_stream": "filterd:verdicts"}, "INPUT_STREAM and FILTERD_OUTPUT_STREAM are both"),
        ({"output_stream": "filterd:dead"}, "OUTPUT_STREAM and FILTERD_DEAD_STREAM are both"),
        ({"input_stream": "a", "dead_stream": "a"}, "INPUT_STREAM and FILTERD_DEAD_STREAM are"),
        ({"feedback_stream": "filterd:messages"}, "FILTERD_FEEDBACK_STREAM are both filterd:mess"),
        ({"shadow_stream": "filterd:dead"}, "FILTERD_SHADOW_STREAM are both filterd:dead"),
    ],
)
def test_streams_must_differ(names: dict[str, str], said: str) -> None:
    refused(said, **names)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("FILTERD_REDIS_URI", "FILTERD_REDIS_URL"),
        ("FILTERD_INPUTSTREAM", "FILTERD_INPUT_STREAM"),
        ("filterd_claim_idle", "FILTERD_CLAIM_IDLE_S"),
        ("FILTERD_PORT_HTTP", "FILTERD_HTTP_PORT"),
        ("FILTERD_TRESHOLD", "FILTERD_THRESHOLD"),
        ("FILTERD_BATCH", "FILTERD_MAX_BATCH_TOKENS"),
    ],
)
def test_misspelt_name_is_answered_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    monkeypatch.setenv(written, SECRET)
    said = refused(f"no setting is called {written}: did you mean {meant}")
    assert SECRET not in said


@pytest.mark.parametrize(
    "name",
    [
        "FILTERD_SERVICE_HOST",
        "FILTERD_SERVICE_PORT",
        "FILTERD_SERVICE_PORT_METRICS",
        "FILTERD_PORT",
        "FILTERD_PORT_9108_TCP",
        "FILTERD_PORT_9108_TCP_ADDR",
        "FILTERD_PORT_9108_TCP_PORT",
        "FILTERD_PORT_9108_TCP_PROTO",
        "FILTERD_PORT_53_UDP",
    ],
)
def test_what_kubernetes_injects_is_no_misspelling(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:9108")
    assert Settings.load() == Settings()


def test_names_of_others_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILTERDUMMY", "1")
    monkeypatch.setenv("MY_FILTERD_REDIS_URI", "1")
    Settings.load()


def test_unknown_argument_is_refused() -> None:
    assert refused(redis_uri="x").startswith("FILTERD_REDIS_URI: ")


URLS = [
    "redis://localhost",
    "redis://localhost:6379",
    "redis://localhost:6379/0",
    f"redis://:{SECRET}@localhost/15",
    f"rediss://user:{SECRET}@redis.example:6380/1",
    "redis://[::1]:6379/0",
    "redis://localhost/0?health_check_interval=3",
    "unix:///run/redis.sock",
    "embedded:data",
    "embedded:/var/lib/filterd",
]
NOT_URLS = [
    "",
    "localhost:6379",
    "http://localhost",
    "redis:",
    "redis://",
    "redis:///0",
    f"redis://:{SECRET}@",
    f"redis://:{SECRET}@localhost:port",
    f"redis://:{SECRET}@localhost:70000",
    f"redis://:{SECRET}@localhost/db",
    f"redis://:{SECRET}@[::1",
    f"rediss://user:{SECRET}@:6379",
    f"redis//:{SECRET}@localhost",
    "unix:",
    "unix://",
    "embedded:",
    "embedded:/",
]


@pytest.mark.parametrize("url", URLS)
def test_url_that_can_be_used(url: str) -> None:
    settings = Settings.load(redis_url=url)
    assert settings.redis_url.get_secret_value() == url
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()}"


@pytest.mark.parametrize("url", NOT_URLS)
def test_url_that_cannot_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("FILTERD_REDIS_URL", url)
    said = refused("^FILTERD_REDIS_URL: ")
    assert SECRET not in said
    assert "localhost" not in said


@given(st.text(min_size=1))
def test_no_refusal_shows_the_url(rest: str) -> None:
    for scheme in ("redis", "rediss", "unix", "embedded"):
        url = f"{scheme}://:{SECRET}@{rest}"
        try:
            Address.parse(url)
        except ValueError as error:
            assert SECRET not in str(error)  # noqa: PT017
            assert len(str(error).splitlines()) == 1  # noqa: PT017


def test_consumer_is_the_same_after_a_restart_and_differs_by_port() -> None:
    assert Settings.load(consumer="mine").consumer_name == "mine"
    one, other = Settings.load(http_port=9108), Settings.load(http_port=9109)
    assert one.consumer_name == f"{socket.gethostname()}-9108"
    assert one.consumer_name == Settings.load(http_port=9108).consumer_name
    assert one.consumer_name != other.consumer_name


def test_consumer_of_a_free_port_is_told_apart_by_its_process() -> None:
    name = Settings.load(http_port=0).consumer_name
    assert name == f"{socket.gethostname()}-p{os.getpid()}"


def test_texts_beyond_loopback_need_a_token() -> None:
    others = {"show_text": True, "http_host": "0.0.0.0"}  # noqa: S104
    refused("FILTERD_SHOW_TEXT where others reach the page .0.0.0.0. needs", **others)
    assert Settings.load(**others, http_token="x").show_text  # noqa: S106
    assert Settings.load(show_text=True, http_host="::1").show_text


@pytest.mark.parametrize("token", ["two words", "tök", "line\n"])
def test_token_must_fit_a_header(token: str) -> None:
    said = refused("FILTERD_HTTP_TOKEN: use ASCII", http_token=token)
    assert token not in said
