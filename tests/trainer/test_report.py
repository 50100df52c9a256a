"""The report is whole, small, loads nothing, and keeps texts to itself."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import report
from trainer.bootstrap import Interval
from trainer.course import Look
from trainer.dataset import Label, Message
from trainer.evaluation import Evaluation, judge, measure_robustness, truth
from trainer.findings import Findings, shown_in_full, verdict, worst
from trainer.report import page as page_of
from trainer.report import plots
from trainer.report.page import comparison, headline
from trainer.report.theme import DARK, LIGHT, Form, Theme, render

PLOTS = {"roc", "roc-low", "precision-recall", "confusion", "scores", "reliability"}
COURSE = {"loss", "accuracy"}
VOID = {"meta", "img", "source", "br"}
TEXT = "<script>alert(1)</script> & a secret"


@dataclass
class Epoch:
    number: int
    examples: int
    train_loss: float = 0.3
    train_accuracy: float = 0.9
    validation_loss: float = 0.4
    validation_accuracy: float = 0.8


@dataclass
class Trained:
    history: tuple[Epoch, ...]
    best: int = 2
    looks: tuple[Look, ...] = ()


TRAINED: Any = Trained((Epoch(1, 700, 0.6), Epoch(2, 1400), Epoch(3, 2100, 0.1)))

COURSE_JSON = {"epochs": [asdict(epoch) for epoch in TRAINED.history], "kept_epoch": 2}


def messages(ham: int = 300, spam: int = 60) -> list[Message]:
    ham_labels: list[Label] = ["ham"] * ham
    spam_labels: list[Label] = ["spam"] * spam
    return [
        Message(f"{TEXT} {row}", label, row)
        for row, label in enumerate([*ham_labels, *spam_labels], 1)
    ]


def evaluation(seed: int, found: list[Message], apart: float = 5.0) -> Evaluation:
    rng = np.random.default_rng(seed)
    spam = truth(found)
    return judge(1 / (1 + np.exp(-rng.normal(apart * (spam - 0.5), 1.5))), spam, 0.5)


def findings(found: list[Message], texts: bool = False) -> Findings:
    ours = evaluation(1, found)
    return Findings("model-1", "own.csv", ours, worst(found, ours, texts))


@pytest.fixture
def no_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page without its images, which take most of the time."""
    monkeypatch.setattr(page_of, "render", lambda *_: b"")


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch, no_svg: None) -> None:
    """Neither the page's images nor the plots beside it."""
    monkeypatch.setattr(report, "render", lambda *_: b"")


class Checker(HTMLParser):
    """Tags that are left open, and all that a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        names = ("src", "srcset", "href", "data", "poster", "action")
        self.loads += [value or "" for name, value in attributes if name in names]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words += data


def read(folder: Path) -> tuple[str, Checker]:
    text = (folder / "report.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return text, checker


def test_an_artifacts_report() -> None:
    found = messages()
    evaluations = {"validation": evaluation(2, found), "test": evaluation(1, found)}
    files = report.files(TRAINED, evaluations, evaluation(3, found))
    assert set(files) == {*(f"{name}.png" for name in PLOTS | COURSE), "evaluation.json"}
    pngs = [content for name, content in files.items() if name.endswith(".png")]
    assert all(content.startswith(b"\x89PNG") for content in pngs)
    assert sum(map(len, pngs)) < 200_000
    course = json.loads(files["evaluation.json"])
    assert [epoch["number"] for epoch in course["epochs"]] == [1, 2, 3]
    assert course["kept_epoch"] == 2
    assert course["test"]["f1"] == evaluations["test"].measures.f1
    assert set(course["baseline"]["intervals"]) == set(course["test"]["intervals"])


def test_looks_between_steps_are_what_is_plotted() -> None:
    looks = [Look(step, step * 8, 1 / step, 2 / step, 0.5, 0.5) for step in (1, 51, 101)]
    evaluations = {"test": evaluation(1, messages())}
    seen = report.files(replace(TRAINED, looks=tuple(looks)), evaluations)
    blind = report.files(TRAINED, evaluations)
    course = json.loads(seen["evaluation.json"])
    assert [look["step"] for look in course["looks"]] == [1, 51, 101]
    assert seen["loss.png"] != blind["loss.png"]
    assert seen["roc.png"] == blind["roc.png"]


def test_the_page_loads_nothing_and_shows_no_text(tmp_path: Path) -> None:
    found = replace(findings(messages()), course=COURSE_JSON, notes=["mind <this>"])
    page = report.write_page(tmp_path / "a" / "b", found)
    text, checker = read(page.parent)
    assert all(load.startswith("data:image/svg+xml;base64,") for load in checker.loads)
    assert len(checker.loads) == 2 * len(PLOTS | COURSE) - 2
    assert not re.search(r"@import|url\(|<script|<link|javascript:", text)
    assert "secret" not in "".join(path.read_text("latin-1") for path in page.parent.iterdir())
    assert "Mind <this>." in checker.words
    assert "prefers-color-scheme: dark" in text
    names = {path.name for path in page.parent.iterdir()}
    assert names == {"report.html", "evaluation.json", *(f"{n}.png" for n in PLOTS | COURSE)}


@pytest.mark.parametrize(("form", "theme"), [("png", LIGHT), ("svg", DARK)])
def test_equal_plots_are_equal_images(form: Form, theme: Theme) -> None:
    draw = plots.all_of(evaluation(1, messages()), None, COURSE_JSON)["loss"].draw
    assert render(draw, theme, form) == render(draw, theme, form)


@pytest.mark.usefixtures("no_images")
def test_texts_are_shown_when_asked_for_and_are_text(tmp_path: Path) -> None:
    found = findings(messages(), texts=True)
    report.write_page(tmp_path, found)
    text, checker = read(tmp_path)
    assert "<script>" not in text
    assert checker.words.count(TEXT) == len(found.mistakes) > 0
    assert json.loads((tmp_path / "evaluation.json").read_bytes())["mistakes"][0]["text"]


@pytest.mark.usefixtures("no_images")
def test_the_page_says_how_it_stands(tmp_path: Path) -> None:
    found = messages()
    ours, theirs = evaluation(1, found), evaluation(3, found, apart=2.0)
    rows = measure_robustness(
        lambda _: ours.scores[-60:], found, 0.5, {"shouted_out": lambda t, _: t.upper()}
    )
    whole = Findings(
        *("model-1", "own.csv", ours, worst(found, ours, False), theirs),
        robustness=rows,
        baseline_robustness=rows,
    )
    report.write_page(tmp_path, whole)
    _, checker = read(tmp_path)
    measures = ours.measures
    assert f"finds {measures.spam_found} of 60 spam" in headline(whole)
    assert headline(whole) in checker.words
    assert comparison(whole).startswith("It is better than the baseline, TF-IDF + linear SVM")
    assert comparison(replace(whole, evaluation=theirs, baseline=ours)).startswith("The baseline")
    assert "no difference" in comparison(replace(whole, baseline=ours))
    assert "takes 1,000 ham, there are 300" in checker.words
    assert "shouted out" in checker.words
    (line,) = (line for line in whole.lines() if line.startswith("shouted out"))
    assert line.endswith(f", 60 texts changed, baseline {rows[1].recall:.2%}")


@pytest.mark.usefixtures("no_svg")
@pytest.mark.parametrize(("ham", "spam"), [(50, 0), (0, 50), (1, 1)])
def test_any_set_has_a_page(tmp_path: Path, ham: int, spam: int) -> None:
    found = findings(messages(ham, spam))
    report.write_page(tmp_path, found)
    _, checker = read(tmp_path)
    told = ("spam (" in checker.words, "wanted messages (" in checker.words)
    assert told == (spam > 0, ham > 0)
    assert ("roc.png" in {path.name for path in tmp_path.iterdir()}) == (ham > 0 < spam)
    assert all(line == line.rstrip() for line in found.lines())
    json.dumps(found.as_json(), allow_nan=False)


@pytest.mark.usefixtures("no_images")
def test_a_set_without_mistakes_has_a_page(tmp_path: Path) -> None:
    found = messages()
    spam = truth(found)
    perfect = judge(0.1 + 0.8 * spam, spam, 0.5)
    report.write_page(tmp_path, Findings("m", "d", perfect, worst(found, perfect, True)))
    assert "no errors to resample" in read(tmp_path)[1].words


def test_the_worst_mistakes() -> None:
    rows: list[tuple[Label, float]] = [
        *(("ham", 0.5), ("ham", 0.99), ("spam", 0.499), ("spam", 0.2), ("spam", 0.9)),
    ]
    found = [Message("x" * row, label, row) for row, (label, _) in enumerate(rows, 1)]
    judged = judge(np.array([score for _, score in rows]), truth(found), 0.5)
    mistakes = worst(found, judged, texts=False)
    assert [(m.row, m.label, m.characters, m.text) for m in mistakes] == [
        *((2, "ham", 2, None), (4, "spam", 4, None), (3, "spam", 3, None), (1, "ham", 1, None)),
    ]
    assert [m.row for m in worst(found, judged, texts=True, most=1)] == [2]
    assert worst(found, judged, texts=True)[0].text == "xx"


def test_verdicts() -> None:
    assert verdict("f1", Interval(0.01, 0.02)) == verdict("loss", Interval(-2, -1)) == "better"
    assert verdict("f1", Interval(-0.02, -0.01)) == verdict("loss", Interval(1, 2)) == "worse"
    assert verdict("f1", Interval(-0.1, 0.1)) == "no difference shown"
    assert verdict("f1", None) == ""


def test_lines_for_a_terminal() -> None:
    found = findings(messages())
    lines = found.lines()
    assert lines[0].split() == ["rows", "360"]
    assert any(
        line.startswith("recall at 1 in 1000") and "takes 1,000 ham" in line for line in lines
    )
    assert not any("secret" in line for line in lines)
    assert any("secret" in line for line in findings(messages(), texts=True).lines())
    assert " to " in shown_in_full(found.evaluation, "f1")
