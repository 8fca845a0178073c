"""``closed-form`` for many games of one shape at once: the same steps, each game with its own mask.

Games that turn out not to be of that form, or whose answer a bound or a limit cuts off, are left to
be solved alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stackel.calculus.calculus import trace
from stackel.followers.complementarity import Rows
from stackel.followers.starts import first_guess, inside
from stackel.followers.systems import Joint
from stackel.game.game import Game
from stackel.game.grids import middle
from stackel.run import Points, Run
from stackel.types import Array

FAR = 1e6
"""How many times its range a decision may be looked at beyond, where it has no bound."""


@dataclass
class _Affine:
    """Followers' answers y(x) = base + sum_j x_j slopes[:, j], bounds and limits left out."""

    base: Array  # (B, I, n)
    slopes: Array  # (B, J, I, n)

    def at(self, x: Array) -> Array:
        """(..., B, 1, J) to (..., B, I, n)."""
        return self.base + np.einsum("...bj,bjin->...bin", x[..., 0, :], self.slopes)

    def some(self, index: Array) -> _Affine:
        return _Affine(self.base[index], self.slopes[index])


class Ratios:
    """Payoffs along a leader's range as (a0 + a1 t + a2 t^2) / (1 + r t), t in [0, 1].

    Args:
        samples: payoffs from which the four coefficients are recovered; the rest verify them.
        exact: relative misfit up to which they count as the formula's own.
    """

    def __init__(self, samples: int, exact: float) -> None:
        self.exact = exact
        self.t = (1 - np.cos(np.pi * np.arange(samples) / (samples - 1))) / 2
        plain = np.stack([np.ones_like(self.t), self.t, self.t**2], -1)
        self.Q, self.R = np.linalg.qr(plain)

    def _beside(self, v: Array) -> Array:
        """What of v (..., samples) no quadratic explains; twice, against rounding."""
        for _ in range(2):
            v = v - (v @ self.Q) @ self.Q.T
        return v

    def fit(self, value: Array) -> tuple[Array, Array]:
        """Coefficients (B, 4) from payoffs (samples, B), and whether they explain them (B,)."""
        size = np.abs(value).max(0)
        size = np.where(np.isfinite(size) & (size > 0), size, 1.0)
        v = (value / size).T
        w = -self.t * v
        rest, beside = self._beside(v), self._beside(w)
        quadratic = np.abs(rest).max(-1) <= self.exact
        # A plain quadratic would leave r undetermined.
        length = (beside**2).sum(-1)
        r = (beside * rest).sum(-1) / np.where(length > 0, length, 1.0)
        r = np.where(quadratic, 0.0, r)
        misfit = np.abs(rest - r[:, None] * beside).max(-1)
        good = (misfit <= self.exact) & ((r > -1) | np.isclose(r, 0))
        a = np.linalg.solve(self.R, ((v - r[:, None] * w) @ self.Q).T) * size
        return np.concatenate([a, r[None]]).T, good


def iterate(
    whole: Game,
    run: Run,
    start: Array,
    *,
    samples: int,
    exact: float,
    tolerance: float,
    max_sweeps: int,
) -> Points | None:
    """The leaders' equilibria of a stack's games; None if their form is another one.

    Args:
        whole: the stack.
        run: the run; its clock is looked at.
        start: leader actions (B, 1, J).
        samples, exact: see :class:`Ratios`.
        tolerance: change of the leader actions, relative to 1 + |x|, that counts as none.
        max_sweeps: most rounds of best decisions in turn.
    """
    structure = trace(whole).concavity
    if (
        whole.leader_shape[0] != 1
        or trace(whole).formulas.leader_limits
        or not structure.affine_field
    ):
        return None
    ranges = _sample_range(whole)
    with np.errstate(all="ignore"):
        affine, good = _recover(whole, ranges, exact)
        ratios = Ratios(samples, exact * 1e-2)
        x = np.array(start)
        sweeps = np.zeros(len(x), dtype=int)
        live = np.flatnonzero(good)
        converged = np.zeros(len(x), dtype=bool)
        for _ in range(max_sweeps):
            if not len(live):
                break
            run.check()
            part = trace(whole).at(live)
            here, some = (ranges[0][live], ranges[1][live]), affine.some(live)
            before, now = x[live], x[live]
            fits = np.ones(len(live), dtype=bool)
            for j in range(whole.n_leaders):
                value = _along(part, some, now, j, here, ratios.t)
                coefficients, fit = ratios.fit(value)
                now[:, 0, j], bounded = _best(coefficients, j, part.leader_bounds, here)
                fits &= fit & bounded & np.isfinite(value).all(0)
            x[live] = now
            sweeps[live] += 1
            change = np.abs(now - before).max((-1, -2))
            done = change <= tolerance * (1 + np.abs(now).max((-1, -2)))
            converged[live] = done & fits
            live = live[fits & ~done]
        y = affine.at(x)
        solved = converged & _slack(whole, x, y)
    lam, mu = trace(whole).zeros((len(x),))
    return Points(x, y, lam, mu, solved, {"sweeps": sweeps})


def _sample_range(game: Game) -> tuple[Array, Array]:
    """Finite bounds within which coefficients are recovered, each (B, 1, J)."""
    low, high = game.leader_bounds
    centre = middle(low, high)
    width = 1.0 + np.abs(centre)
    return np.where(np.isfinite(low), low, centre - width), np.where(
        np.isfinite(high), high, centre + width
    )


def _recover(whole: Game, ranges: tuple[Array, Array], exact: float) -> tuple[_Affine, Array]:
    """The followers' affine answers from 1 + J linear solves each, verified at one more point."""
    low, high = ranges
    B, J = len(low), whole.n_leaders
    centre, open_ = (low + high) / 2, high > low
    step = np.where(open_, (high - low) / 2, 0.0)
    # Inside the bounds throughout: formulas may not run beyond them.
    moved = centre[:, None] + step[:, None] * np.eye(J).reshape(J, 1, J)
    probe = low + (high - low) * np.random.default_rng(0).random((1, J))
    x = np.concatenate([centre[:, None], moved, probe[:, None]], 1)  # (B, J + 2, 1, J)
    y = _unlimited(trace(whole).at(np.repeat(np.arange(B), J + 2)), x.reshape(-1, 1, J))
    y = y.reshape(B, J + 2, *y.shape[1:])
    scale = np.where(open_, step, 1.0)[:, 0, :, None, None]
    slopes = (y[:, 1 : J + 1] - y[:, :1]) / scale
    base = y[:, 0] - np.einsum("bj,bjin->bin", centre[:, 0], slopes)
    affine = _Affine(base, slopes)
    size = np.abs(y).max((1, 2, 3))
    misfit = np.abs(affine.at(probe) - y[:, -1]).max((-1, -2))
    near = misfit <= exact * (1 + np.abs(y[:, -1]).max((-1, -2)))
    return affine, near & (size <= 1e8 * (1 + np.abs(y).min((1, 2, 3))))


def _unlimited(game: Game, x: Array) -> Array:
    """The followers' equilibrium (B, I, n) with every bound and limit left out: linear solves."""
    system = Joint(trace(game), x)
    guess = inside(game, first_guess(game))
    y, flat = system.flat(guess, *trace(game).zeros((len(x),)))
    field, _ = system.values(y, flat)
    right = np.concatenate([-field, np.zeros_like(flat)], -1)[..., None]
    rows = Rows.units(np.zeros(y.shape), np.ones(flat.shape))
    move = system.linear_solve(y, flat, rows, right)[..., 0]
    return (y + move[:, : system.p]).reshape(guess.shape)


def _along(
    game: Game, affine: _Affine, x: Array, j: int, ranges: tuple[Array, Array], t: Array
) -> Array:
    """Leader j's payoffs (samples, B) along its range, the others at x."""
    low, high = (b[:, 0, j] for b in ranges)
    trials = np.repeat(x[None], len(t), axis=0)
    trials[:, :, 0, j] = low + (high - low) * t[:, None]
    moved = (trials[:, :, 0, j] - x[:, 0, j])[..., None, None] * affine.slopes[:, j]
    return trace(game).leader_values(trials, affine.at(x) + moved)[0][..., j]


def _best(
    ratio: Array, j: int, bounds: tuple[Array, Array], ranges: tuple[Array, Array]
) -> tuple[Array, Array]:
    """The decisions (B,) at which ratios (B, 4) are largest, and whether there are such (B,)."""
    a0, a1, a2, r = ratio.T
    low, high = (b[:, 0, j] for b in bounds)
    start, stop = (b[:, 0, j] for b in ranges)
    width = np.where(stop > start, stop - start, 1.0)
    ends = np.stack([(low - start) / width, (high - start) / width])
    # d/dt of the ratio has numerator (a1 - r a0) + 2 a2 t + r a2 t^2.
    root = np.sqrt(a2 * a2 - r * a2 * (a1 - r * a0))
    q = -(a2 + np.where(a2 < 0, -root, root))
    inner = np.stack([(a1 - r * a0) / q, q / (r * a2)])
    inner = np.where((inner >= ends[0]) & (inner <= ends[1]), inner, np.nan)

    def payoff(t: Array) -> Array:
        value = (a0 + a1 * t + a2 * t * t) / (1 + r * t)
        return np.where(np.isfinite(t) & np.isfinite(value), value, -np.inf)

    candidates = np.concatenate([inner, ends])
    values = payoff(candidates)
    which = values.argmax(0)
    top = np.take_along_axis(values, which[None], 0)[0]
    best = np.take_along_axis(candidates, which[None], 0)[0]
    far = payoff(np.where(np.isfinite(ends), np.nan, [[-FAR], [FAR]]))
    action = np.where(best == ends[0], low, np.where(best == ends[1], high, start + width * best))
    fixed = stop == start
    return np.where(fixed, start, action), fixed | (np.isfinite(top) & (far <= top).all(0))


def _slack(game: Game, x: Array, y: Array) -> Array:
    """Where the bounds and limits that were left out hold at the answers (B,)."""
    low, high = game.follower_bounds
    size = 1 + np.abs(y).max((-1, -2))
    inside = np.maximum(low - y, y - high).max((-1, -2)) <= 1e-9 * size
    _, own, shared = trace(game).system(y, y, x, *trace(game).zeros((len(x),)))
    met = own.max((-1, -2), initial=-np.inf) <= 1e-9
    return inside & met & (shared.max(-1, initial=-np.inf) <= 1e-9)
