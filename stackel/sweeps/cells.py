"""One cell of a sweep, or a batch of them: from parameters to what is kept of the answer.

What is kept is JSON text from here on, in memory as on disk, so that a sweep that was stopped and
gone on with gives what an uninterrupted one gives. Floats are written by Python's ``repr``, which
reads back as the same float.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel.calculus.batch import kind_of
from stackel.errors import GameError, StackelError
from stackel.game.game import Game
from stackel.results.equilibrium import Equilibrium, NotConverged
from stackel.run import Status
from stackel.sweeps.plan import TAKEN, Plan
from stackel.tasks.many import FEWEST, solve_many
from stackel.tasks.solve import solve

BATCHED = ("auto", "closed-form", "newton")
"""Backends that solve many markets of one shape at once."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        cell: its number.
        text: what is kept of the answer, as JSON; see :func:`kept`.
        finished: False if Ctrl-C cut it short.
        failed: whether there is an error.
    """

    cell: int
    text: str
    finished: bool = True
    failed: bool = False


def in_batches(plan: Plan) -> bool:
    """Whether a sweep's cells go through :func:`stackel.solve_many`."""
    backend = plan.backend if isinstance(plan.backend, str) else plan.backend.name
    each = plan.solve["time_limit"] is not None or {"start", "starts"} & plan.solve.keys()
    return backend in BATCHED and not each


def run(plan: Plan, cells: Sequence[int]) -> list[Outcome]:
    """Solve some cells; whatever goes wrong in one is its outcome.

    Args:
        plan: the sweep.
        cells: numbers of cells.

    Returns:
        an outcome for each, in their order.

    Raises:
        KeyboardInterrupt: Ctrl-C outside of a solve, which would keep its best point so far.
    """
    if in_batches(plan):
        return _together(plan, cells)
    return [_alone(plan, cell) for cell in cells]


def lost(cell: int, why: str) -> Outcome:
    """The outcome of a cell whose worker died.

    Args:
        cell: its number.
        why: what is known of it.
    """
    return _outcome(cell, {"status": "error", "error": f"WorkerLost: {why}"})


def _alone(plan: Plan, cell: int) -> Outcome:
    began = time.perf_counter()
    answer: Equilibrium | Exception
    try:
        game, seed = _market(plan, cell)
        answer = solve(game, plan.backend, seed=seed, **{"proof": False, **plan.solve})
    except Exception as error:  # of make_game's too: anything
        answer = error
    return _finish(plan, cell, answer, time.perf_counter() - began)


def _together(plan: Plan, cells: Sequence[int]) -> list[Outcome]:
    began = time.perf_counter()
    answers: dict[int, Any] = {}
    games: dict[int, Game] = {}
    for cell in cells:
        try:
            games[cell] = _market(plan, cell)[0]
        except Exception as error:
            answers[cell] = error
    options = {k: v for k, v in plan.solve.items() if k != "time_limit"}
    try:
        found = solve_many(_enough(list(games.values())), plan.backend, **options)
    except Exception as error:  # of one market's formulas: which one, each alone will tell
        logger.info("a batch of %d cells is solved one by one: %s", len(cells), _said(error))
        return [_alone(plan, cell) for cell in cells]
    answers |= dict(zip(games, found, strict=False))
    each = (time.perf_counter() - began) / len(cells)
    return [
        _alone(plan, k) if _draws(plan, answers[k]) else _finish(plan, k, answers[k], each)
        for k in cells
    ]


def _enough(games: list[Game]) -> list[Game]:
    """The games, and copies of those that are too few of their kind to be solved in a batch.

    Found in a batch or alone, answers differ in their last digits; which it is must not depend on
    where a sweep was stopped and gone on with.
    """
    kinds: dict[Any, list[Game]] = {}
    for game in games:
        kinds.setdefault(kind_of(game), []).append(game)
    few = (same for kind, same in kinds.items() if kind is not None and len(same) < FEWEST)
    return games + [same[0] for same in few for _ in range(FEWEST - len(same))]


def _draws(plan: Plan, answer: Any) -> bool:
    """Whether an answer may be one of the cell's own seed: the batch has none."""
    eq = answer.result if isinstance(answer, NotConverged) else answer
    if plan.seeds is None or plan.backend != "auto" or not isinstance(eq, Equilibrium):
        return False
    return eq.status is not Status.INTERRUPTED and eq.backend not in BATCHED


def _market(plan: Plan, cell: int) -> tuple[Game, int | None]:
    arguments, seed = plan.arguments(cell)
    game = plan.make_game(**arguments)
    if not isinstance(game, Game):
        raise GameError(f"make_game returned {game!r}; expected a stackel.Game")
    return game, seed


def _finish(plan: Plan, cell: int, answer: Any, seconds: float) -> Outcome:
    error = ""
    if isinstance(answer, NotConverged):
        answer, error = answer.result, f"NotConverged: {answer.why}"
    if isinstance(answer, Exception):
        return _outcome(cell, {"status": "error", "error": _said(answer), "seconds": seconds})
    out = kept(answer)
    try:
        out["measured"] = _measured(plan, answer)
    except Exception as problem:
        error = error or f"measure: {_said(problem)}"
    return _outcome(cell, {**out, "error": error, "seconds": seconds})


def _outcome(cell: int, out: Mapping[str, Any]) -> Outcome:
    finished = out["status"] != Status.INTERRUPTED.name.lower()
    return Outcome(cell, json.dumps(out), finished, bool(out["error"]))


def kept(eq: Equilibrium) -> dict[str, Any]:
    """What a sweep keeps of an answer, as JSON data.

    Actions ``x`` (d, J) and ``y`` (I, n) in their units, payoffs (J,) and (I,); gaps and violation
    are relative, and only there if the answer has a certificate.
    """
    game, c = eq.game, eq.certificate
    leader, follower = game.leader_action, game.follower_action
    out = {
        "market": type(game).__name__,
        "leader": [leader.name, leader.unit],
        "follower": [follower.name, follower.unit],
        "for_each_leader": follower.size is None,
        "x": eq.leader_actions.tolist(),
        "y": eq.follower_actions.tolist(),
        "leader_payoffs": eq.leader_payoffs.tolist(),
        "follower_payoffs": eq.follower_payoffs.tolist(),
        "welfare": eq.welfare,
        "status": eq.status.name.lower(),
    }
    if c is not None:
        out["verdict"] = c.verdict
        out["follower_gap"] = c.relative_follower_gap
        out["leader_gap"] = c.relative_leader_gap
        out["violation"] = c.violation
    return out


def _measured(plan: Plan, eq: Equilibrium) -> dict[str, Any]:
    if plan.measure is None:
        return {}
    found = plan.measure(eq)
    if not isinstance(found, Mapping):
        raise GameError(f"returned {found!r}; expected numbers by name")
    out = {}
    for name, value in found.items():
        if name in TAKEN or name in plan.grid or name == "seed":
            raise GameError(f"the name {name!r} is taken; choose another")
        array = np.asarray(value, dtype=float)
        if array.ndim > 1:
            raise GameError(f"{name!r} has shape {array.shape}; expected a number or a 1-D array")
        out[name] = array.tolist()
    return out


def _said(error: Exception) -> str:
    """An exception in one line; one that is not this library's with the place it comes from."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, StackelError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return text + where
