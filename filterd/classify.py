"""``filterd classify``: messages from arguments, lines or a file, labelled on the spot."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path

from filterd.classifier import Classifier
from filterd.entries import Verdict
from filterd.sinks import open_sink
from filterd.tables import Row, Source, Values
from filterd.terminal import printable, progress, write_line

Render = Callable[[str, Verdict], str]


def as_line(text: str, verdict: Verdict) -> str:
    """``label<TAB>score<TAB>text``, one line whatever the text holds."""
    return f"{verdict.label}\t{verdict.score:.6f}\t{printable(text)}"


def as_json(text: str, verdict: Verdict) -> str:
    """One JSON object."""
    return json.dumps({**columns(verdict), "text": text}, ensure_ascii=False)


def columns(verdict: Verdict) -> dict[str, str | float]:
    """A verdict as columns of a table."""
    return {
        "label": verdict.label,
        "score": round(verdict.score, 6),
        "threshold": verdict.threshold,
        "model": verdict.model,
        **({"stage": verdict.stage} if verdict.stage else {}),
    }


def print_verdicts(classifier: Classifier, chunks: Iterable[Sequence[str]], render: Render) -> None:
    """Label chunks of texts as they come and print each at once."""
    for texts in chunks:
        for text, verdict in zip(texts, classifier.classify(texts), strict=True):
            write_line(render(text, verdict))
        sys.stdout.flush()


def classify_file(
    classifier: Classifier, path: Path, column: str, output: Path | None, render: Render
) -> None:
    """Label the rows of a file; print them, or write them with their verdicts to ``output``."""
    with Source(path, column) as source:
        sink = nullcontext() if output is None else open_sink(output, source.schema)
        bar = progress(f"classify {path.name}", source.total, quiet_output=output is not None)
        with sink as out, bar as advance:
            for rows in source:
                verdicts = classifier.classify([row.text for row in rows])
                if out is None:
                    for row, verdict in zip(rows, verdicts, strict=True):
                        write_line(render(row.text, verdict))
                else:
                    out.write(_labelled(rows, verdicts))
                advance(source.done)


def _labelled(rows: Sequence[Row], verdicts: Sequence[Verdict]) -> list[Values]:
    """The rows with their verdicts; a column that the file has already keeps its name and value,
    and the verdict's goes beside it as ``filterd_NAME``."""
    labelled: list[Values] = []
    for row, verdict in zip(rows, verdicts, strict=True):
        added = columns(verdict)
        names = {name: f"filterd_{name}" if name in row.values else name for name in added}
        labelled.append({**row.values, **{names[name]: value for name, value in added.items()}})
    return labelled
