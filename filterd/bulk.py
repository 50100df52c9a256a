"""Bulk scoring by an engine that exists: batches of columns in, the same with verdicts out.

With Ray Data (``pip install 'filterd[ray]'``), over as many machines as its cluster has::

    ray.data.read_parquet("inbox.parquet").map_batches(
        BatchClassifier, fn_constructor_kwargs={"column": "body"}, concurrency=4, batch_size=1024
    ).write_parquet("judged")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterd.classifier import Classifier
from filterd.classify import columns
from filterd.engine import Device
from filterd.errors import DataError
from filterd.precision import Wanted

Batch = Mapping[str, NDArray[Any]]


class BatchClassifier:
    """Labels batches; whoever makes one has loaded its artifact, and calls it many times.

    artifact: its folder, the starter where None · column: holds the texts · threshold: the score
    from which a text is spam, the artifact's own where None.
    """

    def __init__(
        self,
        artifact: str | None = None,
        column: str = "text",
        *,
        device: Device = "auto",
        precision: Wanted = "auto",
        threshold: float | None = None,
    ) -> None:
        self._classifier = Classifier.load(
            artifact, device=device, precision=precision, threshold=threshold
        )
        self._column = column

    def __call__(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """The batch's columns, (B,) each, with label, score, threshold and model beside them.

        A column that is there already keeps its name, and the verdict's goes beside it as
        ``filterd_NAME``. Raises DataError where the column is missing or holds no text.
        """
        if self._column not in batch:
            raise DataError(f"there is no column '{self._column}' among {', '.join(batch)}")
        texts = batch[self._column].tolist()
        bad = [row for row, text in enumerate(texts) if not isinstance(text, str)]
        if bad:
            raise DataError(f"row {bad[0]} of a batch: '{self._column}' is no text")
        added = [columns(verdict) for verdict in self._classifier.classify(texts)]
        names = added[0] if added else ()
        found = {
            f"filterd_{name}" if name in batch else name: np.array([row[name] for row in added])
            for name in names
        }
        return {**batch, **found}
