"""What is learned: the training split and what is added, and nothing of the other splits."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from filterd.errors import DataError
from filterd.normalizer import normalizer
from tests.trainer.runs import prepared, tiny
from trainer import corpus
from trainer.dataset import Message, read_file, to_csv
from trainer.make import examples
from trainer.material import gather
from trainer.splitting import fold


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


def test_only_the_training_split(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    found = gather(tiny(), data)
    assert found.learned == found.parts["train"] == read_file(data / "train.csv")
    assert (found.added, found.more) == ({}, [])


def test_nothing_of_validation_or_test_is_added(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    parts = gather(tiny(), data).parts
    shouted = [Message(f"  {m.text.upper()} ", m.label, 1) for m in parts["validation"]]
    extra = tmp_path / "more.csv"
    fresh = Message("never seen", "spam", 1)
    extra.write_bytes(to_csv([*shouted, fresh, *parts["test"], *parts["train"], fresh]))
    found = gather(tiny(), data, [extra])
    assert texts(found.learned) == [*texts(parts["train"]), "never seen"]
    assert found.added == {"more.csv": 1}
    assert texts(found.more) == ["never seen"]


def test_of_equal_texts_the_first_counts(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    for name, label in (("1", "ham"), ("2", "spam")):
        (tmp_path / name).mkdir()
        messages = [Message("both say", "spam" if label == "spam" else "ham", 1)]
        messages.append(Message(f"only {name} says", "ham", 2))
        (tmp_path / name / "more.csv").write_bytes(to_csv(messages))
    found = gather(tiny(), data, [tmp_path / "1" / "more.csv", tmp_path / "2" / "more.csv"])
    added = [(message.text, message.label) for message in found.more]
    assert added == [("both say", "ham"), ("only 1 says", "ham"), ("only 2 says", "ham")]
    assert found.added == {"more.csv": 3}


def test_undersampling_leaves_as_many_ham_as_spam(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    drawn = gather(tiny(undersample=True), data)
    labels = [message.label for message in drawn.learned]
    whole = drawn.parts["train"]
    assert labels.count("ham") == labels.count("spam") == sum(m.label == "spam" for m in whole)
    places = [whole.index(message) for message in drawn.learned]
    assert places == sorted(places)
    assert gather(tiny(undersample=True), data).learned == drawn.learned
    assert gather(tiny(undersample=True, seed=1), data).learned != drawn.learned


def test_the_corpus_is_added_when_asked(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", [*small, Message(corpus.messages()[0].text, "ham", 3)])
    plain, asked = gather(tiny(), data), gather(tiny(corpus=True), data)
    assert len(plain.learned) == 72
    assert asked.added[corpus.NAME] == len(asked.more) == len(asked.learned) - 72
    distinct = {fold(message.text) for message in corpus.messages()}
    assert len(asked.more) == len(distinct) - 1  # one is what validation is measured on
    assert not {fold(message.text) for message in asked.parts["validation"]} & {
        fold(message.text) for message in asked.more
    }


@pytest.mark.parametrize("folder", ["", "contrasts"])
def test_the_corpus_names_nobodys_domain_as_it_is_learned(folder: str) -> None:
    files = sorted((corpus.FOLDER / folder).glob("*.tsv"))
    written = [message for path in files for message in read_file(path)]
    ours = corpus.contrasts if folder else corpus.messages
    found = ours()
    assert found == ours()
    assert len(found) == len(written) > 3000
    assert {message.label for message in found} == {"ham", "spam"}
    assert sum(".example" in message.text.lower() for message in written) > 100
    plain, endings = normalizer("confusables"), set[str]()
    for before, after in zip(written, found, strict=True):
        assert before.label == after.label
        assert not re.search(r"[.,\])] ?example\b|\bdot\b\W*example", plain(after.text))
        start, _, rest = before.text.partition(".example")
        if rest and rest[0] in " /" and before.text.lower().count("example") == 1:
            last = len(after.text) - len(rest)
            assert _masked(after.text[: len(start) + 1]) == _masked(f"{start}.")
            assert _masked(after.text[last:]) == _masked(rest)
            endings.add(after.text[len(start) + 1 : last])
    assert set(corpus.ENDINGS) <= endings <= {*corpus.ENDINGS, *corpus.SERVICES.values()}


@pytest.mark.parametrize(
    ("written", "learned"),
    [
        ("see bit.example/3kd9", "see bit.ly/3kd9"),
        ("T.example/+abc and wa.example/1555", "T.me/+abc and wa.me/1555"),
        ("https://youtu.example/x1", "https://youtu.be/x1"),
    ],
)
def test_a_service_keeps_its_own_ending(written: str, learned: str) -> None:
    assert corpus._ended(corpus._EXAMPLE, written, random.Random(1)) == learned


@pytest.mark.parametrize(
    "written",
    [
        *("07911 12xxxx", "+234 803 55x xxxx", "98765xxxxx", "0906 x71 6600", "95x1x7889x"),
        *("+1 (530) 7xx-1180", "070-12xx-xxxx", "6xx10"),
    ],
)
def test_numbers_that_lack_digits_get_some(written: str) -> None:
    found = corpus._dialled(f"ring {written}, today", random.Random(1))
    assert re.fullmatch(
        "ring " + re.escape(written).replace("x", r"\d") + ", today",
        found,
    )


@pytest.mark.parametrize(
    "written",
    [
        *("a/c 44xx", "card *xx12", "2202 2061 4417 xxxx", "4x100 m", "(24x7)", "0x80070057"),
        *("3 x 1.50", "see you at 10.30 xx", "at 1030 xx"),
    ],
)
def test_other_signs_stay(written: str) -> None:
    assert corpus._dialled(written, random.Random(1)) == written


def test_what_lacks_digits_tells_no_label() -> None:
    """Of either label nearly as many have an x beside a digit as they are learned."""
    left = Counter(
        message.label
        for message in [*corpus.messages(), *corpus.contrasts()]
        if re.search(r"\dx|x\d", message.text)
    )
    assert 0.7 < left["spam"] / left["ham"] < 1.4


def test_links_of_a_service_tell_no_label() -> None:
    """Of both labels, for no ending may stand for one."""
    labels: dict[str, set[str]] = {}
    for message in [*corpus.messages(), *corpus.contrasts()]:
        for name, ending in corpus.SERVICES.items():
            if re.search(rf"\b{name}\.{ending}/", message.text.lower()):
                labels.setdefault(name, set()).add(message.label)
    assert labels == {name: {"ham", "spam"} for name in corpus.SERVICES}


def _masked(text: str) -> str:
    """A text with one sign for every digit and every x."""
    return re.sub(r"[\dx]", "x", text)


def test_the_corpus_has_nothing_of_the_sample_that_measures_it() -> None:
    sample = read_file(corpus.FOLDER.parent.parent / "filterd" / "sample" / "messages.tsv")
    learned = {fold(message.text) for message in corpus.messages() + corpus.contrasts()}
    assert len(sample) > 300
    assert not [message.text for message in sample if fold(message.text) in learned]
    runs = {run for text in learned for run in _runs(text)}
    assert not [message.text for message in sample if _runs(message.text) & runs]


def _runs(text: str, words: int = 12) -> set[str]:
    """Every so many words in a row."""
    found = fold(text).split()
    return {" ".join(found[at : at + words]) for at in range(len(found) - words + 1)}


def test_the_contrasts_are_added_behind_the_corpus_when_asked(
    tmp_path: Path, small: list[Message]
) -> None:
    data = prepared(tmp_path / "data", small)
    alone, both = gather(tiny(corpus=True), data), gather(tiny(corpus=True, contrasts=True), data)
    assert both.learned[: len(alone.learned)] == alone.learned
    added = both.added[corpus.CONTRASTS]
    assert added == len(both.learned) - len(alone.learned) > 5000
    distinct = {fold(message.text) for message in corpus.contrasts()}
    assert added == len(distinct - {fold(message.text) for message in alone.learned})
    assert {message.label for message in both.more[-added:]} == {"ham", "spam"}


def test_the_prepared_messages_may_count_more(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    (tmp_path / "more.csv").write_text("label,text\nham,one\nham,two\n")
    recipe = tiny(base_weight=2.5)
    for extra, added in (([], 0), ([tmp_path / "more.csv"], 2)):
        material = gather(recipe, data, extra)
        learned = examples(material.base, material, recipe)
        assert learned.texts == tuple(message.text for message in material.learned)
        assert learned.weights.tolist() == [2.5] * 72 + [1.0] * added


@pytest.mark.parametrize("alter_corpus", [False, True])
def test_the_corpus_alone_may_stay_unaltered(
    tmp_path: Path, small: list[Message], alter_corpus: bool
) -> None:
    data = prepared(tmp_path / "data", small)
    (tmp_path / "more.csv").write_text("label,text\nham,one\nham,two\n")
    recipe = tiny(corpus=True, contrasts=True, alter_corpus=alter_corpus)
    material = gather(recipe, data, [tmp_path / "more.csv"])
    ours = material.added[corpus.NAME] + material.added[corpus.CONTRASTS]
    assert ours > 3000
    kept = examples(material.base, material, recipe).kept
    assert kept == (*[False] * 72, *[not alter_corpus] * ours, False, False)


def test_what_it_was_is_described(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    first = gather(tiny(), data).describe()
    assert first["splits"]["train"] == {
        "rows": 72,
        "sha256": hashlib.sha256((data / "train.csv").read_bytes()).hexdigest(),
    }
    assert (first["learned"], first["added"]) == (72, {})
    assert gather(tiny(), data).describe() == first
    assert gather(tiny(undersample=True), data).describe()["sha256"] != first["sha256"]


def test_refusals(tmp_path: Path, small: list[Message]) -> None:
    with pytest.raises(DataError, match=r"absent has no train\.csv: make it with trainer prepare"):
        gather(tiny(), tmp_path / "absent")
    data = prepared(tmp_path / "data", small)
    (tmp_path / "empty.csv").write_text("label,text\n")
    with pytest.raises(DataError, match="holds no messages"):
        gather(tiny(), data, [tmp_path / "empty.csv"])
    (data / "test.csv").write_bytes(to_csv(small[:3]))
    with pytest.raises(DataError, match=r"test\.csv holds only ham"):
        gather(tiny(), data)
    (data / "validation.csv").unlink()
    with pytest.raises(DataError, match=r"no validation\.csv"):
        gather(tiny(), data)


def test_what_is_to_be_unseen_is_not_learned(tmp_path: Path, small: list[Message]) -> None:
    folder = prepared(tmp_path / "data", [*small[:60], *small[100:]])
    extra, unseen = tmp_path / "extra.csv", tmp_path / "unseen.csv"
    extra.write_bytes(to_csv([*small[60:80], *small[80:90]]))
    unseen.write_bytes(to_csv([*small[70:80], *small[80:85], *small[:5]]))
    material = gather(tiny(), folder, [extra], [unseen])
    kept = {message.text for message in material.unseen}
    assert kept == {message.text for message in small[70:85]}
    assert not kept & {message.text for message in material.learned}
    assert material.added == {"extra.csv": 15}
    assert material.describe()["unseen"] == 15


def test_a_file_that_contradicts_itself(tmp_path: Path, small: list[Message]) -> None:
    folder = prepared(tmp_path / "data", small)
    extra = tmp_path / "extra.csv"
    twice = [Message("the same text", "ham", 1), Message("other", "spam", 2)]
    extra.write_bytes(to_csv([*twice, Message("The  same text", "spam", 3)]))
    for files in ([extra], []), ([], [extra]):
        with pytest.raises(DataError, match=r"extra\.csv: row 3: an earlier row has the other"):
            gather(tiny(), folder, *files)
