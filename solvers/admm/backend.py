"""``admm``: the inner and outer loop of the vehicular-twin paper (Algorithm 1), corrected.

Inner loop, at given prices. Each follower maximises its augmented Lagrangian with the others held
(16), all followers at once, and the multipliers move up the limits' violation (17):

    y_i   <- argmax payoff_i - 1/(2 rho) sum (max(0, lam + rho c_i)^2 - lam^2)
                             - tau/2 |y_i - y_i^t|^2_h
    lam_i <- max(0, lam_i + rho c_i(y_i))

Against the paper's print: both terms of (16) are subtracted, not added; the limits are
inequalities, so the penalty acts on the violated part and the multipliers stay nonnegative; and
the loop runs while the change is above the threshold. The proximal term tau (proximal Jacobi ADMM:
Deng, Lai, Peng, Yin, J. Sci. Comput. 71, 2017) is zero unless replies in turn overshoot, as
quantities in a Cournot game do. The penalty is balanced between the primal residual (violation)
and the dual one (stationarity): Boyd et al., Foundations and Trends in Machine Learning 3, 2011,
section 3.4.1.

Outer loop: each leader moves to its best price with the followers re-settled by the inner loop
(:mod:`stackel.leaders.equilibrium`), by payoffs alone, without a derivative of the followers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stackel.backend import Backend, begin, check_positive, check_whole, only
from stackel.calculus.calculus import Calculus, trace
from stackel.followers.response import Response
from stackel.followers.starts import first_guess, inside
from stackel.followers.systems import shared_gradients
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.leaders.equilibrium import find
from stackel.leaders.oracle import Followers
from stackel.run import Point, Run
from stackel.solvers.admm.augmented import Augmented, Box, State, off_limit, own_diagonal
from stackel.types import Array

CURVATURE_POINTS = 5
"""Random actions at which concavity in the own action is looked at before accepting a game."""

ADAPT_UNTIL = 300
"""Inner iterations after which penalties stay as they are, so that the iteration converges."""


class AdmmFollowers(Followers):
    """The inner loop as an oracle for the leaders' search.

    Args:
        calculus: the market.
        run: the run, whose time and anticipation count.
        options: the backend's.
    """

    def __init__(self, calculus: Calculus, run: Run, options: ADMM) -> None:
        super().__init__(calculus, run.anticipation)
        self.run, self.options = run, options
        self.box = Box(*calculus.follower_bounds, *calculus.open_bounds)
        self.inner_iterations = 0

    def settle(self, x: Array, start: Response | None) -> Response:
        return self._loop(x, None, start)

    def reply(self, x: Array, rivals: Array, start: Response | None) -> Response:
        return self._loop(x, rivals, start)

    def trace(self, x: Array) -> Response:
        """The inner loop at the final prices (d, J) once more, from scratch, for the history."""
        return self._loop(x[None], None, None, record=True)

    def _loop(
        self, x: Array, rivals: Array | None, start: Response | None, record: bool = False
    ) -> Response:
        """The inner loop at leader actions x (B, d, J); rivals given: every follower on its own."""
        calculus, options, B = self.calculus, self.options, len(x)
        if start is None:
            y, (lam, mu) = calculus.first_guess, calculus.zeros((B,))
        else:
            start = start.broadcast((B,))
            y, lam, mu = start.y, start.lam, start.mu
        y = np.array(np.broadcast_to(inside(calculus, y), (B, *calculus.follower_shape)))
        kappa, moved = np.full(B, options.penalty), np.zeros_like(y)
        s = State(y, np.array(lam), np.array(mu), kappa, np.zeros(B), moved)
        primal, dual = np.full(B, np.inf), np.full(B, np.inf)
        live = np.arange(B)
        for t in range(1, options.max_inner + 1):
            self.run.check()
            here, held = x[live], None if rivals is None else rivals[live]
            with np.errstate(all="ignore"):  # a trial outside the domain is told by its loss
                now = self._iterate(s.take(live), here, held)
                primal[live], dual[live] = self._residuals(now, here, held)
            if t <= ADAPT_UNTIL and t % 5 == 0:
                self._balance(now, primal[live], dual[live])
            s.put(live, now)
            if record:
                shown = {"primal": primal[0], "dual": dual[0], "penalty": s.kappa[0]}
                self.run.step(stage="inner", **{k: float(v) for k, v in shown.items()})
            aim = options.inner_tolerance * (1 + np.abs(s.y[live]).max((-1, -2)))
            live = live[~(np.maximum(primal[live], dual[live]) <= aim)]
            if not len(live):
                break
        self.inner_iterations += t
        residual = np.maximum(primal, dual)
        good = residual <= 100 * options.inner_tolerance * (1 + np.abs(s.y).max((-1, -2)))
        if rivals is not None:
            residual, good = (np.broadcast_to(v[:, None], y.shape[:2]) for v in (residual, good))
        return Response(s.y, s.lam, s.mu, residual, good, t)

    def _iterate(self, s: State, x: Array, rivals: Array | None) -> State:
        """One pass: everybody's argmax (16), then the multipliers (17)."""
        one = Augmented(self.calculus, x, s, s.y if rivals is None else rivals, self.box)
        y = one.argmin(self.options.argmax_steps)
        held = y if rivals is None else rivals
        _, c, G = self.calculus.system(y, held, x, s.lam, s.mu)
        lam = np.maximum(0.0, s.lam + one.rho * c)
        mu = np.maximum(0.0, s.mu + one.sigma * G)
        moved = y - s.y
        # Replies in turn that overshoot swing back nearly as far as they came: damp them.
        swing = (moved * s.moved).sum((-1, -2))
        far, near = (s.moved**2).sum((-1, -2)), (moved**2).sum((-1, -2))
        overshot = (swing < -0.5 * np.sqrt(far * near)) & (near > 0.5 * far)
        tau = np.where(overshot, np.maximum(0.25, 1.5 * s.tau), s.tau)
        return State(y, lam, mu, s.kappa, tau, moved)

    def _residuals(self, s: State, x: Array, rivals: Array | None) -> tuple[Array, Array]:
        """Primal and dual residual of each batch element, lengths in the units of y."""
        calculus = self.calculus
        arguments = (s.y, s.y if rivals is None else rivals, x, s.lam, s.mu)
        F, c, G = calculus.system(*arguments)
        H, C = calculus.own_blocks(*arguments)
        h = own_diagonal(H)
        along = np.clip(F / h, s.y - self.box.high, s.y - self.box.low)
        dual = np.abs(along).max((-1, -2))
        primal = off_limit(s.lam, c, C, h).max((-1, -2), initial=0.0)
        if calculus.k:
            A = shared_gradients(calculus, s.y, s.y, x)
            shared = off_limit(s.mu, G, A, h.reshape(len(h), -1))
            primal = np.maximum(primal, shared.max(-1))
        return primal, dual

    @staticmethod
    def _balance(s: State, primal: Array, dual: Array) -> None:
        up, down = primal > 10 * dual, dual > 10 * primal
        if s.lam.size or s.mu.size:
            s.kappa = np.where(up, s.kappa * 2, np.where(down, s.kappa / 2, s.kappa))
            s.kappa = np.clip(s.kappa, 1e-2, 1e4)


@dataclass(frozen=True)
class ADMM(Backend):
    """Algorithm 1 of the vehicular-twin paper, corrected, for any game with concave followers.

    Attributes:
        penalty: rho to start from, relative to each follower's curvature over its limit's
            squared gradient; adapted to balance the residuals.
        inner_tolerance: primal and dual residual to reach, relative to 1 + max |y|.
        max_inner: most inner iterations.
        argmax_steps: most Newton steps on one augmented argmax.
        leader_tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best prices in turn.
        points: trial actions on each leader's line.
    """

    penalty: float = 10.0
    inner_tolerance: float = 1e-10
    max_inner: int = 3000
    argmax_steps: int = 6
    leader_tolerance: float = 1e-8
    max_sweeps: int = 30
    points: int = 33

    name: ClassVar[str] = "admm"

    def __post_init__(self) -> None:
        check_positive(self, "penalty", "inner_tolerance", "leader_tolerance")
        check_whole(self, max_inner=1, argmax_steps=1, max_sweeps=0, points=5)

    def accepts(self, game: Game) -> list[str]:
        """Refuses games in which a follower's own problem is not concave where looked at."""
        calculus = trace(game)
        x = middle(*game.leader_bounds)[None]
        guess = inside(game, first_guess(game))
        low, high = game.follower_bounds
        lam, mu = calculus.zeros((1,))
        shape = (CURVATURE_POINTS - 1, *guess.shape)
        for scale in (1.0, *np.random.default_rng(0).uniform(0.2, 3.0, shape)):
            y = inside(game, np.clip(guess * scale, low, high))[None]
            H, _ = calculus.own_blocks(y, y, x, lam, mu)
            if not np.isfinite(H).all():
                continue
            lowest = np.linalg.eigvalsh((H + np.swapaxes(H, -1, -2)) / 2)[0].min(-1)
            if (lowest < -1e-9 * np.abs(H).max()).any():
                i = int(lowest.argmin())
                where = f"curvature {-lowest[i]:.3g} at {y[0, i].round(4).tolist()}"
                why = f"follower_payoff is not concave in follower {i}'s own action ({where})"
                return [f"{why}: the augmented argmax of ADMM needs it to be"]
        return []

    def solve(self, game: Game, run: Run) -> Point:
        calculus = trace(game)
        followers = AdmmFollowers(calculus, run, self)
        found = find(
            followers,
            run,
            begin(calculus, run),
            tolerance=self.leader_tolerance,
            max_sweeps=self.max_sweeps,
            points=self.points,
            survey=True,
        )
        point = only(found, calculus, self.name)
        run.keep(point.x, point.y)
        final = followers.trace(point.x)[0]
        if final.residual <= found.residual[0]:
            point.y, point.multipliers = final.y, calculus.named(final.lam, final.mu)
        point.stats["inner_iterations"] = followers.inner_iterations
        return point
