"""Workers on this machine, by loky: processes that need no ``if __name__ == "__main__"``."""

from __future__ import annotations

import os
import signal
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any

from stackel.sweeps.plan import Plan, optional
from stackel.sweeps.queue import Finished, Task
from stackel.sweeps.worker import THREADS, leave_with, packed, solve_cells

IDLE = 300.0
"""Seconds after which a worker that has nothing to do ends."""

_plan = b""  # in a worker: the sweep


class Processes:
    """A :class:`~stackel.sweeps.queue.Pool` of processes; starts anew when one of them dies.

    Args:
        plan: the sweep.
        workers: how many; None: one for each core.

    Raises:
        OptionError: loky is missing, or the sweep cannot be sent to another process.
    """

    one_dies_alone = False

    def __init__(self, plan: Plan, workers: int | None) -> None:
        self._loky = optional("loky", "sweep", "executor = 'process'")
        self._plan = packed(plan)
        self._workers = workers or self._loky.cpu_count()
        self.room = self._workers + 1  # one to take up while the answers of the last are read
        self._flying: dict[Future[Any], Task] = {}
        self._start()

    def _start(self) -> None:
        self._executor = self._loky.ProcessPoolExecutor(
            self._workers,
            timeout=IDLE,
            initializer=_begin,
            initargs=(self._plan, os.getpid()),
            env=dict.fromkeys(THREADS, "1"),
        )

    def submit(self, task: Task) -> None:
        try:
            future = self._executor.submit(_solve, list(task.cells))
        except BrokenExecutor as error:  # died since; the same as dying a moment later
            future = Future()
            future.set_exception(error)
        self._flying[future] = task

    def finished(self) -> list[Finished]:
        done, _ = wait(self._flying, return_when=FIRST_COMPLETED)
        if any(isinstance(f.exception(), BrokenExecutor) for f in done):
            done, _ = wait(self._flying)  # all of them know within a moment
            self._executor.shutdown(kill_workers=True)
            self._start()
        return [
            Finished(self._flying.pop(f), None)
            if isinstance(f.exception(), BrokenExecutor)
            else Finished(self._flying.pop(f), *f.result())
            for f in done
        ]

    def close(self) -> None:
        self._executor.shutdown(kill_workers=True)


def _begin(plan: bytes, parent: int) -> None:
    global _plan
    _plan = plan
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle: it ends us
    leave_with(parent)


def _solve(numbers: list[int]) -> Any:
    return solve_cells(_plan, numbers)
