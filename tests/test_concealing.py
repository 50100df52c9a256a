"""Secrets on the command line: taken from it, and what is left does the same."""

from __future__ import annotations

import pytest

from filterd.concealing import without_secrets

URL, TOKEN = "redis://me:hush@db:6379/0", "s3cret"


@pytest.mark.parametrize(
    ("line", "kept", "secrets"),
    [
        (["run", "--redis-url", URL], ["run"], {"FILTERD_REDIS_URL": URL}),
        (["run", f"--redis-url={URL}", "-x"], ["run", "-x"], {"FILTERD_REDIS_URL": URL}),
        (
            ["run", "--redis-url=redis://db?password=x"],
            ["run"],
            {"FILTERD_REDIS_URL": "redis://db?password=x"},
        ),
        (["run", "--http-token", TOKEN], ["run"], {"FILTERD_HTTP_TOKEN": TOKEN}),
        (
            ["run", "--redis-url", "redis://a", "--redis-url", URL, "--http-token=x=y"],
            ["run"],
            {"FILTERD_REDIS_URL": URL, "FILTERD_HTTP_TOKEN": "x=y"},
        ),
    ],
)
def test_secrets_leave(line: list[str], kept: list[str], secrets: dict[str, str]) -> None:
    assert without_secrets(line) == (kept, secrets)


@pytest.mark.parametrize(
    "line",
    [
        ["run", "--redis-url", "redis://db:6379/0"],
        ["run", "--redis-url", URL, "--redis-url", "redis://db"],  # the last one counts
        ["run", "--redis-url"],
        ["run", "--http-token="],
        ["classify", "--", "--redis-url", URL],
        [],
    ],
)
def test_a_line_without_secrets_stays(line: list[str]) -> None:
    assert without_secrets(line) == (line, {})
