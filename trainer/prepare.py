"""``trainer prepare``: a source becomes train, validation and test CSV with a data card."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from filterd.errors import DataError
from trainer.dataset import (
    Columns,
    Label,
    Message,
    article_splits,
    read_messages,
    rows_named,
    to_csv,
)
from trainer.source import Source
from trainer.splitting import SHARES, Distinct, distinct, fold, split

CARD = "card.json"
UNFINISHED = ".unfinished"
"""Lies in a folder while its splits are being written."""
SMS_SOURCE = {
    "name": "SMS Spam Collection v.1",
    "origin": "UCI data set 228, https://archive.ics.uci.edu/dataset/228/sms+spam+collection",
    "licence": "CC BY 4.0",
    "attribution": "Tiago A. Almeida and José María Gómez Hidalgo",
}
ARTICLE_METHOD = (
    "the article's: default quoting (unbalanced quotes swallow rows), ham under-sampled to the "
    "spam, shuffled and cut 0.7, 0.1, 0.2 with seed 123; duplicates stay, on both sides of the cut"
)
HASH_METHOD = (
    "first of each folded text (NFKC, case, white space); texts with both labels left out; "
    "side by the hash of folded text and seed, 0.7, 0.1, 0.2: a text never changes sides"
)


def prepare(source: Source, output: Path, seed: int, columns: Columns) -> dict[str, Any]:
    """Write the splits of a source without its duplicates; returns the data card.

    Raises DataError for bad data and for a split that would lack a label.
    """
    messages = read_messages(source.name, source.data, *columns)
    unique = distinct(messages)
    parts = split(unique.kept, seed)
    for name, part in parts.items():
        if len({message.label for message in part}) < 2:
            raise DataError(f"{source.name}: too few messages: {name} would lack spam or ham")
    card = {
        **_header(source, HASH_METHOD),
        "seed": seed,
        "rows": len(messages),
        "labels": _labels(messages),
        **_left_out(unique),
        "characters": _lengths(unique.kept),
    }
    return _write(output, card, {name: to_csv(part) for name, part in parts.items()})


def prepare_as_article(source: Source, output: Path) -> dict[str, Any]:
    """Write the article's own splits; returns the data card. Raises DataError."""
    contents, rows = article_splits(source.data)
    parts = {name: read_messages(f"{name}.csv", data) for name, data in contents.items()}
    everything = [message for part in parts.values() for message in part]
    seen = {fold(message.text) for message in parts["train"]}
    card = {
        **_header(source, ARTICLE_METHOD),
        "seed": 123,
        "rows": rows,
        "test_texts_also_in_train": sum(fold(message.text) in seen for message in parts["test"]),
        "characters": _lengths(everything),
    }
    return _write(output, card, contents)


def read_card(folder: Path) -> dict[str, Any]:
    """A prepared folder's data card, or nothing where the user brought the CSVs alone."""
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{folder / CARD} is damaged: run trainer prepare again") from error
    return card


def summary(card: Mapping[str, Any], folder: Path) -> str:
    """What a person reads after preparing: counts, what was left out, where it went."""
    lines = [f"{card['source']['name']}: {card['rows']:,} rows read"]
    if "duplicates" in card:
        lines.append(f"{card['duplicates']:,} duplicates dropped")
        lines += [
            f"left out, one text with both labels: {rows_named(rows)}"
            for rows in card["conflict_rows"]
        ]
    for name, part in card["splits"].items():
        lines.append(
            f"{name}: {part['rows']:,} ({part['share']:.1%}), "
            f"{part['ham']:,} ham, {part['spam']:,} spam"
        )
    return "\n".join([*lines, f"wrote {folder}"])


def _header(source: Source, method: str) -> dict[str, Any]:
    known = SMS_SOURCE if source.is_sms_spam_collection else {"name": source.name}
    return {"source": {**known, "sha256": source.sha256}, "method": method}


def _labels(messages: Sequence[Message]) -> dict[Label, int]:
    counts = Counter(message.label for message in messages)
    return {"ham": counts["ham"], "spam": counts["spam"]}


def _left_out(unique: Distinct) -> dict[str, Any]:
    return {
        "duplicates": len(unique.duplicates),
        "duplicate_rows": list(unique.duplicates),
        "conflicts": len(unique.conflicts),
        "conflict_rows": [list(rows) for rows in unique.conflicts],
        "distinct": _labels(unique.kept),
    }


def _lengths(messages: Sequence[Message]) -> dict[str, float]:
    lengths = [len(message.text) for message in messages]
    return {"mean": round(mean(lengths), 1), "median": median(lengths), "longest": max(lengths)}


def _write(output: Path, card: Mapping[str, Any], contents: Mapping[str, bytes]) -> dict[str, Any]:
    """Write the CSVs, then the card. While UNFINISHED lies beside them, they are of two minds."""
    names = [f"{name}.csv" for name in contents]
    ours = any((output / name).exists() for name in (CARD, UNFINISHED))
    if not ours and any((output / name).exists() for name in names):
        raise DataError(f"{output} holds CSVs that trainer did not write: choose another --output")
    output.mkdir(parents=True, exist_ok=True)
    (output / UNFINISHED).touch()
    (output / CARD).unlink(missing_ok=True)
    splits: dict[str, dict[str, Any]] = {}
    total = 0
    for name, data in contents.items():
        (output / f"{name}.csv").write_bytes(data)
        part = read_messages(f"{name}.csv", data)
        total += len(part)
        counts = _labels(part)
        splits[name] = {"rows": len(part), "ham": counts["ham"], "spam": counts["spam"]}
        splits[name]["sha256"] = _sha256(data)
    for entry in splits.values():
        entry["share"] = round(int(entry["rows"]) / total, 4)
    full = {**card, "splits": splits}
    (output / "card.md").write_text(_markdown(full), encoding="utf-8")
    (output / CARD).write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8")
    (output / UNFINISHED).unlink()
    return full


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _markdown(card: Mapping[str, Any]) -> str:
    source = card["source"]
    lines = [f"# Data card: {source['name']}", ""]
    lines += [f"- {key}: {value}" for key, value in source.items() if key != "name"]
    lines += [f"- rows read: {card['rows']}", f"- split: {card['method']} (seed {card['seed']})"]
    if "duplicates" in card:
        lines += [
            f"- duplicates dropped: {card['duplicates']}",
            f"- texts with both labels, left out: {card['conflicts']} {card['conflict_rows']}",
        ]
    if "test_texts_also_in_train" in card:
        overlap = card["test_texts_also_in_train"]
        lines.append(f"- test messages whose text is also in train: {overlap}")
    length = card["characters"]
    lines.append(
        f"- characters: mean {length['mean']}, median {length['median']}, "
        f"longest {length['longest']}"
    )
    lines += ["", "| split | rows | share | ham | spam | sha256 |", "| --- " * 6 + "|"]
    for name in SHARES:
        part = card["splits"][name]
        lines.append(
            f"| {name} | {part['rows']} | {part['share']:.1%} | {part['ham']} | {part['spam']} "
            f"| `{part['sha256']}` |"
        )
    return "\n".join(lines) + "\n"
