"""``newton``: followers by semismooth Newton, leaders by exact sensitivities.

The followers' equilibrium at given prices is a complementarity system, solved by the core's
semismooth Newton method (:mod:`stackel.followers.complementarity`; matrix-free for many followers).
How it moves with the prices follows from the implicit function theorem, so the leaders' first-order
conditions are known exactly and are solved by Newton's method too. Whether their answer is a
global optimum for every leader is the certificate's question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from stackel.backend import Backend, begin, check_positive, check_whole, only
from stackel.calculus.calculus import Calculus, trace
from stackel.followers.feasibility import somewhere
from stackel.followers.response import Response, reply, settle
from stackel.game.game import Game
from stackel.leaders.equilibrium import find
from stackel.leaders.oracle import Followers
from stackel.leaders.slopes import own_slopes
from stackel.run import Point, Points, Run
from stackel.types import Array


class _CoreFollowers(Followers):
    """The core's own followers, with exact slopes."""

    difference = 1e-5
    exact = True

    def at(self, index: Any) -> Followers:
        part = self.calculus.at(index)
        return self if part is self.calculus else _CoreFollowers(part, self.anticipation)

    def settle(self, x: Array, start: Response | None) -> Response:
        return settle(self.calculus, x, start or self._begin())

    def _begin(self) -> Response | None:
        """What limits were checked with, if there are any: a start that meets them."""
        calculus = self.calculus
        if calculus.batched or not (calculus.m or calculus.k):
            return None
        known = calculus.once(somewhere)[1]
        return known if known.converged else None

    def reply(self, x: Array, rivals: Array, start: Response | None) -> Response:
        return reply(self.calculus, x, rivals, start)

    def slopes(self, x: Array, at: Response) -> tuple[Array, Array | None]:
        if self.anticipation != "equilibrium":
            return super().slopes(x, at)
        found = own_slopes(self.calculus, x, at)
        return found.payoffs, found.moves


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
        check_positive(self, "leader_tolerance")
        check_whole(self, max_sweeps=0, points=5)

    def accepts(self, game: Game) -> list[str]:
        trace(game)  # raises a GameError if a formula does not differentiate
        return []

    def solve(self, game: Game, run: Run) -> Point:
        calculus = trace(game)
        return only(self.solve_batch(calculus, run, begin(calculus, run)), calculus, self.name)

    def solve_batch(
        self, whole: Calculus, run: Run, start: Array, settled: Response | None = None
    ) -> Points:
        return find(
            _CoreFollowers(whole, run.anticipation),
            run,
            start,
            tolerance=self.leader_tolerance,
            max_sweeps=self.max_sweeps,
            points=self.points,
            survey=False,
            settled=settled,
        )
