"""Checks of a stated game before any solver starts: formulas that run, limits that can be met."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stackel.calculus.batch import agreeing
from stackel.calculus.calculus import Calculus, trace
from stackel.errors import GameError, InfeasibleError, NoEquilibriumError
from stackel.followers.existence import diagnose, undoubted
from stackel.followers.feasibility import leader_actions, somewhere
from stackel.followers.limits import MET, least_violation
from stackel.followers.response import Response, settle
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
    x, y = calculus.footing[0], inside(game, first_guess(game))
    formulas = {
        "follower_payoff": calculus.follower_payoffs(y, y, x),
        "leader_payoff": calculus.leader_values(x, y)[0],
    }
    for formula, value in formulas.items():
        if not np.isfinite(value).all():
            player = int(np.flatnonzero(~np.isfinite(value))[0])
            raise GameError(
                f"{type(game).__name__}.{formula} is {value[player]} for player {player} in the "
                "middle of the actions' bounds, and wherever else it was looked at; expected a "
                "finite number: check the data and the bounds (a logarithm or a root of something "
                "negative?)"
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
        _check_limits(calculus, y)


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


def _check_limits(calculus: Calculus, y: Array) -> None:
    """Somewhere in the leaders' ranges the followers must be able to meet their limits.

    Raises:
        InfeasibleError: nowhere there.
    """
    if calculus.once(somewhere)[1].converged:
        return
    best = None
    actions = leader_actions(calculus)
    for x in actions:
        profile, broken = least_violation(calculus, x, y)
        if broken <= MET:
            return
        if best is None or broken < best[0]:
            best = broken, x, profile
    assert best is not None
    _, x, profile = best
    _, own, shared = calculus.system(profile, profile, x, *calculus.zeros(()))
    worst = max(float(own.max(initial=0.0)), float(shared.max(initial=0.0)))
    if own.size and own.max() == worst:
        i, column = np.unravel_index(int(own.argmax()), own.shape)
        what = f"limit {calculus.limit_names[column]!r} of follower {i}"
    else:
        what = f"shared limit {calculus.shared_names[int(shared.argmax())]!r}"
    shown = np.array2string(x, precision=4, threshold=8)
    raise InfeasibleError(
        f"{calculus.title}: {what} cannot be met: at none of {len(actions)} leader actions over "
        f"the whole of their ranges; the least violation is {worst:.6g} > 0, at {shown}, over all "
        f"{calculus.follower_name} within its bounds. Loosen the limit or widen the bounds"
    )
