"""Where cells are solved: here, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from stackel.errors import OptionError, unknown
from stackel.sweeps import cells
from stackel.sweeps.cells import Outcome
from stackel.sweeps.plan import Plan
from stackel.sweeps.processes import Processes
from stackel.sweeps.queue import Pool, Queue, Task
from stackel.sweeps.ray_cluster import RayTasks

POOLS: Mapping[str, Callable[[Plan, int | None], Pool]] = {"process": Processes, "ray": RayTasks}
EXECUTORS = ("serial", *POOLS)


def check_executor(executor: object, workers: object) -> None:
    """Refuse what is not an executor, or not a number of workers.

    Args:
        executor: one of :data:`EXECUTORS`.
        workers: how many, or None.

    Raises:
        OptionError: it is something else.
    """  # noqa: DOC501 - unknown() makes an OptionError
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    if workers is not None and (type(workers) is not int or workers < 1):
        raise OptionError(
            f"workers = {workers!r}; expected a whole number of at least 1, or None for all cores"
        )


def run(
    plan: Plan, todo: Sequence[int], executor: str, workers: int | None
) -> Iterator[list[Outcome]]:
    """Solve cells.

    Args:
        plan: the sweep.
        todo: numbers of the cells.
        executor: where, one of :data:`EXECUTORS`.
        workers: how many; None: by default of the executor.

    Yields:
        outcomes as they come, in any order.

    Raises:
        OptionError: the executor cannot run here, or cannot take this sweep.
        KeyboardInterrupt: Ctrl-C; what was handed out before holds.
    """
    if not todo:
        return
    if executor == "serial":
        yield from _serial(plan, todo)
        return
    pool = POOLS[executor](plan, workers)
    try:
        yield from _drive(pool, Queue(todo, pool.room, cells.in_batches(plan)))
    finally:
        pool.close()


def _serial(plan: Plan, todo: Sequence[int]) -> Iterator[list[Outcome]]:
    queue = Queue(todo, 1, cells.in_batches(plan))
    while queue:
        task = queue.take()
        began = time.perf_counter()
        outcomes = cells.run(plan, task.cells)
        queue.learn(len(outcomes), time.perf_counter() - began)
        yield outcomes


def _drive(pool: Pool, queue: Queue) -> Iterator[list[Outcome]]:
    """Keep a pool busy; a task whose worker died is tried again, then its culprit is found.

    A second death under the same task makes it a suspect. Where a death takes all tasks in flight
    with it, suspects run one at a time. A suspect of several cells that kills again is halved, one
    of a single cell is recorded as failed.

    Yields:
        outcomes, a task's at a time.
    """
    again: deque[Task] = deque()
    suspects: deque[Task] = deque()
    flying = 0
    while queue or again or suspects or flying:
        alone = bool(suspects) and not pool.one_dies_alone
        while flying < (1 if alone else pool.room) and (suspects or again or queue):
            source = suspects or again
            pool.submit(source.popleft() if source else queue.take())
            flying += 1
        for done in pool.finished():
            flying -= 1
            task = done.task
            if done.outcomes is not None:
                queue.learn(len(task.cells), done.seconds)
                yield done.outcomes
            elif task.strikes == 0:
                again.append(Task(task.cells, 1))
            elif task.strikes == 1 and not pool.one_dies_alone:
                suspects.append(Task(task.cells, 2))
            elif len(task.cells) > 1:
                middle = len(task.cells) // 2
                halves = (task.cells[:middle], task.cells[middle:])
                suspects.extend(Task(half, task.strikes) for half in halves)
            else:
                why = "the process that solved this cell died again when it was tried again"
                yield [cells.lost(task.cells[0], f"{why} (out of memory?)")]
