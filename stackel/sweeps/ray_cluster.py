"""Workers on a Ray cluster: the one that this process is connected to, or one on this machine."""

from __future__ import annotations

import logging
from typing import Any

from stackel.sweeps.plan import Plan, optional
from stackel.sweeps.queue import Finished, Task
from stackel.sweeps.worker import packed, solve_cells


class RayTasks:
    """A :class:`~stackel.sweeps.queue.Pool` of Ray tasks.

    Ray is used as it is if it runs; otherwise the cluster named by ``RAY_ADDRESS``, or started on
    this machine by ``ray start``, is joined; otherwise one is started here and ended at the end.

    Args:
        plan: the sweep.
        workers: how many tasks are in flight; None: two for each core of the cluster.

    Raises:
        OptionError: Ray is missing, or the sweep cannot be sent to another process.
    """

    one_dies_alone = True

    def __init__(self, plan: Plan, workers: int | None) -> None:
        self._ray = ray = optional("ray", "ray", "executor = 'ray'")
        blob = packed(plan)
        self._ours = not ray.is_initialized()
        if self._ours:
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            try:
                ray.init("auto", **quiet)
            except ConnectionError:
                ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
        # Ray's own second try would hide from us that the cell kills.
        self._solve = ray.remote(num_cpus=1, max_retries=0)(solve_cells)
        self._plan = ray.put(blob)
        cores = int(ray.cluster_resources().get("CPU", 1))
        self.room = workers or 2 * cores  # the next one is there when a core is free
        self._flying: dict[Any, Task] = {}

    def submit(self, task: Task) -> None:
        self._flying[self._solve.remote(self._plan, list(task.cells))] = task

    def finished(self) -> list[Finished]:
        ready, _ = self._ray.wait(list(self._flying), num_returns=1)
        more, _ = self._ray.wait(list(self._flying), num_returns=len(self._flying), timeout=0)
        out = []
        for ref in {*ready, *more}:
            task = self._flying.pop(ref)
            try:
                out.append(Finished(task, *self._ray.get(ref)))
            except self._ray.exceptions.RayTaskError as error:  # raised by our own code there
                raise (error.cause or error) from None
            except self._ray.exceptions.RayError:  # the worker, or its machine, is gone
                out.append(Finished(task, None))
        return out

    def close(self) -> None:
        for ref in self._flying:
            self._ray.cancel(ref, force=True)
        if self._ours:
            self._ray.shutdown()
