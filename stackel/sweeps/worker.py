"""The far end of an executor: what runs in a worker. A sweep travels there once, as bytes."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from stackel.errors import OptionError
from stackel.sweeps import cells
from stackel.sweeps.cells import Outcome
from stackel.sweeps.plan import Plan

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Variables that tell numeric libraries how many threads to start: one, where each core has a
worker."""


def packed(plan: Plan) -> bytes:
    """A sweep as bytes; functions that no module holds (``lambda``, a notebook's) as their code.

    Python's path travels with it, for the modules that hold the others.

    Raises:
        OptionError: make_game, measure or a value of the grid cannot be sent to another process.
    """
    import cloudpickle

    path = [entry or str(Path.cwd()) for entry in sys.path]
    try:
        return pickle.dumps((path, cloudpickle.dumps(plan)))
    except Exception as error:  # whatever an object's own __reduce__ raises
        parts: dict[str, Any] = {"make_game": plan.make_game, "measure": plan.measure}
        parts |= {f"grid[{name!r}]": values for name, values in plan.grid.items()}
        for name, part in parts.items():
            try:
                cloudpickle.dumps(part)
            except Exception as problem:
                raise OptionError(
                    f"{name} cannot be sent to another process: {type(problem).__name__}: "
                    f"{problem}; make in it what it needs (files, locks, connections), or use "
                    "executor='serial'"
                ) from error
        raise OptionError(f"this sweep cannot be sent to another process: {error}") from error


def solve_cells(packed_plan: bytes, numbers: Sequence[int]) -> tuple[list[Outcome], float]:
    """Outcomes, and the time they took [s].

    Args:
        packed_plan: what :func:`packed` made of the sweep.
        numbers: of the cells.

    Raises:
        OptionError: the sweep cannot be unpacked here.
    """
    plan = _unpacked(packed_plan)
    began = time.perf_counter()
    outcomes = cells.run(plan, numbers)
    return outcomes, time.perf_counter() - began


@lru_cache(maxsize=1)
def _unpacked(packed_plan: bytes) -> Plan:
    path, plan = pickle.loads(packed_plan)
    sys.path += [entry for entry in path if entry not in sys.path]
    try:
        return pickle.loads(plan)
    except Exception as error:
        raise OptionError(
            f"this sweep cannot be unpacked in a worker: {type(error).__name__}: {error}; the "
            "module of make_game must be importable there"
        ) from None


def leave_with(parent: int) -> None:
    """End this process when its parent has gone: nobody would hear its answers.

    Args:
        parent: the parent's process number.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
