"""Prepared folders and their data cards, on the real data too."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from filterd.errors import DataError
from trainer.dataset import read_file
from trainer.material import read_parts
from trainer.prepare import prepare, prepare_as_article, read_card
from trainer.source import Source, local
from trainer.splitting import fold

GUESS = (None, None)


def test_a_small_file(tmp_path: Path, small_tsv: bytes) -> None:
    twice = small_tsv + b"ham\tSEE you at  lunch NUMBER 0\nham\tboth\nspam\tboth\n"
    card = prepare(Source("own.tsv", twice), tmp_path / "out", 123, GUESS)
    assert card == read_card(tmp_path / "out")
    assert (card["rows"], card["duplicate_rows"], card["conflict_rows"]) == (
        123,
        [121],
        [[122, 123]],
    )
    assert card["source"] == {"name": "own.tsv", "sha256": hashlib.sha256(twice).hexdigest()}
    assert sum(part["rows"] for part in card["splits"].values()) == 120
    for name, part in card["splits"].items():
        data = (tmp_path / "out" / f"{name}.csv").read_bytes()
        assert hashlib.sha256(data).hexdigest() == part["sha256"]
    assert "own.tsv" in (tmp_path / "out" / "card.md").read_text(encoding="utf-8")


def test_preparing_again_gives_the_same(tmp_path: Path, small_tsv: bytes) -> None:
    first = prepare(Source("own.tsv", small_tsv), tmp_path, 1, GUESS)
    assert prepare(Source("own.tsv", small_tsv), tmp_path, 1, GUESS) == first
    other = prepare(Source("own.tsv", small_tsv), tmp_path, 2, GUESS)
    assert other["splits"] != first["splits"]


def test_what_was_left_half_written_is_not_read_but_replaced(
    tmp_path: Path, small_tsv: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source("own.tsv", small_tsv)
    prepare(source, tmp_path, 1, GUESS)
    write = Path.write_bytes

    def break_off(path: Path, data: bytes) -> int:
        if path.name == "validation.csv":
            raise KeyboardInterrupt
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", break_off)
        with pytest.raises(KeyboardInterrupt):
            prepare(source, tmp_path, 2, GUESS)
    with pytest.raises(DataError, match="half written: run trainer prepare again"):
        read_parts(tmp_path)
    prepare(source, tmp_path, 2, GUESS)
    assert sum(map(len, read_parts(tmp_path).values())) == 120


def test_foreign_files_stay(tmp_path: Path, small_tsv: bytes) -> None:
    (tmp_path / "train.csv").write_text("mine")
    with pytest.raises(DataError, match="did not write"):
        prepare(Source("own.tsv", small_tsv), tmp_path, 123, GUESS)
    assert (tmp_path / "train.csv").read_text() == "mine"


def test_too_few_to_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few messages"):
        prepare(Source("own.tsv", b"ham\tx\nspam\ty\n"), tmp_path, 123, GUESS)


def test_a_damaged_card(tmp_path: Path) -> None:
    assert read_card(tmp_path) == {}
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(DataError, match="run trainer prepare again"):
        read_card(tmp_path)


def test_the_real_collection(tmp_path: Path, sms: Path) -> None:
    card = prepare(local(sms), tmp_path, 123, GUESS)
    assert card["rows"] == 5574
    assert card["labels"] == {"ham": 4827, "spam": 747}
    assert card["source"]["licence"] == "CC BY 4.0"
    assert card["duplicates"] + sum(card["distinct"].values()) == 5574 - len(
        [row for rows in card["conflict_rows"] for row in rows]
    )
    parts = {name: read_file(tmp_path / f"{name}.csv") for name in card["splits"]}
    folded = [fold(message.text) for part in parts.values() for message in part]
    assert len(folded) == len(set(folded)) == 5159
    for part, share in zip(parts.values(), (0.7, 0.1, 0.2), strict=True):
        assert len(part) / 5159 == pytest.approx(share, abs=0.01)


def test_the_articles_split(tmp_path: Path, sms: Path) -> None:
    card = prepare_as_article(local(sms), tmp_path)
    assert card["rows"] == 5572
    assert card["test_texts_also_in_train"] >= 37
    frames = {name: pd.read_csv(tmp_path / f"{name}.csv") for name in card["splits"]}
    assert {name: len(frame) for name, frame in frames.items()} == {
        "train": 1045,
        "validation": 149,
        "test": 300,
    }
    whole = pd.concat(frames.values())
    assert whole["Label"].value_counts().to_dict() == {0: 747, 1: 747}
    assert frames["train"]["Text"].iloc[0].startswith("Dude how do you like the buff wind")
    assert json.loads((tmp_path / "card.json").read_text())["method"].startswith("the article's")


def test_the_articles_split_of_something_else(tmp_path: Path) -> None:
    for data in (b"a,b\n1,2\n", b"ham\tx\n", b'ham\t"x\n'):
        with pytest.raises(DataError, match="--article needs"):
            prepare_as_article(Source("own.csv", data), tmp_path)
