"""Checks of a stated game before any solver starts: formulas that run, limits that can be met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stackel.calculus.batch import agreeing
from stackel.calculus.calculus import Calculus, trace
from stackel.errors import GameError, InfeasibleError, NoEquilibriumError
from stackel.followers.existence import diagnose, undoubted
from stackel.followers.response import Response, settle, settled_in_the_middle
from stackel.followers.starts import first_guess, inside
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.types import Array


def check(game: Game) -> None:
    """Everything that can be known to be wrong before iterating.

    Raises:
        GameError: a formula does not differentiate, has the wrong shape or no finite value.
        InfeasibleError: no follower action meets the followers' limits.
        NoEquilibriumError: the followers' best replies grow without end.
    """
    if not isinstance(game, Game):
        raise GameError(
            f"expected a stackel.Game, got {type(game).__name__}; write a market as a dataclass "
            "that subclasses stackel.Game, or use one of stackel.formulations"
        )
    calculus = trace(game)
    x = middle(*game.leader_bounds)
    y = inside(game, first_guess(game))
    formulas = {
        "follower_payoff": calculus.follower_payoffs(y, y, x),
        "leader_payoff": calculus.leader_values(x, y)[0],
    }
    for formula, value in formulas.items():
        if not np.isfinite(value).all():
            player = int(np.flatnonzero(~np.isfinite(value))[0])
            raise GameError(
                f"{type(game).__name__}.{formula} is {value[player]} for player {player} in the "
                "middle of the actions' bounds; expected a finite number: check the data and the "
                "bounds (a logarithm or a root of something negative?)"
            )
    lam, mu = calculus.zeros(())
    if not np.isfinite(calculus.system(y, y, x, lam, mu)[0]).all():
        raise GameError(
            f"{type(game).__name__}.follower_payoff has no finite derivative in the middle of the "
            "actions' bounds; expected a formula that differentiates there"
        )
    problem = diagnose(calculus)
    if problem:
        raise NoEquilibriumError(f"{game}: {problem}.")
    if calculus.m or calculus.k:
        _check_limits(calculus, x, y)


def screen(whole: Calculus, games: Sequence[Game]) -> tuple[Array, Response]:
    """The same questions of a batch of markets: which are beyond doubt (B,), and their followers'
    answers in the middle of the leaders' bounds.

    A market that fails one is not refused: it is left to be looked at alone, which says why.
    """
    x, y = middle(*whole.leader_bounds), inside(whole, whole.first_guess)
    field = whole.system(y, y, x, *whole.zeros(x.shape[:1]))[0]
    values = (whole.follower_payoffs(y, y, x), whole.leader_values(x, y)[0], field)
    finite = np.all([np.isfinite(v).reshape(len(x), -1).all(-1) for v in values], axis=0)
    settled = settle(whole, x)
    return agreeing(whole, games) & finite & undoubted(whole) & settled.converged, settled


def _check_limits(calculus: Calculus, x: Array, y: Array) -> None:
    if calculus.once(settled_in_the_middle).converged:
        return
    profile = _least_violation(calculus, x, y)
    _, own, shared = calculus.system(profile, profile, x, *calculus.zeros(()))
    worst = max(float(own.max(initial=0.0)), float(shared.max(initial=0.0)))
    if worst <= 1e-6 * (1.0 + float(np.abs(profile).max())):
        return
    if own.size and own.max() == worst:
        i, column = np.unravel_index(int(own.argmax()), own.shape)
        what = f"limit {calculus.limit_names[column]!r} of follower {i}"
    else:
        what = f"shared limit {calculus.shared_names[int(shared.argmax())]!r}"
    shown = np.array2string(x, precision=4, threshold=8)
    raise InfeasibleError(
        f"{calculus.title}: {what} cannot be met: at leader actions {shown} the least violation "
        f"over all {calculus.follower_name} within its bounds is {worst:.6g} > 0. Loosen the limit "
        "or widen the bounds"
    )


def _least_violation(calculus: Calculus, x: Array, y: Array) -> Array:
    """Follower actions (I, n) that break the limits least, by squares, from some to start from."""
    from scipy.optimize import minimize

    none = calculus.zeros(())

    def broken(flat: Any) -> tuple[float, Any]:
        profile = flat.reshape(y.shape)
        base, own, shared = calculus.system(profile, profile, x, *none)
        own, shared = np.maximum(own, 0.0), np.maximum(shared, 0.0)
        pushed = calculus.system(profile, profile, x, own, shared)[0]
        value = 0.5 * float((own**2).sum() + (shared**2).sum())
        if not np.isfinite(value):
            return 1e300, np.zeros_like(flat)
        return value, (pushed - base).ravel()  # the field is affine in the multipliers

    edge = 1e-6 * (1.0 + np.abs(y))
    open_low, open_high = calculus.open_bounds
    low, high = calculus.follower_bounds
    inner = (low + np.where(open_low, edge, 0.0), high - np.where(open_high, edge, 0.0))
    bounds = list(zip(*(bound.ravel() for bound in inner), strict=True))
    start: Any = y.ravel()
    options: Any = {"maxiter": 500, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(broken, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return found.x.reshape(y.shape)
