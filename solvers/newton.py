"""``newton``: followers by semismooth Newton, leaders by exact sensitivities.

The followers' equilibrium at given prices is a complementarity system, solved by the core's
semismooth Newton method (:mod:`stackel.complementarity`; matrix-free for many followers). How it
moves with the prices follows from the implicit function theorem, so the leaders' first-order
conditions are known exactly and are solved by Newton's method too. Whether their answer is a
global optimum for every leader is the certificate's question.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from stackel.backend import Backend, check_range
from stackel.calculus.calculus import trace
from stackel.followers import response
from stackel.followers.response import Response, settled_in_the_middle
from stackel.game.game import Game
from stackel.leaders.equilibrium import find
from stackel.leaders.oracle import Followers
from stackel.leaders.slopes import own_slopes
from stackel.run import Point, Points, Run
from stackel.solvers.newton_stack import find as find_stack
from stackel.types import Array


class _CoreFollowers(Followers):
    """The core's own followers, with exact slopes."""

    difference = 1e-5
    exact_slopes = True

    @cached_property
    def _begin(self) -> Response | None:
        calculus = trace(self.game)
        if not (calculus.m or calculus.k):
            return None
        known = calculus.once(settled_in_the_middle)
        return known if known.converged else None

    def settle(self, x: Array, start: Response | None) -> Response:
        return response.settle(self.game, x, start or self._begin)

    def reply(self, x: Array, rivals: Array, start: Response | None) -> Response:
        return response.reply(self.game, x, rivals, start)

    def slopes(self, x: Array, at: Response) -> Array:
        if self.anticipation == "equilibrium":
            return own_slopes(self.game, x, at)
        return super().slopes(x, at)


@dataclass(frozen=True)
class Newton(Backend):
    """Semismooth Newton for followers and leaders.

    Attributes:
        leader_tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best actions in turn, where Newton's method fails on a kink.
        points: trial actions on each leader's line in such a round.
    """

    leader_tolerance: float = 1e-10
    max_sweeps: int = 60
    points: int = 65

    name: ClassVar[str] = "newton"

    def __post_init__(self) -> None:
        check_range(
            "leader_tolerance", self.leader_tolerance, "positive", self.leader_tolerance > 0
        )
        check_range("max_sweeps", self.max_sweeps, "a number of at least 0", self.max_sweeps >= 0)
        check_range("points", self.points, "at least 5", self.points >= 5)

    def accepts(self, game: Game) -> list[str]:
        trace(game)  # raises a GameError if a formula does not differentiate
        return []

    def solve_batch(self, whole: Game, run: Run, start: Array, settled: Response) -> Points:
        return find_stack(
            whole,
            run,
            start,
            settled,
            tolerance=self.leader_tolerance,
            max_sweeps=self.max_sweeps,
            points=self.points,
        )

    def solve(self, game: Game, run: Run) -> Point:
        followers = _CoreFollowers(game, run.anticipation)
        found = find(
            followers,
            run,
            tolerance=self.leader_tolerance,
            max_sweeps=self.max_sweeps,
            points=self.points,
            survey=False,
        )
        at = found.at[0]
        return Point(
            found.x,
            at.y,
            found.status,
            trace(game).named(at.lam, at.mu),
            {"newton_steps": found.newton_steps, "sweeps": found.sweeps},
            found.detail,
        )
