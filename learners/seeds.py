"""The same training from several seeds, in parallel processes of one thread each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from stackel.backend import make
from stackel.errors import OptionError, StackelError
from stackel.game.game import Game
from stackel.results.equilibrium import Equilibrium
from stackel.tasks.progress import counted
from stackel.tasks.solve import solve


def solve_seeds(
    game: Game,
    backend: str = "malppo",
    *,
    seeds: int | Sequence[int] = 4,
    workers: int | None = None,
    checkpoints: str | Path = "",
    progress: bool = False,
    **options: Any,
) -> list[Equilibrium]:
    """Train from several seeds at once; what a single lucky seed hides, their spread shows.

    Args:
        game: the market.
        backend: a learner's name.
        seeds: how many (0, 1, ...), or which.
        workers: processes; default one a core.
        checkpoints: a folder for one checkpoint a seed; a run that was stopped goes on from them.
        progress: show how many seeds are done.
        **options: of the backend and of :func:`stackel.solve`.

    Returns:
        one answer a seed, in their order.

    Raises:
        OptionError: a bad option, before any training starts.
        StackelError: a training failed; the others' checkpoints hold what they had.
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        seeds = range(seeds)
    chosen = list(seeds) if isinstance(seeds, Sequence) else []
    if not chosen or not all(isinstance(s, int) and s >= 0 for s in chosen):
        raise OptionError(f"seeds = {seeds!r}; expected a number of seeds, or a list of them")
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise OptionError(f"workers = {workers!r}; expected a whole number of at least 1")
    of_solve = ("time_limit", "tolerance", "certificate", "throw", "start")
    make(backend, {k: v for k, v in options.items() if k not in of_solve})
    folder = Path(checkpoints)
    if checkpoints:
        folder.mkdir(parents=True, exist_ok=True)
    count = workers or min(len(chosen), os.cpu_count() or 1)
    show = counted(f"{game}: seeds", len(chosen)) if progress else nullcontext(lambda done: None)
    # Fresh processes: a fork of one that has run torch can hang.
    with show as advance, ProcessPoolExecutor(count, get_context("spawn")) as pool:
        futures = []
        for seed in chosen:
            if checkpoints:
                options["checkpoint"] = str(folder / f"seed-{seed}.pt")
            futures.append(pool.submit(solve, game, backend, seed=seed, **options))
        try:
            for future in as_completed(futures):
                future.result()
                advance(1)
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, (StackelError, KeyboardInterrupt)):
                raise
            raise StackelError(f"a training failed: {type(error).__name__}: {error}") from error
    return [future.result() for future in futures]
