"""What ``trainer list`` and ``show`` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filterd.artifact import Manifest
from trainer.findings import DASH, shown
from trainer.history import Change
from trainer.measures import MEASURED
from trainer.succession import LINKS, Entry, Registry

SAID = ("created_at", "backbone", "max_length", "normalization", "threshold")
SPLITS = ("test", "folds", "validation")


def rows(registry: Registry) -> list[dict[str, Any]]:
    """The artifacts of a registry, newest first, as ``--json`` gives them."""
    links = {registry.linked(link): link for link in reversed(LINKS)}
    return [_row(entry, links.get(entry.name, "")) for entry in registry.entries()]


def listed(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The same for people."""
    cells = [["", "artifact", "created", "test F1", "test AUC", "threshold"]]
    cells += [
        [
            row["link"],
            row["name"],
            row["created_at"][:16].replace("T", " "),
            shown(row["test_f1"]),
            shown(row["test_auc"]),
            f"{row['threshold']:.4f}",
        ]
        for row in found
    ]
    return columns(cells)


def told(changes: Sequence[Change]) -> list[str]:
    """The history for people, newest first."""
    cells = [["when", "what", "champion", "challenger", "by", "why"]]
    cells += [
        [
            *(change.at[:16].replace("T", " "), change.action, change.champion or DASH),
            *(change.challenger or DASH, change.by or DASH, change.why),
        ]
        for change in reversed(changes)
    ]
    return columns(cells)


def side_by_side(manifests: Sequence[Manifest]) -> list[str]:
    """What artifacts say of themselves, a column each."""
    cells = [["", *(manifest.version for manifest in manifests)]]
    cells += [
        [name.replace("_", " "), *(str(getattr(m, name)) for m in manifests)] for name in SAID
    ]
    cells.append(["recipe", *(str(m.recipe.get("name", DASH)) for m in manifests)])
    cells.append(["learned from", *(_learned(m) for m in manifests)])
    for split in SPLITS:
        for name in ("rows", *MEASURED):
            values = [manifest.metrics.get(f"{split}_{name}") for manifest in manifests]
            if any(value is not None for value in values):
                number = [DASH if v is None else f"{v:.0f}" for v in values]
                kept = number if name == "rows" else [shown(value) for value in values]
                cells.append([f"{split} {name.replace('_', ' ')}", *kept])
    return columns(cells)


def card(path: Path) -> list[str]:
    """An artifact's card, where it has one."""
    try:
        return (path / "README.md").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def columns(cells: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns; one that is empty in every row is left out."""
    used = [place for place in range(len(cells[0])) if any(row[place] for row in cells)]
    widths = {place: max(len(row[place]) for row in cells) for place in used}
    return ["  ".join(row[place].ljust(widths[place]) for place in used).rstrip() for row in cells]


def _row(entry: Entry, link: str) -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "name": entry.name,
        "version": manifest.version,
        "link": link,
        "created_at": manifest.created_at,
        "recipe": manifest.recipe.get("name"),
        "backbone": manifest.backbone,
        "threshold": manifest.threshold,
        "test_f1": manifest.metrics.get("test_f1"),
        "test_auc": manifest.metrics.get("test_auc"),
    }


def _learned(manifest: Manifest) -> str:
    learned = manifest.data.get("learned")
    return DASH if learned is None else f"{learned:,} messages"
