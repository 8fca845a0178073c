"""``closed-form``: games whose followers answer affinely and whose leaders' payoffs are simple.

For the vehicular-twin market with slack limits, A = 2 diag(beta) - W is the followers' system, so
purchases are b_ij = u_i - s p_j v_i with u = A^-1 alpha and v = A^-1 1, and leader j's payoff is a
quadratic over an affine function of its own price. With a = sum(u) / (s sum(v)) and S_j the sum of
the others' 1/p_l its best price is

    p_j = (sqrt((1 + S_j a)(1 + S_j c_j)) - 1) / S_j,    clipped to [c_j, p_max],

which replaces (15) of the paper; the map is a standard function (positive, monotone, scalable:
Yates, IEEE JSAC 13, 1995), so the equilibrium is unique and the iteration converges from any start.

Nothing here knows that market. The backend finds by running a game whether its followers' system
is affine, whether their answer is affine in the leaders' decisions, and whether each leader's
payoff is a quadratic over an affine function of its own decision; then it recovers the
coefficients and maximises that ratio exactly. Linear-quadratic pricing games and Cournot games
with linear demand are of this kind too. At the answer it checks that bounds and limits are slack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stackel.backend import Backend, check_range
from stackel.calculus.calculus import trace
from stackel.calculus.concavity import Concavity
from stackel.errors import Refusal
from stackel.followers.complementarity import Rows
from stackel.followers.response import Response
from stackel.followers.starts import first_guess, inside
from stackel.followers.systems import Alone, Joint
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.run import Point, Points, Run, Status
from stackel.solvers.closed_form.batch import iterate
from stackel.types import Array

SAMPLES = 7
"""Payoffs from which the four coefficients of a ratio are recovered; the rest verify it."""

EXACT = 1e-8
"""Relative misfit up to which recovered coefficients count as the formula's own."""


class _NotThisForm(Exception):
    """A condition fails; the message is the reason for refusing."""


@dataclass
class _Affine:
    """Followers' answers: y(x) = base + sum_j x_j slopes[j], limits and bounds left out.

    ``foreseen`` are the slopes that the leaders count on (the same, unless they foresee less).
    """

    base: Array  # (I, n)
    slopes: Array  # (J, I, n)
    foreseen: Array  # (J, I, n)

    def at(self, x: Array) -> Array:
        """(B, 1, J) to (B, I, n)."""
        return self.base + np.einsum("bj,jin->bin", x[:, 0], self.slopes, optimize=True)


@dataclass(frozen=True)
class ClosedForm(Backend):
    """Affine followers, ratio payoffs: exact best decisions, iterated to a fixed point.

    Attributes:
        leader_tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best decisions in turn.
    """

    leader_tolerance: float = 1e-13
    max_sweeps: int = 500

    name: ClassVar[str] = "closed-form"

    def __post_init__(self) -> None:
        check_range(
            "leader_tolerance", self.leader_tolerance, "positive", self.leader_tolerance > 0
        )
        check_range("max_sweeps", self.max_sweeps, "at least 1", self.max_sweeps >= 1)

    def accepts(self, game: Game) -> list[str]:
        out = []
        if game.leader_shape[0] != 1:
            out.append(f"leaders have {game.leader_shape[0]} decisions each; it takes one each")
        if trace(game).formulas.leader_limits:
            out.append("leaders have limits of their own")
        structure = trace(game).concavity
        if not structure.affine_field:
            out.append(
                "the followers' first-order conditions are not affine in their actions: "
                + _culprit(structure)
            )
        if out:
            return out
        try:
            affine = _recover(game, "equilibrium")
            x = _start(game, None)
            _ratios(game, affine, x, np.arange(game.n_leaders))
        except _NotThisForm as reason:
            return [str(reason)]
        return []

    def solve_batch(self, whole: Game, run: Run, start: Array, settled: Response) -> Points | None:
        return iterate(
            whole,
            run,
            start,
            samples=SAMPLES,
            exact=EXACT,
            tolerance=self.leader_tolerance,
            max_sweeps=self.max_sweeps,
        )

    def solve(self, game: Game, run: Run) -> Point:
        try:
            affine = _recover(game, run.anticipation)
            return self._iterate(game, run, affine)
        except _NotThisForm as reason:
            raise Refusal(self.name, str(game), [str(reason)]) from None

    def _iterate(self, game: Game, run: Run, affine: _Affine) -> Point:
        x = _start(game, run.start)
        status = Status.ITERATION_LIMIT
        for _ in range(self.max_sweeps):
            before = x.copy()
            for j in range(game.n_leaders):
                x[0, j] = _best(game, j, _ratios(game, affine, x, np.array([j]))[0])
            y = affine.at(x[None])[0]
            change = float(np.abs(x - before).max())
            payoff = trace(game).leader_values(x, y)[0]
            name = game.leader_action.name
            run.step(x, y, stage="outer", change=change, **{name: x.ravel(), "payoff": payoff})
            if change <= self.leader_tolerance * (1 + np.abs(x).max()):
                status = Status.CONVERGED
                break
        _check_slack(game, x, y)
        multipliers: dict[str, Array] = {}
        for name, e in trace(game).formulas.own_limits.items():
            multipliers[name] = np.zeros(e.shape)
        for name, e in trace(game).formulas.shared_limits.items():
            multipliers[name] = np.zeros(e.shape)
        return Point(x, y, status, multipliers, {"sweeps": len(run.history)})


def _culprit(structure: Concavity) -> str:
    if structure.payoff.atoms:
        names = sorted({a.function.op for a in structure.payoff.atoms})
        return f"follower_payoff has {', '.join(names)} of the own action"
    if structure.payoff.other:
        return "follower_payoff is not a quadratic plus simple terms"
    return "follower_payoff multiplies the own action by more than an affine term of the rivals'"


def _start(game: Game, start: Array | None) -> Array:
    return middle(*game.leader_bounds) if start is None else np.array(start)


def _sample_range(game: Game) -> tuple[Array, Array]:
    """Finite bounds within which coefficients are recovered, each (1, J)."""
    low, high = game.leader_bounds
    centre = middle(low, high)
    width = 1.0 + np.abs(centre)
    return np.where(np.isfinite(low), low, centre - width), np.where(
        np.isfinite(high), high, centre + width
    )


def _recover(game: Game, anticipation: str) -> _Affine:
    """The followers' affine answer, found once a game: accepting it is what solving starts with."""
    known = game.__dict__.setdefault("_affine_answers", {})
    if anticipation not in known:
        known[anticipation] = _recover_now(game, anticipation)
    return known[anticipation]


def _recover_now(game: Game, anticipation: str) -> _Affine:
    """From 1 + J linear solves; verified at one more point."""
    J = game.n_leaders
    low, high = _sample_range(game)
    centre = (low + high) / 2
    step = np.where(high > low, (high - low) / 2, 1.0)
    units = np.eye(J).reshape(J, 1, J)
    # Inside the bounds throughout: formulas may not run beyond them.
    x = np.concatenate([centre[None], centre + step * units * np.where(high > low, 1.0, 0.0)])
    y = _unlimited(game, x)
    scale = np.where(high > low, step, 1.0)[0][:, None, None]
    slopes = (y[1:] - y[0]) / scale
    base = y[0] - np.einsum("j,jin->in", centre[0], slopes)
    affine = _Affine(base, slopes, slopes)
    rng = np.random.default_rng(0)
    probe = low + (high - low) * rng.random((1, 1, J))
    truth = _unlimited(game, probe)
    misfit = np.abs(affine.at(probe) - truth).max()
    if not misfit <= EXACT * (1 + np.abs(truth).max()):
        raise _NotThisForm("the followers' answer is not affine in the leaders' decisions")
    if anticipation == "none":
        affine.foreseen = np.zeros_like(slopes)
    elif anticipation == "own_response":
        alone = _alone(game, x, np.broadcast_to(y[0], y.shape))
        affine.foreseen = (alone[1:] - alone[0]) / scale
    return affine


def _unlimited(game: Game, x: Array) -> Array:
    """The followers' equilibrium (B, I, n) with every bound and limit left out: linear solves."""
    batch = max(1, 4_000_000 // (200 * game.follower_bounds[0].size))
    parts = []
    for k in range(0, len(x), batch):
        some = x[k : k + batch]
        system = Joint(trace(game), some)
        guess = inside(game, first_guess(game))
        lam, mu = trace(game).zeros((len(some),))
        y, flat = system.flat(np.broadcast_to(guess, (len(some), *guess.shape)), lam, mu)
        F, _ = system.values(y, flat)
        right = np.concatenate([-F, np.zeros_like(flat)], -1)[..., None]
        rows = Rows.units(np.zeros(y.shape), np.ones(flat.shape))
        move = system.linear_solve(y, flat, rows, right)[..., 0]
        parts.append((y + move[:, : system.p]).reshape(len(some), *guess.shape))
    out = np.concatenate(parts)
    if not np.isfinite(out).all() or np.abs(out).max() > 1e8 * (1 + np.abs(parts[0]).min()):
        raise _NotThisForm("the followers' linear system is singular")
    return out


def _alone(game: Game, x: Array, rivals: Array) -> Array:
    """Each follower's own reply with rivals held, bounds and limits left out."""
    system = Alone(trace(game), x, rivals)
    q = trace(game).m + trace(game).k
    lam = np.zeros((*rivals.shape[:2], q))
    F, _ = system.values(rivals, lam)
    rows = Rows.units(np.zeros(rivals.shape), np.ones(lam.shape))
    return rivals + system.step(rivals, lam, rows, -F, np.zeros_like(lam))[0]


def _ratios(game: Game, affine: _Affine, x: Array, leaders: Array) -> Array:
    """Each leader's payoff as (a0 + a1 t + a2 t^2) / (1 + r t), t in [0, 1] over its range.

    Returns:
        coefficients (len(leaders), 4): a0, a1, a2, r.
    """
    low, high = _sample_range(game)
    t = (1 - np.cos(np.pi * np.arange(SAMPLES) / (SAMPLES - 1))) / 2
    y = affine.at(x[None])[0]
    out = np.empty((len(leaders), 4))
    for row, j in enumerate(leaders):
        trial = np.repeat(x[None], SAMPLES, axis=0)
        trial[:, 0, j] = low[0, j] + (high[0, j] - low[0, j]) * t
        moved = (trial[:, 0, j] - x[0, j])[:, None, None] * affine.foreseen[j]
        if y.size > 100_000:  # one at a time: these are large arrays
            values = [
                trace(game).leader_values(trial[k], y + moved[k])[0][j] for k in range(SAMPLES)
            ]
            value = np.array(values)
        else:
            value = trace(game).leader_values(trial, y + moved)[0][:, j]
        out[row] = _fit(t, value, j)
    return out


def _fit(t: Array, value: Array, leader: int) -> Array:
    """a0 + a1 t + a2 t^2 - r t v = v, in least squares; the misfit must be rounding."""
    if not np.isfinite(value).all():
        raise _NotThisForm(
            f"leader {leader}'s payoff is not finite where the followers' bounds are left out"
        )
    size = np.abs(value).max() or 1.0
    v = value / size
    # Without the last column first: a plain quadratic would leave r undetermined.
    plain = np.stack([np.ones_like(t), t, t * t], -1)
    for columns in (plain, np.concatenate([plain, -(t * v)[:, None]], -1)):
        found, *_ = np.linalg.lstsq(columns, v, rcond=None)
        misfit = np.abs(columns @ found - v).max()
        full = np.zeros(4)
        full[: len(found)] = found
        if misfit <= EXACT * 1e-2 and (full[3] > -1 or np.isclose(full[3], 0)):
            full[:3] *= size
            return full
    raise _NotThisForm(
        f"leader {leader}'s payoff is not a quadratic over an affine function of its own decision"
    )


def _best(game: Game, j: int, ratio: Array) -> float:
    """The decision at which a ratio is largest: an end of the range or a stationary point."""
    a0, a1, a2, r = ratio
    low, high = (float(b[0, j]) for b in game.leader_bounds)
    start, stop = (float(b[0, j]) for b in _sample_range(game))
    width = stop - start
    if width == 0:
        return start
    bounds = [(b - start) / width for b in (low, high)]
    # d/dt of the ratio has numerator (a1 - r a0) + 2 a2 t + r a2 t^2.
    roots = np.roots([r * a2, 2 * a2, a1 - r * a0]) if a2 or a1 - r * a0 else np.zeros(0)
    inside = [
        float(t.real)
        for t in roots
        if abs(t.imag) <= 1e-12 * (1 + abs(t)) and bounds[0] <= t.real <= bounds[1]
    ]
    candidates = inside + [b for b in bounds if np.isfinite(b)]

    def payoff(t: float) -> float:
        return (a0 + a1 * t + a2 * t * t) / (1 + r * t)

    best = max(candidates, key=payoff, default=None)
    far = 1e6
    for side, bound in zip((-far, far), bounds, strict=True):
        if not np.isfinite(bound) and (best is None or payoff(side) > payoff(best)):
            raise _NotThisForm(
                f"leader {j}'s payoff grows without end; bound {game.leader_action.name}"
            )
    assert best is not None
    if best == bounds[0]:
        return low
    return high if best == bounds[1] else start + width * best


def _check_slack(game: Game, x: Array, y: Array) -> None:
    """Raise if a bound or a limit that the formulas left out is broken at the answer."""
    low, high = game.follower_bounds
    action = game.follower_action.name
    outside = np.maximum(low - y, y - high)
    if (outside > 1e-9 * (1 + np.abs(y).max())).any():
        i, column = np.unravel_index(int(outside.argmax()), outside.shape)
        raise _NotThisForm(
            f"at its answer follower {i} would choose {action} {y[i, column]:.6g}, outside its "
            f"bounds [{low[i, column]:g}, {high[i, column]:g}]: the closed form needs them slack"
        )
    lam, mu = trace(game).zeros(())
    _, own, shared = trace(game).system(y, y, x, lam, mu)
    if own.size and not own.max() <= 1e-9:
        i, column = np.unravel_index(int(np.nan_to_num(own, nan=np.inf).argmax()), own.shape)
        raise _NotThisForm(
            f"at its answer the limit {trace(game).limit_names[column]!r} of follower {i} is "
            f"broken by {own[i, column]:.6g}: the closed form needs it slack"
        )
    if shared.size and not shared.max() <= 1e-9:
        name = trace(game).shared_names[int(shared.argmax())]
        raise _NotThisForm(
            f"at its answer the shared limit {name!r} is broken by {shared.max():.6g}: the closed "
            "form needs it slack"
        )
