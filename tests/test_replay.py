"""What another artifact would change, counted over real streams and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from filterd.classifier import Classifier
from filterd.entries import Answer, Entry, Verdict, encode
from tests.artifacts import tiny_artifact
from tests.commands import filterd

HIDDEN = "meet me by the river"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What is served, and what might be."""
    folder = tmp_path_factory.mktemp("artifacts")
    return (
        tiny_artifact(folder / "old", version="old", seed=1),
        tiny_artifact(folder / "new", version="new", seed=2),
    )


@pytest.fixture(scope="module")
def judged(artifacts: tuple[Path, Path]) -> list[tuple[str, Verdict, Verdict]]:
    """Texts with what both say."""
    texts = [HIDDEN, *(f"message number {n}, {'free' * (n % 5)}" for n in range(300))]
    old, new = (Classifier.load(path).classify(texts) for path in artifacts)
    return list(zip(texts, old, new, strict=True))


def changed(judged: list[tuple[str, Verdict, Verdict]]) -> dict[str, int]:
    to_spam = sum(old.label < new.label for _, old, new in judged)
    to_ham = sum(old.label > new.label for _, old, new in judged)
    assert to_spam + to_ham > 20
    return {"to_spam": to_spam, "to_ham": to_ham}


def test_the_streams_past(
    client: redis.Redis,
    redis_url: str,
    prefix: str,
    artifacts: tuple[Path, Path],
    judged: list[tuple[str, Verdict, Verdict]],
) -> None:
    ids = [client.xadd(f"{prefix}:in", {"text": text}).decode() for text, _, _ in judged]
    for id_, (text, old, _) in zip(ids, judged, strict=True):
        parts = encode(Answer(Entry(id_, text, None, ()), old))
        client.xadd(f"{prefix}:out", dict(zip(parts[::2], parts[1::2], strict=True)))
    stale = encode(Answer(Entry("5-0", "", None, ()), judged[0][1]))
    client.xadd(f"{prefix}:out", dict(zip(stale[::2], stale[1::2], strict=True)))
    client.xadd(f"{prefix}:out", {"note": "no verdict"})
    settings = {
        "redis_url": redis_url,
        "input_stream": f"{prefix}:in",
        "output_stream": f"{prefix}:out",
    }
    ended = filterd("replay", str(artifacts[1]), "--json", "--examples", "300", **settings)
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert (found["messages"], found["gone"]) == (len(judged), 1)
    assert (found["candidate"], found["models"]) == ("new", {"old": len(judged)})
    assert found["changed"] == changed(judged)
    expected = {
        id_: (old.label, new.label, new.score)
        for id_, (_, old, new) in zip(ids, judged, strict=True)
        if old.label != new.label
    }
    shown = {e["entry"]: e for e in found["examples"]}
    assert shown.keys() == expected.keys()
    for id_, (before, after, score) in expected.items():
        assert (shown[id_]["before"]["label"], shown[id_]["after"]["label"]) == (before, after)
        assert abs(shown[id_]["after"]["score"] - score) < 1e-4
    assert "river" not in ended.out
    with_text = filterd("replay", str(artifacts[1]), "--text", "--examples", "300", **settings)
    assert f"{sum(changed(judged).values())} would change" in with_text.out
    assert "message number" in with_text.out
    nothing = filterd("replay", str(artifacts[1]), **{**settings, "output_stream": prefix})
    assert nothing.out == "no messages to score again (0 are gone from the stream)\n"


def test_a_files_past(
    artifacts: tuple[Path, Path],
    judged: list[tuple[str, Verdict, Verdict]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "inbox.jsonl"
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text, _, _ in judged))
    given = ("--input", str(path), "--column", "body", "--json", "--examples", "3")
    ended = filterd("replay", str(artifacts[1]), *given, artifact=str(artifacts[0]))
    found = json.loads(ended.out)
    assert found["changed"] == changed(judged)
    moved = sorted((abs(new.score - old.score) for _, old, new in judged if old.label != new.label))
    shown = [abs(e["after"]["score"] - e["before"]["score"]) for e in found["examples"]]
    assert shown == pytest.approx(moved[::-1][:3], abs=1e-5)
    assert filterd("replay", str(tmp_path)).error.startswith(f"{tmp_path} is no artifact")
