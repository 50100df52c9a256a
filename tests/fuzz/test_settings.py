"""Any value of any setting: taken, or refused in one line that names it and shows no secret."""

from __future__ import annotations

import os
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.errors import SettingsError
from filterd.settings import PREFIX, Settings

FIELDS = st.sampled_from(sorted(Settings.model_fields))
SECRET = "hush-4711"  # noqa: S105
ANY = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60
).filter(lambda text: SECRET not in text)
NUMBERS = st.one_of(st.floats(), st.integers(), st.integers(10**18, 10**30)).map(str)
URLS = st.builds(
    "{}:{}{}".format,
    st.sampled_from(["redis", "rediss", "unix", "embedded", "redis+sentinel", "http"]),
    st.sampled_from(["", "/", "//", f"//me:{SECRET}@", "//h:1,h:2/"]),
    ANY,
)
VALUES = ANY | NUMBERS | st.sampled_from(["true", "0", "-0", "auto", "*", "{*}", "a,b,,c"])


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(FIELDS, VALUES, max_size=3), st.none() | URLS)
def test_any_values(values: dict[str, str], url: str | None) -> None:
    names = {PREFIX + name.upper(): value for name, value in values.items()}
    if url is not None:
        names["FILTERD_REDIS_URL"] = url
    with patch.dict(os.environ, names):
        try:
            loaded = Settings.load()
        except SettingsError as error:
            said = str(error)
        else:
            assert SECRET not in repr(loaded)
            assert loaded.consumer_name
            return
    assert said.isprintable()
    assert SECRET not in said
    assert said.startswith(PREFIX) or "FILTERD_" in said, said


@given(ANY.filter(lambda name: name.isidentifier()))
def test_any_misspelt_name(name: str) -> None:
    variable = PREFIX + name.upper()
    with patch.dict(os.environ, {variable: SECRET}):
        try:
            Settings.load()
        except SettingsError as error:
            said = str(error)
        else:
            assert name.lower() in Settings.model_fields or name.upper().startswith(
                ("SERVICE_", "PORT")
            )
            return
    assert said.isprintable()
    assert SECRET not in said
