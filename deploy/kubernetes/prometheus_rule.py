"""The rules of deploy/prometheus as a PrometheusRule; ``make deploy`` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

RULES = Path(__file__).parents[1] / "prometheus" / "rules"


def build() -> dict[str, object]:
    """One resource with the groups of all files."""
    files = [yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yml"))]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "filterd"},
        "spec": {"groups": [group for file in files for group in file["groups"]]},
    }


if __name__ == "__main__":
    sys.stdout.write("# Made from deploy/prometheus/rules by: make deploy\n")
    yaml.safe_dump(build(), sys.stdout, sort_keys=False, width=100)
