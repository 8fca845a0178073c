"""The leaders' equilibrium over a follower oracle, written once for every backend that has one.

Two methods take turns until one of them settles:

* *stationarity*: semismooth Newton on all leaders' first-order conditions at once, within their
  bounds. Quadratic near an equilibrium where payoffs are smooth.
* *sweeps*: leaders in turn move to their best action, searched globally on a line with the
  followers re-settled (Gauss-Seidel). Needs no derivative: the way through kinks, where followers
  drop out or limits start to bind. Coming back to where a sweep has been is a cycle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from stackel import complementarity
from stackel.calculus import matrices
from stackel.deviations import Oracle, broken_limit, payoffs_alone, search_lines, search_range
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.multistart import together
from stackel.response import Anticipation, Response
from stackel.run import Run, Status
from stackel.types import Array


class Followers(ABC):
    """A backend's way to answer leader actions (B, d, J)."""

    difference = 3e-4
    """Step of numerical slopes, relative to 1 + |x|: large enough for the oracle's accuracy."""

    exact_slopes = False
    """Whether :meth:`slopes` are derivatives rather than differences."""

    def __init__(self, game: Game, anticipation: Anticipation) -> None:
        self.game = game
        self.anticipation = anticipation

    @abstractmethod
    def settle(self, x: Array, start: Response | None) -> Response:
        """The followers' equilibrium."""

    @abstractmethod
    def reply(self, x: Array, rivals: Array, start: Response | None) -> Response:
        """Each follower's best reply, rivals (B, I, n) held; residuals are per follower."""

    def foresee(self, x: Array, at: Response) -> Response:
        """What leaders foresee when they move to x (B, d, J) from where followers stood at."""
        if self.anticipation == "equilibrium":
            return self.settle(x, at)
        if self.anticipation == "none":
            return at
        own = self.reply(x, at.y, None)
        good = np.asarray(own.converged.all(-1))
        return Response(own.y, at.lam, at.mu, own.residual.max(-1), good)

    def slopes(self, x: Array, at: Response) -> Array:
        """Each leader's total derivative by its own decisions (B, d, J), by central differences."""
        up, down, width = _steps(self.game, x, self.difference)
        trials = np.concatenate([up, down], 1)  # (B, 2p, d, J)
        B, p2 = trials.shape[:2]
        held = at[np.repeat(np.arange(B), p2)]
        answer = self.foresee(trials.reshape(B * p2, *x.shape[1:]), held)
        flat = trials.reshape(B * p2, *x.shape[1:])
        payoff = self.game.calculus.leader_values(flat, answer.y)[0].reshape(B, 2, p2 // 2, -1)
        d, J = self.game.leader_shape
        leader = np.tile(np.arange(J), d)
        change = payoff[:, 0, np.arange(d * J), leader] - payoff[:, 1, np.arange(d * J), leader]
        return (change / width).reshape(B, d, J)


def _steps(game: Game, x: Array, relative: float) -> tuple[Array, Array, Array]:
    """Profiles with each decision in turn moved up and down, (B, p, d, J) each, and how far."""
    low, high = game.leader_bounds
    B, p = len(x), x[0].size
    step = relative * (1.0 + np.abs(x.reshape(B, p)))
    units = np.eye(p).reshape(p, *x.shape[1:])
    up = np.minimum(x[:, None] + step[..., None, None] * units, high)
    down = np.maximum(x[:, None] - step[..., None, None] * units, low)
    width = (up - down).reshape(B, p, p)[:, np.arange(p), np.arange(p)]
    return up, down, np.where(width > 0, width, 1.0)


class _Stationarity:
    """The leaders' first-order conditions as a complementarity system (one batch element)."""

    def __init__(self, followers: Followers, run: Run, at: Response) -> None:
        self.followers, self.run, self.begin = followers, run, at
        self.game = followers.game
        low, high = self.game.leader_bounds
        self.low, self.high = low.ravel(), high.ravel()
        self.open_low = self.open_high = np.zeros(low.size, dtype=bool)
        self._known: dict[bytes, tuple[Response, Array]] = {}
        self._jacobians: dict[bytes, Array] = {}
        self._last: Array | None = None

    def at(self, batch: Array) -> _Stationarity:
        return self

    def evaluate(self, x: Array) -> tuple[Response, Array]:
        """The response and slopes at one profile (d, J), remembered."""
        key = x.tobytes()
        if key not in self._known:
            self.run.check()
            up, down, width = _steps(self.game, x[None], self.followers.difference)
            group = np.concatenate([x[None], up[0], down[0]])  # x and its neighbours at once
            answer = self.followers.settle(group, self.begin)
            slopes = self.followers.slopes(group, answer)
            at = answer[:1]
            if at.converged.all():
                self.begin = at  # the next profile is likely closer to this one
            ahead, behind = np.split(slopes[1:].reshape(-1, x.size), 2)
            self._known[key] = at, slopes[0]
            self._jacobians[key] = -((ahead - behind) / width[0][:, None]).T
        return self._known[key]

    def values(self, y: Array, lam: Array) -> tuple[Array, Array]:
        _, slopes = self.evaluate(y.reshape(self.game.leader_shape))
        return -slopes.reshape(1, -1), lam

    def jacobian(self, y: Array) -> Array:
        """Derivatives of minus the slopes, (p, p), by central differences."""
        x = y.reshape(self.game.leader_shape)
        self.evaluate(x)
        return self._jacobians[x.tobytes()]

    def scales(self, y: Array, lam: Array) -> tuple[Array, Array, Array]:
        h = np.abs(np.diagonal(self.jacobian(y)))
        h = np.where(h > 1e-12 * h.max(initial=1e-300), h, 1.0)[None]
        return h, np.ones_like(lam), np.ones_like(lam)

    def step(
        self,
        y: Array,
        lam: Array,
        rows: complementarity.Rows,
        right_y: Array,
        right_lam: Array,
    ) -> tuple[Array, Array]:
        x = y.reshape(self.game.leader_shape)
        at, _ = self.evaluate(x)
        before = self._last if self._last is not None else x
        self._last = x
        _record(self.run, self.game, x, at, float(np.abs(x - before).max()))
        matrix = rows.weight_y[0][:, None] * self.jacobian(y) + np.diag(rows.diagonal_y[0])
        return matrices.solve(matrix[None], right_y[..., None])[..., 0], -lam

    def concave(self, y: Array, margin: float = 1e-9) -> bool:
        """Whether every free decision sits at a maximum, not at a minimum, of its leader."""
        _, slopes = self.evaluate(y.reshape(self.game.leader_shape))
        h = np.diagonal(self.jacobian(y))
        scale = np.abs(h).max(initial=1e-300)
        flat_slopes = slopes.ravel()
        free = (y > self.low) & (y < self.high)
        pushed = (flat_slopes > 0) & (y >= self.high) | (flat_slopes < 0) & (y <= self.low)
        return bool((h[free & ~pushed] >= -margin * scale).all())


@dataclass
class Found:
    """Where the leaders' search ended."""

    x: Array
    at: Response
    status: Status
    detail: str
    sweeps: int
    newton_steps: int


def find(
    followers: Followers,
    run: Run,
    *,
    tolerance: float,
    max_sweeps: int,
    points: int,
    survey: bool,
) -> Found:
    """The leaders' equilibrium, the followers answering.

    Args:
        followers: the oracle.
        run: the run; its ``start`` is where to begin (default the middle of the bounds).
        tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best actions in turn.
        points: trial actions on each line.
        survey: begin with one global look along each leader's line.
    """
    game = followers.game
    x = middle(*game.leader_bounds) if run.start is None else np.array(run.start)
    at = followers.settle(x[None], None)
    _record(run, game, x, at, np.nan)
    limits = bool(game.calculus.leader_limits)
    if survey and not limits and game.leader_shape[0] == 1:
        x, at = _survey(followers, run, x, at, points)
    trail = [x]
    newton_steps = sweeps = 0
    while True:
        smooth, solution = _stationary(followers, run, x, at, tolerance)
        newton_steps += solution.iterations
        if smooth is not None:
            xs, ats = smooth
            if not limits or _feasible(game, xs, ats):
                _record(run, game, xs, ats, solution.residual.max())
                return Found(xs, ats, Status.CONVERGED, "", sweeps, newton_steps)
        for _ in range(3):
            if sweeps >= max_sweeps:
                detail = f"{sweeps} sweeps over the leaders"
                return Found(x, at, Status.ITERATION_LIMIT, detail, sweeps, newton_steps)
            sweeps += 1
            before = x
            x, at = _sweep(followers, run, x, at, points)
            change = np.abs(x - before).max() / (1.0 + np.abs(x).max())
            if change <= max(tolerance, 1e-8):
                broken = broken_limit(game, x, at.y[0]) if limits else ""
                if broken:
                    return Found(x, at, Status.FAILED, broken, sweeps, newton_steps)
                return Found(x, at, Status.CONVERGED, "", sweeps, newton_steps)
            again = _visited(game, x, trail[:-1])
            if again is not None:
                shown = " -> ".join(
                    np.array2string(v.ravel(), precision=6) for v in [*trail[again:], x]
                )
                detail = f"best actions in turn: {shown}"
                return Found(x, at, Status.CYCLE, detail, sweeps, newton_steps)
            trail.append(x)


def _visited(game: Game, x: Array, trail: list[Array]) -> int | None:
    low, high = search_range(game, x)
    width = np.where(high > low, high - low, 1.0)
    for k, old in enumerate(trail):
        if (np.abs(x - old) <= 1e-6 * width).all():
            return k
    return None


def _feasible(game: Game, x: Array, at: Response) -> bool:
    return bool((game.calculus.leader_values(x, at.y[0])[1] < 0).all())


def _survey(
    followers: Followers, run: Run, x: Array, at: Response, points: int
) -> tuple[Array, Response]:
    """All leaders at once to the best of a coarse look: a start in the right neighbourhood."""
    found = search_lines(followers.game, x, _oracle(followers, run, at), points=points, rounds=0)
    at = followers.settle(found.action[None], at)
    run.keep(found.action, at.y[0])
    return found.action, at


def _oracle(followers: Followers, run: Run, at: Response) -> Oracle:
    def answer(trials: Array) -> tuple[Array, Array]:
        run.check()
        held = at[np.zeros(len(trials), dtype=int)]
        out = followers.foresee(trials, held)
        known = followers.anticipation == "none"
        return out.y, np.ones(len(trials), dtype=bool) if known else out.converged

    return answer


def _stationary(
    followers: Followers, run: Run, x: Array, at: Response, tolerance: float
) -> tuple[tuple[Array, Response] | None, complementarity.Solution]:
    """Newton on the first-order conditions; None where it fails or ends in somebody's minimum."""
    system = _Stationarity(followers, run, at)
    start = x.reshape(1, -1)
    solution = complementarity.solve(
        system,
        start,
        np.zeros((1, 0)),
        tolerance=tolerance,
        acceptable=100 * tolerance,
        max_iterations=25,
        patience=3,
    )
    there = solution.y.reshape(followers.game.leader_shape)
    if not solution.converged.all():
        return None, solution
    response, _ = system.evaluate(there)
    if not response.converged.all() or not system.concave(solution.y[0]):
        return None, solution
    doubts = [_returns(x, there)]
    if not followers.exact_slopes:
        doubts.append(_neighbours(followers, there))
    trials, leader = (np.concatenate(part) for part in zip(*doubts, strict=True))
    if len(trials) and _beaten(followers, run, there, response, trials, leader):
        return None, solution
    return (there, response), solution


def _returns(start: Array, x: Array) -> tuple[Array, Array]:
    """Profiles in which one leader goes back to where it started, and which leader."""
    moved = np.flatnonzero((start != x).any(0))
    trials = np.repeat(x[None], len(moved), axis=0)
    trials[np.arange(len(moved)), :, moved] = start[:, moved].T
    return trials, moved


def _neighbours(followers: Followers, x: Array) -> tuple[Array, Array]:
    """Profiles within one difference step.

    Differences across a kink average its two slopes and vanish beside it, within one step: some
    leader then does better at one of these.
    """
    up, down, _ = _steps(followers.game, x[None], followers.difference)
    trials = [x + (side[0] - x) * f for side in (up, down) for f in (1.0, 0.5, 0.1)]
    leader = np.tile(np.arange(x.shape[1]), x.shape[0])
    return np.concatenate(trials), np.tile(leader, len(trials))


def _beaten(
    followers: Followers, run: Run, x: Array, at: Response, trials: Array, leader: Array
) -> bool:
    """Whether a leader does better in one of the profiles in which it alone moves."""
    payoff, _ = payoffs_alone(followers.game, trials, leader, _oracle(followers, run, at))
    now = followers.game.calculus.leader_values(x, at.y[0])[0]
    return bool((payoff - now[leader] > 1e-9 * (1e-300 + np.abs(now).max())).any())


def _sweep(
    followers: Followers, run: Run, x: Array, at: Response, points: int
) -> tuple[Array, Response]:
    """Each leader in turn to its best action, decision by decision."""
    game = followers.game
    before = x
    for j in range(game.n_leaders):
        for decision in range(game.leader_shape[0]):
            found = search_lines(
                game,
                x,
                _oracle(followers, run, at),
                points=points,
                rounds=7,
                decision=decision,
                leaders=np.array([j]),
            )
            if np.isfinite(found.payoff[j]):
                x = found.action
                at = followers.settle(x[None], at)
        if game.leader_shape[0] > 1 or game.calculus.leader_limits:
            exact = followers.exact_slopes and followers.anticipation == "equilibrium"
            x = together(game, x, j, _oracle(followers, run, at), at[0] if exact else None)
            at = followers.settle(x[None], at)
    _record(run, game, x, at, float(np.abs(x - before).max()))
    return x, at


def _record(run: Run, game: Game, x: Array, at: Response, change: float) -> None:
    """A row of the history: how far the leaders moved, where they are, what they have."""
    run.step(
        x,
        at.y[0],
        stage="outer",
        change=float(change),
        follower_residual=float(at.residual.max()),
        **{game.leader_action.name: x.ravel()},
        payoff=game.calculus.leader_values(x, at.y[0])[0],
    )


def multipliers(game: Game, at: Response) -> dict[str, Array]:
    """Named multipliers of a response without batch axes: own limits (I, m), shared as stated."""
    out: dict[str, Array] = {}
    start = 0
    for name, e in game.calculus.own_limits.items():
        out[name] = np.array(at.lam[:, start : start + e.shape[1]])
        start += e.shape[1]
    start = 0
    for name, e in game.calculus.shared_limits.items():
        size = e.shape[0] * e.shape[1]
        out[name] = np.array(at.mu[start : start + size]).reshape(e.shape)
        start += size
    return out
