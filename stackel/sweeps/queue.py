"""Cells handed out in tasks, and the workers that take them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stackel.sweeps.cells import Outcome

FIRST, MOST = 4, 1000
"""Cells of the first batch, and of the largest."""


ENOUGH = 1.0
"""Seconds that a batch may take: what has not come back is lost if the sweep is killed."""


@dataclass(frozen=True)
class Task:
    """Cells that are solved together.

    Attributes:
        cells: their numbers.
        strikes: how often a worker died while it held them.
    """

    cells: Sequence[int]
    strikes: int = 0


@dataclass(frozen=True)
class Finished:
    """A task that a pool is done with.

    Attributes:
        task: what was to be done.
        outcomes: one a cell; None if the worker died.
        seconds: time it took [s].
    """

    task: Task
    outcomes: list[Outcome] | None
    seconds: float = 0.0


class Pool(Protocol):
    """Workers that solve tasks.

    Attributes:
        room: tasks that may be in flight: enough to keep all workers busy.
        one_dies_alone: whether a worker that dies takes only its own task with it; otherwise all
            tasks in flight are lost, and nobody knows whose fault it was.
    """

    room: int
    one_dies_alone: bool

    def submit(self, task: Task) -> None:
        """Start a task."""

    def finished(self) -> list[Finished]:
        """Wait until at least one task is done."""

    def close(self) -> None:
        """Let nothing go on."""


class Queue:
    """The cells to come, handed out in tasks of a size that suits their speed.

    Args:
        todo: numbers of cells.
        workers: among how many they are shared.
        batched: whether several cells are solved faster together than one by one.
    """

    def __init__(self, todo: Sequence[int], workers: int, batched: bool) -> None:
        self._todo = deque(todo)
        self._workers = workers
        self._batched = batched
        self._size = FIRST

    def __bool__(self) -> bool:
        return bool(self._todo)

    def take(self) -> Task:
        """The next cells, fewer near the end, so that all workers end at about the same time."""
        share = -(-len(self._todo) // (2 * self._workers)) if self._workers > 1 else MOST
        size = min(self._size, share) if self._batched else 1
        return Task([self._todo.popleft() for _ in range(min(size, len(self._todo)))])

    def learn(self, done: int, seconds: float) -> None:
        """Adapt the size of the tasks to come.

        Args:
            done: cells of a task that is done.
            seconds: time that they took [s].
        """
        fitting = int(done * ENOUGH / max(seconds, 1e-6))
        self._size = max(1, min(MOST, fitting, 4 * max(done, FIRST)))
