"""Batches of columns, alone and behind Ray Data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from filterd.bulk import BatchClassifier
from filterd.classifier import Classifier
from filterd.errors import DataError

TEXTS = [f"message {number}" for number in range(50)]


def test_a_batch_gets_columns(tiny: Path) -> None:
    batch = {"body": np.array(TEXTS, object), "label": np.arange(50)}
    found = BatchClassifier(str(tiny), "body")(batch)
    assert list(found) == ["body", "label", "filterd_label", "score", "threshold", "model"]
    verdicts = Classifier.load(tiny).classify(TEXTS)
    assert found["filterd_label"].tolist() == [verdict.label for verdict in verdicts]
    assert found["score"].tolist() == pytest.approx([v.score for v in verdicts], abs=1e-4)
    assert found["label"].tolist() == list(range(50))


def test_what_holds_no_text_is_refused(tiny: Path) -> None:
    classify = BatchClassifier(str(tiny))
    with pytest.raises(DataError, match="no column 'text' among body"):
        classify({"body": np.array(["a"])})
    with pytest.raises(DataError, match="row 1 of a batch: 'text' is no text"):
        classify({"text": np.array(["a", None], object)})


PROGRAM = """
import sys
import ray
from filterd.bulk import BatchClassifier

ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=10**8)
ray.data.read_parquet(sys.argv[1]).map_batches(
    BatchClassifier,
    fn_constructor_kwargs={"artifact": sys.argv[2], "column": "body"},
    concurrency=1,
    batch_size=16,
).write_parquet(sys.argv[3])
"""


@pytest.mark.timeout(400)
def test_ray_data_scores_a_file(tiny: Path, tmp_path: Path) -> None:
    """In a process of its own, for Ray leaves threads and sockets behind."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    pyarrow.parquet.write_table(pa.table({"body": TEXTS}), tmp_path / "inbox.parquet")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "inbox.parquet", tiny, tmp_path / "judged"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = pyarrow.parquet.read_table(tmp_path / "judged").to_pylist()
    expected = dict(zip(TEXTS, Classifier.load(tiny).classify(TEXTS), strict=True))
    assert sorted(row["body"] for row in rows) == sorted(TEXTS)
    for row in rows:
        verdict = expected[row["body"]]
        assert (row["label"], row["model"]) == (verdict.label, verdict.model)
        assert abs(row["score"] - verdict.score) < 1e-4
