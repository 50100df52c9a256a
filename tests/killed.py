"""Processes that die by SIGKILL at a step of their choice."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import NoReturn

Reached = Callable[[str], None]


def steps_of(act: Callable[[Reached], object]) -> list[str]:
    """The steps that it goes through when nothing happens to it."""
    steps: list[str] = []
    act(steps.append)
    return steps


def killed_at(number: int, act: Callable[[Reached], object]) -> bool:
    """Run it in a child that is killed when its step of this number, from 0, is reached.

    False where it ended before. Only for processes of one thread, which fork safely.
    """
    child = os.fork()
    if not child:
        _die_at(number, act)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _die_at(number: int, act: Callable[[Reached], object]) -> NoReturn:
    left = [number]

    def reached(_: str) -> None:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    code = 1
    try:
        act(reached)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it was, the child must not return
        traceback.print_exc()
    finally:
        os._exit(code)
