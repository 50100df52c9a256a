"""Progress in a log: a line now and then, none for what is quickly done."""

from __future__ import annotations

import re
import time

import pytest

from trainer import progress


def test_lines_in_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    with progress.progress("epoch 1 of 3", "batch", total=100) as bar:
        for _ in range(100):
            bar.update(1)
            time.sleep(0.003)
    said = capsys.readouterr().err
    assert "\r" not in said
    lines = said.splitlines()
    assert 1 <= len(lines) < 100  # of a hundred steps, not each
    form = r"epoch 1 of 3: \d+% of 100, \d\d:\d\d so far, \d\d:\d\d to go"
    assert all(re.fullmatch(form, line) for line in lines), lines


def test_nothing_of_what_is_quickly_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.progress("finding", "message", [1, 2, 3])) == [1, 2, 3]
    assert capsys.readouterr().err == ""
