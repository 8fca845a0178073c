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
(:mod:`stackel.solvers.leaders`), by payoffs alone, without a derivative of the followers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stackel import response
from stackel.backend import Backend, check_range
from stackel.calculus import Calculus
from stackel.complementarity import TO_THE_EDGE, solve_dense
from stackel.game import Game
from stackel.response import Response
from stackel.run import Point, Run
from stackel.solvers.leaders import Followers, find, multipliers
from stackel.systems import shared_gradients

Array = np.ndarray

CURVATURE_POINTS = 5
"""Random actions at which concavity in the own action is looked at before accepting a game."""

ADAPT_UNTIL = 300
"""Inner iterations after which penalties stay as they are, so that the iteration converges."""


@dataclass
class _State:
    """The inner loop's variables, batch axis first."""

    y: Array  # (B, I, n)
    lam: Array  # (B, I, m)
    mu: Array  # (B, k)
    kappa: Array  # (B,) relative penalty
    tau: Array  # (B,) relative proximal weight

    def take(self, batch: Array) -> _State:
        return _State(*(v[batch] for v in vars(self).values()))

    def put(self, batch: Array, other: _State) -> None:
        for name, value in vars(other).items():
            getattr(self, name)[batch] = value


class _Inner:
    """The inner loop at leader actions x (B, d, J); rivals given: every follower on its own."""

    def __init__(self, game: Game, x: Array, rivals: Array | None, options: ADMM) -> None:
        self.game, self.x, self.rivals, self.options = game, x, rivals, options
        self.calculus: Calculus = game.calculus
        self.low, self.high = game.follower_bounds
        self.open_low, self.open_high = response.edges(game, x)

    def at(self, batch: Array) -> _Inner:
        rivals = None if self.rivals is None else self.rivals[batch]
        return _Inner(self.game, self.x[batch], rivals, self.options)

    def others(self, y: Array) -> Array:
        return y if self.rivals is None else self.rivals

    def residuals(self, s: _State) -> tuple[Array, Array]:
        """Primal and dual residual of each batch element, lengths in the units of y."""
        r = self.others(s.y)
        F, c, G = self.calculus.system(s.y, r, self.x, s.lam, s.mu)
        H, C = self.calculus.own_blocks(s.y, r, self.x, s.lam, s.mu)
        h = _diagonal(H)
        dual = np.abs(s.y - np.clip(s.y - F / h, self.low, self.high)).max((-1, -2))
        size = _squared(C, h)
        off = np.abs(s.lam - np.maximum(0.0, s.lam + c / size)) * _reach(C, h)
        primal = off.max((-1, -2), initial=0.0)
        if self.calculus.k:
            A = self._shared(s.y)
            flat = h.reshape(len(h), -1)
            off = np.abs(s.mu - np.maximum(0.0, s.mu + G / _squared(A, flat))) * _reach(A, flat)
            primal = np.maximum(primal, off.max(-1))
        return primal, dual

    def _shared(self, y: Array) -> Array:
        return shared_gradients(self.calculus, y, y, self.x)

    def iterate(self, s: _State) -> _State:
        """One pass: everybody's argmax, then the multipliers."""
        calculus, x = self.calculus, self.x
        r = self.others(s.y)
        H, C = calculus.own_blocks(s.y, r, x, s.lam, s.mu)
        h = _diagonal(H)
        rho = s.kappa[:, None, None] / _squared(C, h)
        A, G, sigma = self._coupling(s, h)
        y = self._argmax(s, r, h, rho, A, G, sigma)
        own = calculus.system(y, self.others(y), x, s.lam, s.mu)
        lam = np.maximum(0.0, s.lam + rho * own[1])
        mu = np.maximum(0.0, s.mu + sigma * own[2]) if calculus.k else s.mu
        return _State(y, lam, mu, s.kappa, s.tau)

    def _coupling(self, s: _State, h: Array) -> tuple[Array, Array, Array]:
        """Shared limits: gradients (B, k, I, n), values (B, k), penalties (B, k)."""
        B, k = len(s.y), self.calculus.k
        if not k:
            return np.zeros((B, 0, *s.y.shape[1:])), s.mu, s.mu
        A = self._shared(s.y)
        G = self.calculus.system(s.y, s.y, self.x, s.lam, s.mu)[2]
        sigma = s.kappa[:, None] / _squared(A, h.reshape(B, -1))
        return A.reshape(B, k, *s.y.shape[1:]), G, sigma

    def _argmax(
        self, s: _State, r: Array, h: Array, rho: Array, A: Array, G: Array, sigma: Array
    ) -> Array:
        """Each follower's augmented argmax, by projected Newton with its own line search."""
        y = s.y
        prox = s.tau[:, None, None] * h
        n = y.shape[-1]
        for _ in range(self.options.argmax_steps):
            F, H, C, bent, shared = self._model(s, y, r, rho, A, G, sigma)
            F = F + (shared[..., None, :] @ np.moveaxis(A, 1, 2))[..., 0, :]
            F = F + prox * (y - s.y)
            H = H + np.swapaxes(C, -1, -2) @ (bent[..., None] * C)
            H = H + self._coupled_hessian(A, shared, sigma)
            H = H + prox[..., None] * np.eye(n)
            fixed = ((y <= self.low) & (F > 0)) | ((y >= self.high) & (F < 0))
            unit = fixed[..., None]
            move = solve_dense(
                np.where(unit | np.swapaxes(unit, -1, -2), np.eye(n), H),
                np.where(fixed, 0.0, -F)[..., None],
            )[..., 0]
            y_new = self._line_search(s, y, move, F, r, rho, A, G, sigma, prox)
            change = np.abs(y_new - y).max()
            y = y_new
            if change <= 1e-14 * (1 + np.abs(y).max()):
                break
        return y

    def _coupled_hessian(self, A: Array, shared: Array, sigma: Array) -> Array:
        if not self.calculus.k:
            return np.zeros((1, 1, 1, 1))
        weight = np.where(shared > 0, sigma[:, None, :], 0.0)  # (B, I, k)
        own = np.moveaxis(A, 1, 2)  # (B, I, k, n)
        return np.swapaxes(own, -1, -2) @ (weight[..., None] * own)

    def _model(
        self, s: _State, y: Array, r: Array, rho: Array, A: Array, G: Array, sigma: Array
    ) -> tuple[Array, Array, Array, Array, Array]:
        """Field, Hessian and limits' gradients at the augmented multipliers; where they bend."""
        calculus = self.calculus
        none = np.zeros((len(y), calculus.k))
        c = calculus.system(y, r, self.x, s.lam, none)[1] if calculus.m else s.lam
        augmented = np.maximum(0.0, s.lam + rho * c)
        F = calculus.system(y, r, self.x, augmented, none)[0]
        H, C = calculus.own_blocks(y, r, self.x, augmented, none)
        bent = np.where(augmented > 0, rho, 0.0)
        return F, H, C, bent, self._shared_multipliers(s, y, A, G, sigma)

    def _shared_multipliers(
        self, s: _State, y: Array, A: Array, G: Array, sigma: Array
    ) -> Array:
        """Augmented multipliers of the shared limits as each follower foresees them (B, I, k)."""
        if not self.calculus.k:
            return np.zeros((*y.shape[:2], 0))
        alone = G[:, None, :] + (A * (y - s.y)[:, None]).sum(-1).swapaxes(1, 2)
        return np.maximum(0.0, s.mu[:, None, :] + sigma[:, None, :] * alone)

    def _line_search(
        self,
        s: _State,
        y: Array,
        move: Array,
        F: Array,
        r: Array,
        rho: Array,
        A: Array,
        G: Array,
        sigma: Array,
        prox: Array,
    ) -> Array:
        room = np.full(y.shape, np.inf)
        with np.errstate(all="ignore"):
            room = np.where(
                self.open_low & (move < 0), TO_THE_EDGE * (self.low - y) / move, room
            )
            room = np.where(
                self.open_high & (move > 0), TO_THE_EDGE * (self.high - y) / move, room
            )
        step = np.minimum(1.0, room.min(-1))
        before = self._loss(s, y, r, rho, A, G, sigma, prox)
        best, pending = y, np.ones(y.shape[:2], dtype=bool)
        noise = 1e-13 * (1 + np.abs(before))
        for _ in range(30):
            trial = np.clip(y + step[..., None] * move, self.low, self.high)
            loss = self._loss(s, trial, r, rho, A, G, sigma, prox)
            gain = (F * (trial - y)).sum(-1)
            good = loss <= before + 1e-4 * np.minimum(gain, 0.0) + noise
            best = np.where((pending & good)[..., None], trial, best)
            pending = pending & ~good
            if not pending.any():
                break
            step = np.where(pending, step / 2, step)
        return best

    def _loss(
        self,
        s: _State,
        y: Array,
        r: Array,
        rho: Array,
        A: Array,
        G: Array,
        sigma: Array,
        prox: Array,
    ) -> Array:
        """Minus each follower's augmented Lagrangian (B, I)."""
        out = -self.calculus.follower_payoffs(y, r, self.x)
        if self.calculus.m:
            none = np.zeros((len(y), self.calculus.k))
            c = self.calculus.system(y, r, self.x, s.lam, none)[1]
            pushed = np.maximum(0.0, s.lam + rho * c)
            out = out + ((pushed**2 - s.lam**2) / (2 * rho)).sum(-1)
        if self.calculus.k:
            pushed = self._shared_multipliers(s, y, A, G, sigma)
            out = out + (pushed**2 / (2 * sigma[:, None, :])).sum(-1)
        out = out + (prox * (y - s.y) ** 2).sum(-1) / 2
        return np.where(np.isfinite(out), out, np.inf)


def _diagonal(H: Array) -> Array:
    h = np.abs(np.diagonal(H, axis1=-2, axis2=-1))
    return np.where(h > 1e-12, h, 1.0)


def _squared(C: Array, h: Array) -> Array:
    """Squared lengths of limits' gradients (..., q, p) in the metric 1/h."""
    s = (C * C / h[..., None, :]).sum(-1)
    return np.where(s > 0, s, 1.0)


def _reach(C: Array, h: Array) -> Array:
    """How far y moves for a unit of each multiplier."""
    return np.sqrt(((C / h[..., None, :]) ** 2).sum(-1))


class _AdmmFollowers(Followers):
    """The inner loop as an oracle for the leaders' search."""

    def __init__(self, game: Game, run: Run, options: ADMM) -> None:
        super().__init__(game, run.anticipation)
        self.run, self.options = run, options
        self.inner_iterations = 0

    def settle(self, x: Array, start: Response | None) -> Response:
        return self._loop(x, None, start, record=False)

    def reply(self, x: Array, rivals: Array, start: Response | None) -> Response:
        found = self._loop(x, rivals, start, record=False)
        share = (*found.y.shape[:2],)
        per_follower = np.broadcast_to(found.residual[:, None], share)
        good = np.broadcast_to(found.converged[:, None], share)
        return Response(found.y, found.lam, found.mu, per_follower, good)

    def trace(self, x: Array) -> Response:
        """The inner loop at the final prices (d, J) once more, from scratch, for the history."""
        return self._loop(x[None], None, None, record=True)

    def _loop(
        self, x: Array, rivals: Array | None, start: Response | None, record: bool
    ) -> Response:
        game, options = self.game, self.options
        B, shape = len(x), game.follower_shape
        inner = _Inner(game, x, rivals, options)
        lam, mu = game.calculus.zeros((B,))
        y = response.first_guess(game)
        if start is not None:
            y, lam, mu = (
                np.broadcast_to(v, (B, *v.shape[1:])) for v in (start.y, start.lam, start.mu)
            )
        y = np.array(np.broadcast_to(response.inside(game, y, x), (B, *shape)))
        s = _State(y, np.array(lam), np.array(mu), np.full(B, options.penalty), np.zeros(B))
        primal, dual = np.full(B, np.inf), np.full(B, np.inf)
        reference = np.full(B, np.inf)
        live = np.arange(B)
        for t in range(1, options.max_inner + 1):
            self.run.check()
            part = inner.at(live)
            now = part.iterate(s.take(live))
            primal[live], dual[live] = part.residuals(now)
            if t <= ADAPT_UNTIL and t % 5 == 0:
                self._balance(now, primal[live], dual[live])
            if t % 10 == 0:  # replies in turn overshoot: damp them
                stuck = dual[live] > 0.9 * reference[live]
                now.tau = np.where(stuck, np.maximum(0.5, 2 * now.tau), now.tau)
                now.tau = np.minimum(now.tau, 1e6)
                reference[live] = dual[live]
            s.put(live, now)
            if record:
                self.run.step(
                    stage="inner",
                    primal=float(primal[0]),
                    dual=float(dual[0]),
                    penalty=float(s.kappa[0]),
                )
            aim = options.inner_tolerance * (1 + np.abs(s.y[live]).max((-1, -2)))
            live = live[~(np.maximum(primal[live], dual[live]) <= aim)]
            if not len(live):
                break
        self.inner_iterations += t
        residual = np.maximum(primal, dual)
        good = residual <= 100 * options.inner_tolerance * (1 + np.abs(s.y).max((-1, -2)))
        return Response(s.y, s.lam, s.mu, residual, good, t)

    @staticmethod
    def _balance(s: _State, primal: Array, dual: Array) -> None:
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
        tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best prices in turn.
        points: trial actions on each leader's line.
    """

    penalty: float = 10.0
    inner_tolerance: float = 1e-10
    max_inner: int = 3000
    argmax_steps: int = 6
    tolerance: float = 1e-8
    max_sweeps: int = 30
    points: int = 33

    name: ClassVar[str] = "admm"

    def __post_init__(self) -> None:
        for option in ("penalty", "inner_tolerance", "tolerance"):
            value = getattr(self, option)
            check_range(option, value, "a positive number", value > 0)
        for option, least in (("max_inner", 1), ("argmax_steps", 1), ("max_sweeps", 0)):
            value = getattr(self, option)
            check_range(option, value, f"a whole number of at least {least}", value >= least)
        check_range("points", self.points, "at least 5", self.points >= 5)

    def accepts(self, game: Game) -> list[str]:
        """Refuses games in which a follower's own problem is not concave where looked at."""
        calculus = game.calculus
        x = response.middle(*game.leader_bounds)[None]
        rng = np.random.default_rng(0)
        guess = response.inside(game, response.first_guess(game), x)
        low, high = game.follower_bounds
        lam, mu = calculus.zeros((1,))
        for k in range(CURVATURE_POINTS):
            y = guess if k == 0 else np.clip(guess * rng.uniform(0.2, 3.0, guess.shape), low, high)
            y = response.inside(game, y, x)[None]
            H, _ = calculus.own_blocks(y, y, x, lam, mu)
            if not np.isfinite(H).all():
                continue
            lowest = np.linalg.eigvalsh((H + np.swapaxes(H, -1, -2)) / 2)[0].min(-1)
            if (lowest < -1e-9 * np.abs(H).max()).any():
                i = int(lowest.argmin())
                return [
                    f"follower_payoff is not concave in follower {i}'s own action (curvature "
                    f"{-lowest[i]:.3g} at {y[0, i].round(4).tolist()}): the augmented argmax of "
                    "ADMM needs it to be"
                ]
        return []

    def solve(self, game: Game, run: Run) -> Point:
        followers = _AdmmFollowers(game, run, self)
        found = find(
            followers,
            run,
            tolerance=self.tolerance,
            max_sweeps=self.max_sweeps,
            points=self.points,
            survey=True,
        )
        at = found.at[0]
        run.keep(found.x, at.y)
        final = followers.trace(found.x)[0]
        stats = {
            "inner_iterations": followers.inner_iterations,
            "newton_steps": found.newton_steps,
            "sweeps": found.sweeps,
        }
        best = final if final.residual <= at.residual else at
        return Point(
            found.x, best.y, found.status, multipliers(game, best), stats, found.detail
        )
