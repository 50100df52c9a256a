"""A language model learns messages and writes others, and what it writes is new."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from transformers import (
    GPT2ForSequenceClassification,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from filterd.errors import ArtifactError, DataError, SettingsError
from tests.checkpoints import TEXTS, learned, merges_of, random_gpt2, random_llama
from tests.trainer.runs import prepared, tiny, toml, trainer
from trainer import composing, pretrained, writer
from trainer.checkpoint import Checkpoint
from trainer.composing import Wish, compose
from trainer.dataset import Label, Message, to_csv
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
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
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
    kept = Checkpoint(tmp_path / "writer.pt")
    loss = one.learn(messages, 4, 1, kept, heard.append)
    assert sum(heard) == 4 * len(messages)
    assert loss < 1.0
    words: dict[Label, tuple[str, str]] = {"spam": ("cash", "see"), "ham": ("see", "cash")}
    for label, (own, other) in words.items():
        texts = one.write(label, 40, 1.0, 3)
        assert len(texts) > 30
        assert sum(own in text for text in texts) > 0.8 * len(texts)
        assert sum(other in text for text in texts) < 0.2 * len(texts)
        assert texts == one.write(label, 40, 1.0, 3)
        assert texts != one.write(label, 40, 1.0, 4)


def test_an_interrupted_one_goes_on_to_the_same_weights(
    tmp_path: Path, llama: Path, small: list[Message]
) -> None:
    found = pretrained.load(str(llama))
    whole, halted, again = (Writer.of(found, CPU) for _ in range(3))
    loss = whole.learn(small, 3, 5, Checkpoint(tmp_path / "whole.pt"), int)
    kept, heard = Checkpoint(tmp_path / "halted.pt"), list[int]()

    def halt(count: int) -> None:
        heard.append(count)
        if sum(heard) > 2 * len(small):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halted.learn(small, 3, 5, kept, halt)
    told: list[int] = []
    assert again.learn(small, 3, 5, kept, told.append) == loss
    assert (told[0], sum(told)) == (2 * len(small), 3 * len(small))
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])


def test_what_was_learned_is_not_learned_again(
    tmp_path: Path, llama: Path, small: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, work = prepared(tmp_path / "data", small), tmp_path / "work"
    monkeypatch.setattr(writer, "RATE", 5e-3)
    wish = Wish(str(llama), 10, 8, tmp_path / "one.txt", work)
    compose(tiny(), Sources(data), wish, list[str]().append)
    (kept,) = work.glob("writer-*.pt")
    before, more = kept.stat().st_mtime_ns, replace(wish, output=tmp_path / "two.txt", seed=9)
    monkeypatch.setattr(Writer, "_step", None)  # whoever learned would call it
    compose(tiny(), Sources(data), more, list[str]().append)
    assert kept.stat().st_mtime_ns == before
    texts = [path.read_text(encoding="utf-8") for path in (wish.output, more.output)]
    assert texts[0] != texts[1]
    other = replace(more, epochs=11, output=tmp_path / "three.txt")
    with pytest.raises(TypeError):
        compose(tiny(), Sources(data), other, list[str]().append)


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


def test_texts_are_distinct(
    tmp_path: Path, llama: Path, small: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepared(tmp_path / "data", small)
    output, said = tmp_path / "new" / "texts.txt", list[str]()
    monkeypatch.setattr(writer, "RATE", 5e-3)
    wish = Wish(str(llama), 10, 30, output, tmp_path / "work")
    assert compose(tiny(), Sources(data), wish, said.append) == 30
    texts = output.read_text(encoding="utf-8").split("\n")
    assert texts.pop() == ""
    assert len(texts) == len({fold(text) for text in texts}) == 30
    assert unlabelled([output], []) == {"texts.txt": texts}
    assert any("nats a token" in line for line in said)
    with pytest.raises(DataError, match=r"texts\.txt exists: give another --output"):
        compose(tiny(), Sources(data), wish, said.append)


class Parrot(Writer):
    """Learns nothing, and says what it is told to beside something new; and what it was asked."""

    texts: ClassVar[list[str]] = []
    asked: ClassVar[list[tuple[str, int, float]]] = []

    def learn(self, *_: object) -> float:
        return 1.0

    def at_once(self) -> int:
        return writer.MOST

    def write(self, label: str, count: int, temperature: float, seed: int) -> list[str]:
        self.asked.append((label, count, temperature))
        return [*self.texts, *(f"{label} {temperature} {seed} {place}" for place in range(count))]


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> type[Parrot]:
    monkeypatch.setattr(composing, "Writer", Parrot)
    monkeypatch.setattr(Parrot, "texts", [])
    monkeypatch.setattr(Parrot, "asked", [])
    return Parrot


def test_no_text_of_the_data_is_written(
    tmp_path: Path, llama: Path, small: list[Message], parrot: type[Parrot]
) -> None:
    data = prepared(tmp_path / "data", small)
    strangers = [Message(f"a stranger says {row}", "ham", row) for row in range(9)]
    (tmp_path / "strangers.csv").write_bytes(to_csv(strangers))
    parrot.texts += [message.text.upper() for message in (*small, *strangers)]
    sources = Sources(data, unseen=[tmp_path / "strangers.csv"])
    output = tmp_path / "texts.txt"
    assert (
        compose(tiny(), sources, Wish(str(llama), 1, 50, output, tmp_path), list[str]().append)
        == 50
    )
    texts = output.read_text(encoding="utf-8").splitlines()
    assert len(texts) == 50
    assert not {fold(text) for text in texts} & {fold(text) for text in parrot.texts}


def test_every_label_has_every_temperature(
    tmp_path: Path, llama: Path, small: list[Message], parrot: type[Parrot]
) -> None:
    """Also where a GPU would write all texts at once."""
    data = prepared(tmp_path / "data", small)
    wish = Wish(str(llama), 1, 800, tmp_path / "texts.txt", tmp_path)
    assert compose(tiny(), Sources(data), wish, list[str]().append) == 800
    wanted = [(label, 100, t) for t in composing.TEMPERATURES for label in composing.LABELS]
    assert parrot.asked == wanted
    few = replace(wish, count=8, output=tmp_path / "few.txt")
    assert compose(tiny(), Sources(data), few, list[str]().append) == 8
    found = [line.split()[:2] for line in few.output.read_text(encoding="utf-8").splitlines()]
    assert found == [[label, str(temperature)] for label, _, temperature in wanted]


def test_nothing_new_is_one_line(
    tmp_path: Path,
    llama: Path,
    small: list[Message],
    parrot: type[Parrot],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, output = prepared(tmp_path / "data", small), tmp_path / "texts.txt"
    monkeypatch.setattr(parrot, "write", lambda *_: [small[0].text])
    with pytest.raises(DataError, match="wrote no text that ends and is new"):
        compose(tiny(), Sources(data), Wish(str(llama), 1, 5, output, tmp_path), list[str]().append)
    assert not output.exists()
    fresh = iter(["one", "two", *["two"] * 90])
    monkeypatch.setattr(parrot, "write", lambda *_: [next(fresh)])
    said = list[str]()
    assert (
        compose(tiny(), Sources(data), Wish(str(llama), 1, 900, output, tmp_path), said.append) == 2
    )
    assert "it has little more that is new: 2 of 900 texts" in said


def test_what_cannot_write_is_refused(tmp_path: Path, llama: Path, small: list[Message]) -> None:
    data, say = prepared(tmp_path / "data", small), list[str]().append
    with pytest.raises(SettingsError, match=r"starter.* tells spam from ham and writes nothing"):
        compose(tiny(), Sources(data), Wish("starter", 1, 5, tmp_path / "a.txt", tmp_path), say)
    with pytest.raises(SettingsError, match=r"a\.csv: give a \.txt"):
        compose(tiny(), Sources(data), Wish(str(llama), 1, 5, tmp_path / "a.csv", tmp_path), say)
    found = pretrained.load(str(llama))
    with pytest.raises(ArtifactError, match="has a head apart from its token embedding"):
        language_model(replace(found, tied=False))
    with pytest.raises(ArtifactError, match="a model of 8 tokens at most cannot write"):
        Writer.of(replace(found, config=replace(found.config, n_positions=8)), CPU)
    assert list(tmp_path.glob("a.*")) == []


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_of_its_own_is_seen(tied: bool, tmp_path: Path) -> None:
    torch.manual_seed(4)
    config = random_llama().config
    config.tie_word_embeddings = tied
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    learned(digits=True).save(str(tmp_path / "tokenizer.json"))
    assert pretrained.load(str(tmp_path)).tied is tied


def test_unknown_backbone_is_one_line(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    wish = Wish("no-such-model", 1, 5, tmp_path / "texts.txt", tmp_path)
    with pytest.raises(SettingsError, match=r"no checkpoint 'no-such-model'"):
        compose(tiny(), Sources(data), wish, list[str]().append)
    assert not wish.output.exists()


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
