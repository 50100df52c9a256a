"""Workers: parts side by side, on as many cores as the container may use."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import torch

from filterd.workers import TORCH_THREADS, Workers, threads_to_use


def test_parts_run_side_by_side_on_one_core_each() -> None:
    before = torch.get_num_threads()
    together = threading.Barrier(3, timeout=30)

    def work(part: int) -> tuple[int, int]:
        together.wait()  # passes only if three are at it at once
        return part, torch.get_num_threads()

    assert Workers(3).map(work, [5, 6, 7], alone=3) == [(5, 1), (6, 1), (7, 1)]
    assert torch.get_num_threads() == before


def test_threads_that_come_later_are_not_narrowed() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        Workers(2)
        seen: list[int] = []
        later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen == [2]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("before", [1, 2])
def test_one_part_runs_where_it_is_asked_for(count: int, before: int) -> None:
    """And leaves its caller, who may be training, the threads that they had."""
    own = torch.get_num_threads()
    try:
        torch.set_num_threads(before)
        seen = Workers(count).map(
            lambda part: (part, threading.get_ident(), torch.get_num_threads()), ["a"], alone=count
        )
        assert seen == [("a", threading.get_ident(), count)]
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(own)


@pytest.mark.parametrize("others", [["part"], ["part", "part"]], ids=["a whole one", "parts"])
def test_who_wants_all_cores_waits_for_them(others: list[str]) -> None:
    """For another whole one, and for parts of another caller."""
    workers = Workers(2)
    entered, go_on, ended = threading.Semaphore(0), threading.Event(), list[str]()

    def work(part: str) -> None:
        if part == "part":
            entered.release()
            assert go_on.wait(30)
        ended.append(part)

    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(workers.map, work, others, 2)
        assert all(entered.acquire(timeout=30) for _ in others)
        second = callers.submit(workers.map, work, ["whole"], 2)
        assert not wait([second], timeout=0.1).done
        go_on.set()
        first.result(30), second.result(30)
    assert ended == [*others, "whole"]


def test_who_wants_one_core_waits_for_nobody() -> None:
    workers, entered, go_on = Workers(2), threading.Barrier(3), threading.Event()

    def work(part: str) -> str:
        if part == "part":
            entered.wait(30)
            assert go_on.wait(30)
        return part

    with ThreadPoolExecutor(1) as caller:
        parts = caller.submit(workers.map, work, ["part", "part"], 1)
        entered.wait(30)
        assert workers.map(work, ["quick"], 1) == ["quick"]
        go_on.set()
        assert parts.result(30) == ["part", "part"]


def test_an_error_in_a_part_is_raised() -> None:
    def work(part: int) -> float:
        return 1 / part

    with pytest.raises(ZeroDivisionError):
        Workers(2).map(work, [1, 0, 2], alone=1)


@pytest.mark.parametrize(
    ("quota", "threads"),
    [
        ("max 100000\n", TORCH_THREADS),
        ("50000 100000\n", 1),
        ("100000 100000\n", 1),
        ("100000000 100000\n", TORCH_THREADS),
        ("nonsense", TORCH_THREADS),
    ],
)
def test_container_quota_bounds_the_threads(tmp_path: Path, quota: str, threads: int) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(quota)
    assert threads_to_use(path) == threads


def test_no_quota_no_bound(tmp_path: Path) -> None:
    assert threads_to_use(tmp_path / "absent") == TORCH_THREADS
