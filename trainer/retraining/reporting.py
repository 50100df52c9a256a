"""The report of a retraining: what was found, as JSON and as a page. No text of a message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trainer import history
from trainer.bootstrap import Interval
from trainer.findings import shown, verdict
from trainer.measures import MEASURED
from trainer.report.page import EXPLAINED, environment
from trainer.retraining import drift
from trainer.retraining.gate import Check, Pair
from trainer.retraining.gathering import Gathered
from trainer.retraining.sifting import Sifted

JSON, PAGE = "report.json", "report.html"
SETS = {
    "test": "Frozen test set",
    "held_out": "Held-out feedback",
    "sample": "Sample of traffic",
}
COUNTED = {
    "words": "words so far",
    "fresh": "new since the last run",
    "rejected": "that are no feedback",
    "textless": "standing, of messages without a text, or gone",
    "standing": "corrections that stand",
    "repeated": "of a text with a later word",
    "in_test": "of the frozen test set, left out",
    "test_disputed": "of these with another label than there",
    "in_prepared": "of the prepared messages",
    "relabelled": "of these with another label, which was taken",
    "learned": "learned",
    "held_out": "held out",
    "sample": "of the sample",
    "doubtful": "new ones that look mislabelled",
}


def findings(
    *,
    versions: tuple[str, str],
    data: Mapping[str, Any],
    gathered: Gathered,
    sifted: Sifted,
    suspects: Sequence[str],
    pairs: Mapping[str, Pair | None],
    checks: Sequence[Check],
    sketches: Mapping[str, drift.Sketch],
    before: Mapping[str, drift.Sketch],
    repeat: str,
) -> dict[str, Any]:
    """All of it, as ``report.json`` holds it. versions: of challenger and champion."""
    return {
        "at": history.now(),
        "challenger": versions[0],
        "champion": versions[1],
        "passed": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
        "measures": {name: _pair(pair) for name, pair in pairs.items() if pair is not None},
        "feedback": {
            "words": len(gathered.words),
            "fresh": gathered.fresh,
            "rejected": len(gathered.rejected),
            "textless": gathered.textless,
            **sifted.counts,
            "learned": len(sifted.learned),
            "held_out": len(sifted.held_out),
            "sample": len(sifted.sample),
            "doubtful": len(suspects),
        },
        "doubtful": list(suspects),
        "rejected": [asdict(found) for found in gathered.rejected],
        "drift": {
            name: drift.divergences(before.get(name, {}), sketches[name]) for name in sketches
        },
        "sketches": dict(sketches),
        "data": dict(data),
        "repeat": repeat,
    }


def files(found: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """The report's files by name."""
    page = (
        environment()
        .get_template("retrain.html")
        .render(
            found=found,
            name=name,
            sets=[
                _shown(set_, found["measures"][set_]) for set_ in SETS if set_ in found["measures"]
            ],
            feedback=[(title, found["feedback"][key]) for key, title in COUNTED.items()],
            drifts=[
                (f"{what}, {counted}", value)
                for what, values in found["drift"].items()
                for counted, value in values.items()
            ],
        )
    )
    return {JSON: (json.dumps(found, indent=2) + "\n").encode(), PAGE: page.encode()}


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "challenger": pair.challenger.as_json(),
        "champion": pair.champion.as_json(),
        "differences": {name: list(ends) for name, ends in pair.intervals.items()},
    }


def _shown(name: str, pair: Mapping[str, Any]) -> dict[str, Any]:
    """A set's measures as the page shows them."""
    rows = []
    for measure in MEASURED:
        ends = pair["differences"].get(measure)
        difference = None if ends is None else Interval(*ends)
        rows.append(
            {
                "title": EXPLAINED[measure][0],
                "challenger": shown(pair["challenger"][measure]),
                "champion": shown(pair["champion"][measure]),
                "interval": "" if difference is None else "{:+.4f} to {:+.4f}".format(*difference),
                "verdict": verdict(measure, difference),
            }
        )
    return {"title": SETS[name], "rows": pair["challenger"]["rows"], "measures": rows}
