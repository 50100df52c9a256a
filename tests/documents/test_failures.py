"""The table of failures in ``tests/README.md``: complete, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| .+ \| (.+) \|$", re.MULTILINE)
SECTION = "## How stream consumers fail"
ROWS = ROW.findall((ROOT / "tests" / "README.md").read_text().partition(SECTION)[2])


def test_no_failure_is_left_out() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 30))


@pytest.mark.parametrize(("number", "named"), ROWS)
def test_each_is_provoked_by_tests_that_exist(number: str, named: str) -> None:
    tests = re.findall(r"`([^`]+)`", named)
    assert tests, number
    for test in tests:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert name in {node.name for node in tree.body if isinstance(node, kinds)}, test
        assert name.startswith("test_")
