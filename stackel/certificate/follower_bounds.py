"""Bounds of what followers could gain alone, at the point itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from stackel.calculus.curvature import modulus
from stackel.calculus.intervals import Interval
from stackel.certificate.boxes import MarketBoxes, halved
from stackel.certificate.replies import reach
from stackel.certificate.sides import Side
from stackel.followers.response import Response, settle
from stackel.types import Array

WIDEST = 3
"""Decisions of a follower up to which its own action is searched by boxes."""

AT_ONCE = 256


def bound_followers(
    market: MarketBoxes, x: Array, y: Array, scales: Array, tolerance: float, boxes: int
) -> list[Side]:
    """What each follower could gain by another action of its own.

    Args:
        market: the market over boxes.
        x, y: leader actions (d, J) and follower actions (I, n).
        scales: what gains are measured against (I,).
        tolerance: the share of it that counts as none.
        boxes: most boxes for one follower whose problem is not proved concave.
    """
    I = market.shape[0]
    X, R = Interval(x[None]), Interval(y[None])
    lam, mu = (np.maximum(a, 0.0) for a in _multipliers(market, x, y))
    within = Interval(market.low[None], market.high[None])
    if not within.finite.all():
        within = reach(market, X, y[None], alone=True)
    # From the point to whatever is best for them: the point itself need not be within.
    between = within.hull(R)
    H = market.curvature.hessians(between, R, X)[0]
    flat = np.array([not h.any() for h in H.mag])
    m = np.where(flat, 0.0, modulus(H))
    convex = bool(market.curvature.limits_convex(between, R, X)[0]) and not market.unsupported
    both = np.concatenate([lam.ravel(), mu])
    values = market.system(market.inputs(R, X, Interval(both[None])), (1,))[0]
    g = -values[: market.p].reshape(I, -1)
    low, high = within.lo[0] - y, within.hi[0] - y
    gain = np.zeros(y.shape)
    for slope in (g.lo, g.hi):
        best = np.where(slope > 0, high, np.where(slope < 0, low, 0.0))
        inner = np.where(m[:, None] > 0, slope / np.where(m > 0, m, 1.0)[:, None], best)
        step = np.clip(inner, low, high)
        part = slope * step - m[:, None] / 2 * step**2
        gain = np.maximum(gain, np.where(slope == 0, 0.0, part))
    total = gain.sum(-1)
    c = values[market.p :]
    left = np.maximum(-c.lo, 0.0) * both
    left = np.where(both == 0, 0.0, left)
    total = total + left[: lam.size].reshape(I, -1).sum(-1) + left[lam.size :].sum()
    total = total * (1 + 1e-12)
    sides = []
    for i in range(I):
        known = m[i] >= 0 and convex and np.isfinite(total[i])
        side = Side("follower", i, np.inf, 0.0, float(scales[i]), tolerance, 1)
        if known:
            side = Side("follower", i, float(total[i]), 0.0, float(scales[i]), tolerance, 1)
        if not side.proved:
            side = _searched(market, x, y, i, within, side, boxes, known)
        sides.append(side)
    return sides


def _multipliers(market: MarketBoxes, x: Array, y: Array) -> tuple[Array, Array]:
    calculus = market.calculus
    lam, mu = calculus.zeros(())
    if not market.q:
        return lam, mu
    at = settle(calculus, x, Response(y, lam, mu, np.array(np.inf), np.array(False)))
    if not at.converged:
        return lam, mu
    return at.lam, at.mu


def _searched(
    market: MarketBoxes,
    x: Array,
    y: Array,
    i: int,
    within: Interval,
    side: Side,
    boxes: int,
    concave: bool,
) -> Side:
    """Branch and bound over follower i's own action."""
    n, scale, tolerance = market.shape[1], side.scale, side.tolerance
    reasons = ""
    if concave:
        reasons = "its gain is not bounded tightly enough by duality"
    if market.calculus.k:
        reasons = "its problem is not proved concave, and limits are shared"
    elif market.unsupported:
        reasons = market.unsupported
    elif n > WIDEST:
        reasons = "its problem is not proved concave, and it has too many decisions to search"
    elif not within.finite[0, i].all():
        reasons = "its problem is not proved concave, and its range is not bounded"
    lam_size = market.calculus.m
    X, R = Interval(x[None]), Interval(y[None])
    base = market.payoffs(R, R, X)[0, i]
    if not base.finite:
        reasons = "its payoff is not finite at the point"
    if reasons and not (concave and not market.calculus.k and n <= WIDEST):
        return Side("follower", i, side.bound, 0.0, scale, tolerance, 1, why=reasons)
    goal = base.lo + tolerance * scale
    low, high = within.lo[0, i][None], within.hi[0, i][None]
    cuts = _around(low[0], high[0], y[i])
    low, high = cuts
    used, best = 1, -np.inf
    while len(low):
        if used >= boxes:
            why = f"boxes spent on its own action, at {low[0]} to {high[0]}"
            return Side("follower", i, np.inf, 0.0, scale, tolerance, used, why=why)
        some = slice(0, AT_ONCE)
        lo, hi = low[some], high[some]
        low, high = low[AT_ONCE:], high[AT_ONCE:]
        used += len(lo)
        centre = lo + (hi - lo) / 2
        box = Interval(_row(y, i, lo), _row(y, i, hi))
        at = market.payoffs(Interval(_row(y, i, centre)), R, X)[:, i]
        natural = market.payoffs(box, R, X)[:, i].hi
        slopes = market.own_slopes(box, R, X)[:, i]
        half = np.maximum(hi - centre, centre - lo) * (1 + 1e-15)
        mean = at.hi + (slopes.mag * half).sum(-1) * (1 + 1e-12)
        upper = np.where(np.isnan(mean), natural, np.fmin(natural, mean))
        possible: Any = np.ones(len(lo), dtype=bool)
        sure: Any = possible
        if lam_size:
            some_limits = slice(market.p + i * lam_size, market.p + (i + 1) * lam_size)
            over = market.system(market.inputs(box, X, R=R), (len(lo),))[:, some_limits]
            possible = (over.lo <= 0).all(-1)
            point = market.inputs(Interval(_row(y, i, centre)), X, R=R)
            sure = (market.system(point, (len(lo),))[:, some_limits].hi <= 0).all(-1)
        gain = np.where(sure & at.finite, at.lo - base.hi, -np.inf)
        k = int(gain.argmax())
        if gain[k] > tolerance * scale:
            answer = np.array(y)
            answer[i] = centre[k]
            move = centre[k]
            return Side(
                "follower", i, np.inf, float(gain[k]), scale, tolerance, used,
                action=move, answer=answer,
            )  # fmt: skip
        rest = possible & ~(upper <= goal)
        best = max(best, float(np.where(possible & ~rest, upper, -np.inf).max(initial=-np.inf)))
        sizes = np.where(np.isfinite(slopes.mag), slopes.mag, 1e300) * (hi - lo)
        first, last = halved(lo[rest], hi[rest], sizes[rest].argmax(-1))  # where it may move most
        low, high = np.concatenate([low, first]), np.concatenate([high, last])
        if len(low) and ((hi - lo)[rest] <= 1e-14 * np.abs(centre[rest])).all(-1).any():
            why = f"its payoff is not bounded tightly enough at {centre[rest][0]}"
            return Side("follower", i, np.inf, 0.0, scale, tolerance, used, why=why)
    bound = max(best - base.lo, 0.0)
    return Side("follower", i, float(min(bound, tolerance * scale)), 0.0, scale, tolerance, used)


def _around(low: Array, high: Array, at: Array) -> tuple[Array, Array]:
    """A box (n,) cut in two along its first axis at a point inside, if it is (k, n)."""
    if not low[0] < at[0] < high[0]:
        return low[None], high[None]
    lows, highs = np.stack([low, low]), np.stack([high, high])
    lows[1, 0] = highs[0, 0] = at[0]
    return lows, highs


def _row(y: Array, i: int, own: Array) -> Array:
    out = np.repeat(y[None], len(own), axis=0)
    out[:, i] = own
    return out
