"""``sweep``: a market solved at every point of a grid, as one labelled Dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

from stackel.backend import Backend
from stackel.certificate.certificate import TOLERANCE
from stackel.game.game import Game
from stackel.leaders.anticipation import Anticipation
from stackel.sweeps.dataset import assemble
from stackel.sweeps.executors import check_executor, run
from stackel.sweeps.plan import Measure, make_plan, optional
from stackel.sweeps.store import Store
from stackel.tasks.progress import counted

if TYPE_CHECKING:
    import xarray as xr


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C during a sweep.

    Attributes:
        result: the Dataset of what was finished until then.
    """

    def __init__(self, result: xr.Dataset, message: str) -> None:
        self.result = result
        super().__init__(message)


def sweep(
    make_game: Callable[..., Game],
    grid: Mapping[str, Iterable[Any]],
    *,
    backend: str | Backend = "auto",
    seeds: int | Iterable[int] | None = None,
    executor: str = "serial",
    workers: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    measure: Measure | None = None,
    time_limit: float | None = None,
    certificate: bool = True,
    tolerance: float = TOLERANCE,
    anticipation: Anticipation = "equilibrium",
    progress: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Solve a market at every point of a grid.

    A cell that fails, for whatever reason, is recorded with its error, and the rest goes on.

    Args:
        make_game: gives the market of a cell: ``make_game(**parameters)``. If it has a parameter
            called ``seed`` and there are seeds, it gets the seed too.
        grid: values by parameter; cells are their Cartesian product.
        backend: as in :func:`stackel.solve`.
        seeds: None; a number K for the seeds 0 to K-1; or the seeds themselves. They are a further
            dimension, and the seed of ``solve``.
        executor: ``"serial"``, here; ``"process"``, processes on this machine (needs the extra
            ``sweep``); ``"ray"``, a Ray cluster (needs the extra ``ray``).
        workers: how many, by default one for each core.
        resume: a directory in which every finished cell is kept at once. The same call, made again,
            goes on where it was stopped. It belongs to one sweep.
        measure: further numbers of an answer: a function of the :class:`~stackel.Equilibrium` that
            returns numbers or 1-D arrays by name.
        time_limit: of each cell [s].
        certificate, tolerance, anticipation: as in :func:`stackel.solve`.
        progress: show a bar with the time left.
        **options: of the backend, and ``start``, ``starts`` and ``restarts`` of ``solve``.

    Returns:
        an :class:`xarray.Dataset` whose dimensions are the grid's parameters, then ``seed`` if
        there are seeds, then players and their decisions, counted from 0. Its variables, with the
        dimensions beside the cells':

        * ``leader_actions`` (leader), or (leader_decision, leader) if leaders decide more than one
          thing;
        * ``follower_actions`` (follower, leader) where followers decide something for each leader;
          otherwise (follower, follower_decision), or (follower) if they decide one thing;
        * ``leader_payoffs`` (leader), ``follower_payoffs`` (follower), ``welfare``: their sum;
        * ``certified``, ``verdict``; ``follower_gap``, ``leader_gap`` and ``violation``, relative;
        * ``status``: why the method stopped, ``"error"`` if there is no answer; ``error``: what
          went wrong, or an empty text; ``seconds``: the cell's time [s], or its share of its
          batch's;
        * what ``measure`` returns; an array gets the dimension ``NAME_index``.

        Units of actions are in the attribute ``units`` where all markets agree. Smaller markets
        than the largest are padded with NaN, cells without an answer are NaN.

    Raises:
        OptionError: whatever is wrong with the arguments, before any work.
        SweepInterrupted: Ctrl-C; a KeyboardInterrupt that carries what was finished. With
            ``resume`` it is on disk too.
    """  # noqa: DOC501 - the KeyboardInterrupt raised here ends as a SweepInterrupted
    common = {
        "certificate": certificate,
        "tolerance": tolerance,
        "anticipation": anticipation,
        "time_limit": time_limit,
    }
    check_executor(executor, workers)
    plan = make_plan(
        make_game, grid, backend=backend, seeds=seeds, measure=measure, solve=common | options
    )
    optional("xarray", "sweep", "a sweep")
    store = None if resume is None else Store(resume, plan.fingerprint())
    with nullcontext() if store is None else closing(store):
        done = {} if store is None else store.read()
        todo = [k for k in range(plan.size) if k not in done]
        line = counted("cells", plan.size, len(done)) if progress else nullcontext(_unseen)
        with line as report:
            try:
                for outcomes in run(plan, todo, executor, workers):
                    done |= {o.cell: o.text for o in outcomes}
                    if store is not None:
                        store.append((o.cell, o.text) for o in outcomes if o.finished)
                    report(len(outcomes), sum(o.failed for o in outcomes))
                    if not all(o.finished for o in outcomes):
                        raise KeyboardInterrupt
            except KeyboardInterrupt:
                message = f"interrupted with {len(done)} of {plan.size} cells"
                raise SweepInterrupted(assemble(plan, done), message) from None
    return assemble(plan, done)


def _unseen(done: int, failed: int) -> None:
    """The progress bar where none is wanted."""
