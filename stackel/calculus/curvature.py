"""Whether followers' problems are concave over boxes of everybody's actions, by intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stackel.calculus.derivatives import directional, gradient
from stackel.calculus.enclosing import box_program
from stackel.calculus.expression import symbol
from stackel.calculus.formulas import Formulas
from stackel.calculus.intervals import UNIT, Interval
from stackel.calculus.program import Program
from stackel.calculus.rewriting import tightened
from stackel.types import Array

PARTS = 8
"""Of the range of a follower's only decision, each looked at on its own."""

FEW = 16
"""Trial actions that are looked at one by one: a box around all of them would save nothing."""

At = Callable[[Program], Program]


def _same(program: Program) -> Program:
    return program


class Curvature:
    """Second derivatives of followers' formulas by the own action.

    Args:
        formulas: of a market, or of a batch of them.
    """

    def __init__(self, formulas: Formulas) -> None:
        self.shape = formulas.Y.shape
        f = formulas
        first, second = (symbol(f"along y {k}", f.Y.shape) for k in (1, 2))
        inputs = [f.Y, f.R, f.X]
        (payoff,) = tightened([f.follower_payoff], f.Y)
        (slope,) = tightened(gradient(payoff, f.Y))
        self._payoff = box_program([*inputs, first], directional([-slope], {f.Y: first}))
        once = tightened(directional(list(f.own_limits.values()), {f.Y: first}))
        self._limits = box_program([*inputs, first, second], directional(once, {f.Y: second}))

    def hessians(self, Y: Interval, R: Interval, X: Interval, at: At = _same) -> Interval:
        """Of minus every follower's payoff by its own action (..., I, n, n).

        Args:
            Y, R: own actions and everybody's (..., I, n).
            X: leader actions (..., d, J).
            at: what makes a program of the formulas one of the market that is asked about.
        """
        I, n = self.shape
        batch = np.broadcast_shapes(Y.shape[:-2], R.shape[:-2], X.shape[:-2])
        units = np.eye(n).reshape(n, *(1,) * len(batch), 1, n)
        directions = Interval(np.broadcast_to(units, (n, *(1,) * len(batch), I, n)))
        with np.errstate(all="ignore"):
            (out,) = at(self._payoff)(Y, R, X, directions)
        return out.wide((n, *batch, I, n)).moveaxis(0, -1)

    def limits_convex(self, Y: Interval, R: Interval, X: Interval, at: At = _same) -> Array:
        """Where every own limit is convex in the own action (...), by Gershgorin's discs.

        Args:
            Y, R, X, at: as for :meth:`hessians`.
        """
        I, n = self.shape
        batch = np.broadcast_shapes(Y.shape[:-2], R.shape[:-2], X.shape[:-2])
        proved = np.ones(batch, dtype=bool)
        one = (1,) * len(batch)
        units = np.broadcast_to(np.eye(n)[:, None], (n, I, n))
        first = Interval(units.reshape(n, 1, *one, I, n))
        second = Interval(units.reshape(1, n, *one, I, n))
        with np.errstate(all="ignore"):
            values = at(self._limits)(Y, R, X, first, second)
        for value in values:
            H = value.wide((n, n, *batch, *value.shape[-2:])).moveaxis(0, -1).moveaxis(0, -1)
            off = np.where(np.eye(n, dtype=bool), 0.0, H.mag).sum(-1) * (1 + 1e-12)
            discs = np.diagonal(H.lo, axis1=-2, axis2=-1) - off
            proved &= (discs >= 0).all((-1, -2, -3))
        return proved

    def concave(self, Y: Interval, R: Interval, X: Interval, at: At = _same) -> Array:
        """Where every follower's problem is concave over a box of its own actions (...).

        Args:
            Y, R, X, at: as for :meth:`hessians`.
        """
        definite = (modulus(self.hessians(Y, R, X, at)) >= 0).all(-1)
        return np.asarray(definite & self.limits_convex(Y, R, X, at))


def prove_concave(
    calculus: Any, rivals: Array, x: Array, some: Array | None = None, at: At = _same
) -> tuple[Array, Array]:
    """Whether every follower's own problem is proved concave: by its terms, else by intervals.

    Args:
        calculus: a :class:`stackel.calculus.Calculus`.
        rivals: everybody's actions (..., I, n).
        x: leader actions (..., d, J).
        some: where intervals are worth trying (...); default everywhere.
        at: what makes a program of the formulas one of the market that is asked about.

    Returns:
        what :meth:`stackel.calculus.concavity.Concavity.prove` does.
    """
    batch, shape = rivals.shape[:-2], rivals.shape[:-1]
    if not calculus.batched and calculus.concavity.constant:
        proved, strength = calculus.once(_anywhere)
        proved, strength = np.broadcast_to(proved, batch), np.broadcast_to(strength, shape)
    else:
        bounds = calculus.follower_bounds
        proved, strength = calculus.concavity.prove(rivals, x, bounds, at)
    if proved.all() or (some is not None and not some.any()):
        return proved, strength
    if concave_everywhere(calculus):
        return np.ones(batch, dtype=bool), strength
    if not calculus.batched and calculus.once(_Proved).over(rivals, x):
        return np.ones(batch, dtype=bool), strength
    Y = _parts(calculus, rivals.ndim)
    curvature = calculus.formulas.once(Curvature)
    boxes = curvature.concave(Y, Interval(rivals), Interval(x), at).all(0)
    return proved | (boxes if some is None else boxes & some), strength


def concave_everywhere(calculus: Any) -> bool:
    """Whether intervals prove every follower's own problem concave whatever anybody does within its
    bounds; not asked of a batch of markets. Looked at once."""
    return not calculus.batched and bool(calculus.once(_everywhere))


def _anywhere(calculus: Any) -> tuple[Array, Array]:
    """Of a market in which the proof looks at nothing that anybody does."""
    x, y = calculus.footing
    proved, strength = calculus.concavity.prove(y[None], x[None], calculus.follower_bounds)
    return proved[0], strength[0]


def _everywhere(calculus: Any) -> bool:
    """Whether intervals prove it at once, whatever anybody does within its bounds."""
    R, X = (Interval(*bounds) for bounds in (calculus.follower_bounds, calculus.leader_bounds))
    return bool(calculus.formulas.once(Curvature).concave(_parts(calculus, 2), R, X).all())


def _parts(calculus: Any, axes: int) -> Interval:
    """Own actions over their whole ranges (K, ..., I, n), with so many axes after the first: a
    single decision's range in parts, since what holds in every one of them holds in all."""
    low, high = (b.reshape(*(1,) * (axes - b.ndim), *b.shape) for b in calculus.follower_bounds)
    if low.shape[-1] > 1 or not (np.isfinite(low) & np.isfinite(high)).all():
        return Interval(low[None], high[None])
    inner = np.arange(1, PARTS).reshape(-1, *(1,) * axes) / PARTS
    edges = np.concatenate([low[None], low + (high - low) * inner, high[None]])
    return Interval(edges[:-1], edges[1:])


class _Proved:
    """Over which box of rivals' and leaders' actions every follower's problem is proved concave:
    one proof serves all trial actions of a search.

    Args:
        calculus: one market.
    """

    def __init__(self, calculus: Any) -> None:
        self._ask = calculus.formulas.once(Curvature).concave
        self._own = _parts(calculus, 2)
        self._boxes: list[Interval] = []
        self._lost: Interval | None = None

    def over(self, rivals: Array, x: Array) -> bool:
        """Whether one proof holds for all of these.

        Args:
            rivals, x: everybody's actions (..., I, n) and leader actions (..., d, J).
        """
        asked = [_hull(rivals), _hull(x)]
        if self._boxes and all(map(_within, asked, self._boxes)):
            return True
        # Over more leader actions than those over which there was no proof there is hardly one.
        lost = self._lost is not None and _within(self._lost, asked[1])
        if lost or 1 < math.prod(rivals.shape[:-2]) <= FEW:
            return False
        proved = bool(self._ask(self._own, *asked).all())
        if proved:
            self._boxes = asked
        else:
            self._lost = asked[1]
        return proved


def _hull(actions: Array) -> Interval:
    flat = actions.reshape(-1, *actions.shape[-2:])
    return Interval(flat.min(0), flat.max(0))


def _within(inner: Interval, outer: Interval) -> bool:
    return bool((inner.lo >= outer.lo).all() and (inner.hi <= outer.hi).all())


def modulus(J: Interval) -> Array:
    """A lower bound (...) of the smallest eigenvalue of the symmetric part of every matrix in J
    (..., p, p), minus infinity where none is found.

    By a floating-point Cholesky factorisation that runs to its end, its rounding counted (Rump,
    BIT Numerical Mathematics 46, 2006), or by Gershgorin's discs, whichever is larger.
    """
    p = J.shape[-1]
    half = Interval(J.lo / 2, J.hi / 2)
    S = half + half.mT
    known = S.finite.all((-1, -2))
    C = np.where(known[..., None, None], S.mid, np.eye(p))
    C = (C + np.swapaxes(C, -1, -2)) / 2
    radius = np.where(known[..., None, None], S.rad, 0.0)
    radius = np.maximum(radius, np.swapaxes(radius, -1, -2))
    off = radius.sum(-1).max(-1) * (1 + 2 * p * UNIT) + 4 * UNIT * np.abs(C).max((-1, -2))
    slack = 2 * (p + 3) * p * UNIT * np.abs(C).sum(-1).max(-1)
    lowest = np.linalg.eigvalsh(C)[..., 0]
    lowest = lowest - 1e-9 * np.abs(lowest) - 4 * slack
    shifted = C - (lowest + slack)[..., None, None] * np.eye(p)
    proved = known & _factorises(shifted)
    by_factor = np.where(proved, lowest - off, -np.inf)
    beside = np.where(np.eye(p, dtype=bool), 0.0, S.mag).sum(-1) * (1 + 2 * p * UNIT)
    with np.errstate(invalid="ignore"):
        discs = (np.diagonal(S.lo, axis1=-2, axis2=-1) - beside).min(-1)
    return np.maximum(by_factor, np.where(np.isnan(discs), -np.inf, discs))


def _factorises(matrix: Array) -> Array:
    """Where Cholesky's factorisation runs to its end (...)."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        if matrix.ndim == 2:
            return np.array(False)
        return np.array([_factorises(one) for one in matrix])
    return np.ones(matrix.shape[:-2], dtype=bool)
