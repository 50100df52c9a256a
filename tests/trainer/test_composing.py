"""A language model learns messages and writes others, and what it writes is new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2ForSequenceClassification, LlamaForSequenceClassification

from filterd.errors import DataError, SettingsError
from tests.checkpoints import TEXTS, learned, merges_of, random_gpt2, random_llama
from tests.trainer.runs import prepared, tiny, toml, trainer
from trainer import composing, pretrained, writer
from trainer.composing import Wish, compose
from trainer.dataset import Message
from trainer.distillation import Sources, unlabelled
from trainer.distributed import CPU
from trainer.pretrained.language import language_model
from trainer.splitting import fold
from trainer.writer import Writer

Theirs = GPT2ForSequenceClassification | LlamaForSequenceClassification


def saved(model: Theirs, folder: Path) -> Path:
    """A checkpoint in Hugging Face's form."""
    tokenizer = learned(digits=isinstance(model, LlamaForSequenceClassification))
    model.save_pretrained(folder)
    if isinstance(model, LlamaForSequenceClassification):
        tokenizer.save(str(folder / "tokenizer.json"))
    else:
        (folder / "vocab.json").write_text(json.dumps(tokenizer.get_vocab()), encoding="utf-8")
        merges = "\n".join(" ".join(merge) for merge in merges_of(tokenizer))
        (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    return folder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return saved(random_llama(), tmp_path / "llama")


@pytest.mark.parametrize("random_model", [random_gpt2, random_llama])
def test_it_is_the_checkpoint_that_was_loaded(random_model: Any, tmp_path: Path) -> None:
    theirs = random_model()
    found = pretrained.load(str(saved(theirs, tmp_path / "model")))
    ours = language_model(found).eval()
    ids = found.tokenizer.encode(TEXTS[0])
    original = torch.tensor([[int(found.token_ids[index] or 0) for index in ids]])
    with torch.inference_mode():
        expected = theirs.base_model(original).last_hidden_state
        head = theirs.base_model.get_input_embeddings().weight
        places = [0 if place is None else place for place in found.token_ids]
        logits = ours(torch.tensor([ids])).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, (expected @ head.T)[..., places], atol=1e-4, rtol=1e-4)


def test_it_writes_of_each_label_what_it_learned_of_it(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RATE", 5e-3)
    messages = [
        message
        for row in range(160)
        for message in (
            Message(f"win cash prize {row % 9}", "spam", row),
            Message(f"see you at {row % 9} then", "ham", row),
        )
    ]
    one = Writer.of(pretrained.load(str(llama)), CPU)
    heard: list[int] = []
    loss = one.learn(messages, 4, 1, heard.append)
    assert sum(heard) == 4 * len(messages)
    assert loss < 1.0
    for label, own, other in (("spam", "cash", "see"), ("ham", "see", "cash")):
        texts = one.write(label, 40, 1.0, 3)  # type: ignore[arg-type]
        assert len(texts) > 30
        assert sum(own in text for text in texts) > 0.8 * len(texts)
        assert sum(other in text for text in texts) < 0.2 * len(texts)
        assert texts == one.write(label, 40, 1.0, 3)  # type: ignore[arg-type]
        assert texts != one.write(label, 40, 1.0, 4)  # type: ignore[arg-type]


def test_what_has_no_end_or_is_no_text_is_left_out(llama: Path) -> None:
    one = Writer.of(pretrained.load(str(llama)), CPU)
    end, words = one.tokenizer.end_of_text, one.tokenizer.encode("pay  now\nor never")
    half = one.tokenizer.ranks["é".encode()[:1]]
    assert one._text([*words, end, end]) == "pay now or never"
    assert one._text(words) == ""
    assert one._text([half, end]) == ""


def test_rate_goes_up_and_down() -> None:
    shares = [writer._share(step, 1000) for step in range(1000)]
    top = shares.index(max(shares))
    assert 0 < shares[0] < 0.03
    assert writer.RISING - 2 <= top <= writer.RISING
    assert shares[top:] == sorted(shares[top:], reverse=True)
    assert shares[-1] == pytest.approx(writer.FALLEN, abs=0.01)


def test_texts_are_new_and_distinct(
    tmp_path: Path, llama: Path, small: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepared(tmp_path / "data", small)
    output, said = tmp_path / "new" / "texts.txt", list[str]()
    monkeypatch.setattr(writer, "AT_ONCE", 24)
    monkeypatch.setattr(writer, "RATE", 5e-3)
    wish = Wish(str(llama), 10, 30, output)
    assert compose(tiny(), Sources(data), wish, said.append) == 30
    texts = output.read_text(encoding="utf-8").split("\n")
    assert texts.pop() == ""
    assert len(texts) == len({fold(text) for text in texts}) == 30
    assert unlabelled([output], []) == {"texts.txt": texts}
    assert any("nats a token" in line for line in said)
    with pytest.raises(DataError, match=r"texts\.txt exists: give another --output"):
        compose(tiny(), Sources(data), wish, said.append)


class _Parrot:
    """A writer who has something new in its first rounds alone."""

    def at_once(self) -> int:
        return 100

    def write(self, label: str, count: int, temperature: float, seed: int) -> list[str]:
        return [f"new {min(seed, 5)} {place}" for place in range(count)] + ["KNOWN"]


def test_one_that_repeats_itself_is_left() -> None:
    parrot: Any = _Parrot()
    rounds = [len(fresh) for fresh in composing._rounds(parrot, {"known"}, 0)]
    assert rounds == [100] * 6 + [0] * composing.PATIENCE


def test_unknown_backbone_is_one_line(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    wish = Wish("no-such-model", 1, 5, tmp_path / "texts.txt")
    with pytest.raises(SettingsError, match=r"no checkpoint 'no-such-model'"):
        compose(tiny(), Sources(data), wish, list[str]().append)
    assert not wish.output.exists()


def test_a_classifier_writes_nothing(tmp_path: Path, small: list[Message]) -> None:
    data, output = prepared(tmp_path / "data", small), tmp_path / "texts.txt"
    with pytest.raises(SettingsError, match="starter tells spam from ham, and writes nothing"):
        compose(tiny(), Sources(data), Wish("starter", 1, 5, output), list[str]().append)
    assert not output.exists()


def test_command(tmp_path: Path, llama: Path, small: list[Message]) -> None:
    data, recipe = prepared(tmp_path / "data", small), toml(tmp_path / "tiny.toml")
    given = ["--recipe", str(recipe), "--data", str(data), "--backbone", str(llama)]
    process = trainer(
        tmp_path, "compose", *given, "--epochs", "40", "--count", "5", "--output", "texts.txt"
    )
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "wrote 5 texts to texts.txt" in said
    assert len((tmp_path / "texts.txt").read_text(encoding="utf-8").splitlines()) == 5
