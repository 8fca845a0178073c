"""Leaders whose payoff is a quadratic over an affine function of their own decision."""

from __future__ import annotations

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.solvers.closed_form.affine import EXACT, Affine
from stackel.types import Array

SAMPLES = 7
"""Payoffs from which the four coefficients of a ratio are recovered; the rest verify it."""

FAR = 1e6
"""How many times its range a decision may be looked at beyond, where it has no bound."""

LARGE = 100_000
"""Followers' decisions above which payoffs are computed one at a time."""

T = (1 - np.cos(np.pi * np.arange(SAMPLES) / (SAMPLES - 1))) / 2
"""Where on its range, from 0 to 1, a leader's payoff is looked at."""

_Q, _R = np.linalg.qr(np.stack([np.ones_like(T), T, T**2], -1))


def along(
    calculus: Calculus, affine: Affine, x: Array, j: int, ranges: tuple[Array, Array]
) -> Array:
    """A leader's payoffs (SAMPLES, B) along its range.

    Args:
        calculus: the market, or a batch of B.
        affine: the followers' answers.
        x: where the other leaders are (B, 1, J).
        j: the leader.
        ranges: lowest and highest decisions, each (B, 1, J).
    """
    low, high = (b[:, 0, j] for b in ranges)
    trials = np.repeat(x[None], SAMPLES, axis=0)
    trials[:, :, 0, j] = low + (high - low) * T[:, None]
    y, shift = affine.at(x), (trials[:, :, 0, j] - x[:, 0, j])[..., None, None]
    if y.size <= LARGE:
        return calculus.leader_values(trials, y + shift * affine.foreseen[:, j])[0][..., j]
    moved = (y + s * affine.foreseen[:, j] for s in shift)
    return np.array(
        [calculus.leader_values(t, m)[0][..., j] for t, m in zip(trials, moved, strict=True)]
    )


def fit(value: Array, leader: int) -> tuple[Array, list[str]]:
    """Payoffs (SAMPLES, B) of a leader as (a0 + a1 t + a2 t^2) / (1 + r t).

    Returns:
        a0, a1, a2 and r (B, 4); and why payoffs are not of that form, of each: an empty text
        where they are, up to rounding.
    """
    finite = np.isfinite(value).all(0)
    size = np.abs(value).max(0)
    size = np.where(finite & (size > 0), size, 1.0)
    v = (value / size).T
    w = -T * v
    rest, beside = _beside(v), _beside(w)
    close = EXACT * 1e-2
    quadratic = np.abs(rest).max(-1) <= close
    # A plain quadratic would leave r undetermined.
    length = (beside**2).sum(-1)
    r = (beside * rest).sum(-1) / np.where(length > 0, length, 1.0)
    r = np.where(quadratic, 0.0, r)
    misfit = np.abs(rest - r[:, None] * beside).max(-1)
    good = (misfit <= close) & ((r > -1) | np.isclose(r, 0))
    a = np.linalg.solve(_R, ((v - r[:, None] * w) @ _Q).T) * size
    form = (
        f"leader {leader}'s payoff is not a quadratic over an affine function of its own decision"
    )
    unknown = f"leader {leader}'s payoff is not finite where the followers' bounds are left out"
    why = np.where(finite, np.where(good, "", form), unknown)
    return np.concatenate([a, r[None]]).T, why.tolist()


def _beside(v: Array) -> Array:
    """What of v (B, SAMPLES) no quadratic explains; twice, against rounding."""
    for _ in range(2):
        v = v - (v @ _Q) @ _Q.T
    return v


def best(
    ratio: Array, j: int, bounds: tuple[Array, Array], ranges: tuple[Array, Array]
) -> tuple[Array, Array]:
    """The decisions at which ratios are largest, an end of the range or a stationary point.

    Args:
        ratio: what :func:`fit` found (B, 4).
        j: the leader.
        bounds: the leaders' bounds, (d, J) or (B, d, J) each; may be infinite.
        ranges: where payoffs were looked at, each (B, 1, J).

    Returns:
        the decisions (B,), and whether there are such (B,).
    """
    a0, a1, a2, r = ratio.T
    low, high = (np.broadcast_to(b, ranges[0].shape)[:, 0, j] for b in bounds)
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
    t = np.take_along_axis(candidates, which[None], 0)[0]
    far = payoff(np.where(np.isfinite(ends), np.nan, [[-FAR], [FAR]]))
    action = np.where(t == ends[0], low, np.where(t == ends[1], high, start + width * t))
    fixed = stop == start
    return np.where(fixed, start, action), fixed | (np.isfinite(top) & (far <= top).all(0))
