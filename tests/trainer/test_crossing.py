"""Cross-validation: every message of a prepared folder is scored by a model that never saw it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.runs import decoded, prepared, tiny
from trainer import make
from trainer.crossing import cross_validate
from trainer.dataset import Message, to_csv
from trainer.distillation import Sources
from trainer.fitting import Fitting
from trainer.make import Place
from trainer.readers import Reader


@pytest.mark.usefixtures("no_plots")
def test_all_splits_are_scored_and_nothing_is_seen_before(
    tmp_path: Path, small: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepared(tmp_path / "data", small)
    recipe = tiny(max_length=40, epochs=6)
    place = Place(tmp_path / "artifact", tmp_path / "work")
    target, _ = make.make(recipe, folder, place, lambda _: None)
    added = [Message("what is added is learned always", "ham", 1), Message("and win", "spam", 2)]
    extra = tmp_path / "extra.csv"
    extra.write_bytes(to_csv(added))

    learned: list[set[str]] = []
    scored: list[set[str]] = []
    fit, score = Fitting.fit, Fitting.log_odds

    def remember(self: Fitting, name: str, reader: Reader, validation: Reader | None):  # type: ignore[no-untyped-def]
        learned.append(set(decoded(self.start.tokenizer, reader.view(0))))
        return fit(self, name, reader, validation)

    def remember_scored(self: Fitting, trained, reader: Reader):  # type: ignore[no-untyped-def]
        scored.append(set(decoded(self.start.tokenizer, reader.view(0))))
        return score(self, trained, reader)

    monkeypatch.setattr(Fitting, "fit", remember)
    monkeypatch.setattr(Fitting, "log_odds", remember_scored)
    sources = Sources(folder, (extra,))
    crossed = cross_validate(target, sources, 3, tmp_path / "work", lambda _: None)

    assert len(learned) == len(scored) == 3
    assert all(not seen & asked for seen, asked in zip(learned, scored, strict=True))
    assert all({message.text for message in added} <= seen for seen in learned)
    assert set.union(*scored) == {message.text for message in small}
    assert crossed.evaluation.measures.rows == crossed.baseline.measures.rows == len(small)
    assert crossed.evaluation.measures.auc > 0.9
    assert np.array_equal(crossed.evaluation.spam, crossed.baseline.spam)
