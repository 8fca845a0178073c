"""Interval arithmetic on arrays: what contains every value that a formula takes over a box.

An :class:`Interval` is a pair of arrays, batch axes in front. Sums, products, quotients and square
roots are correctly rounded in IEEE 754, so that one step outwards contains the true result; matrix
products and long sums are widened by a bound on their rounding errors (Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 3.1). NumPy's exponential, logarithm, hyperbolic
tangent and powers are taken to be good to :data:`ULPS` units in the last place, which the tests
compare with multi-precision values.

A sign that is known stays known, and an exact 0 stays 0. Where an argument leaves a function's
domain the result is the whole line, never NaN: nothing follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stackel.types import Array

ULPS = 8
"""Units in the last place by which exp, log, tanh and powers may be off."""

UNIT = 2.0**-53
INF = np.inf
SMALLEST, LARGEST = np.finfo(float).tiny, np.finfo(float).max
TINY = 1e-300
"""Larger than anything that underflow takes away from one result."""


class Interval:
    """Closed intervals [lo, hi], entry by entry; a point where both are the same array.

    Args:
        lo, hi: arrays that broadcast; of hi None, points.
    """

    __slots__ = ("_normal", "_sign", "hi", "lo")
    __array_ufunc__ = None

    def __init__(self, lo: Any, hi: Any = None) -> None:
        self.lo: Any = np.asarray(lo, dtype=float)
        self.hi: Any = self.lo if hi is None else np.asarray(hi, dtype=float)
        self._sign: int | None = None
        self._normal: bool | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of both ends together."""
        if self.lo.shape == self.hi.shape:
            return self.lo.shape
        return np.broadcast_shapes(self.lo.shape, self.hi.shape)

    @property
    def ndim(self) -> int:
        """Of both ends together."""
        return len(self.shape)

    @property
    def point(self) -> bool:
        """Whether both ends are the same array."""
        return self.lo is self.hi

    @property
    def sign(self) -> int:
        """1 where all entries are at least 0, -1 where all are at most 0, else 0."""
        if self._sign is None:
            self._sign = 1 if (self.lo >= 0).all() else -1 if (self.hi <= 0).all() else 0
        return self._sign

    @property
    def normal(self) -> bool:
        """Whether no end is so close to 0, without being it, or so large, that products or
        quotients of two such may underflow."""
        if self._normal is None:
            ends = (np.abs(self.lo),) if self.point else (np.abs(self.lo), np.abs(self.hi))
            kept = ((e == 0) | (e == INF) | (e > 1e-150) & (e < 1e150) for e in ends)
            self._normal = all(bool(k.all()) for k in kept)
        return self._normal

    @property
    def mid(self) -> Array:
        """A number inside each."""
        with np.errstate(all="ignore"):
            return np.clip(0.5 * self.lo + 0.5 * self.hi, self.lo, self.hi)

    @property
    def rad(self) -> Array:
        """How far the ends are from :attr:`mid`, rounded up."""
        mid = self.mid
        with np.errstate(all="ignore"):
            far = np.maximum(self.hi - mid, mid - self.lo)
        return np.where(far > 0, np.nextafter(far, INF), far)

    @property
    def mag(self) -> Array:
        """The largest absolute value in each."""
        return np.maximum(np.abs(self.lo), np.abs(self.hi))

    @property
    def finite(self) -> Any:
        """Where both ends are."""
        return np.isfinite(self.lo) & np.isfinite(self.hi)

    @property
    def mT(self) -> Interval:
        """The last two axes exchanged."""
        return self._both(lambda v: np.swapaxes(v, -1, -2))

    def _both(self, change: Any) -> Interval:
        lo = change(self.lo)
        return Interval(lo) if self.point else Interval(lo, change(self.hi))

    def __getitem__(self, key: Any) -> Interval:
        return self._both(lambda v: v[key])

    def reshape(self, *shape: int) -> Interval:
        whole = self.wide(self.shape)
        return whole._both(lambda v: v.reshape(*shape))

    def moveaxis(self, source: int, destination: int) -> Interval:
        whole = self.wide(self.shape)
        return whole._both(lambda v: np.moveaxis(v, source, destination))

    def wide(self, shape: tuple[int, ...]) -> Interval:
        """Broadcast to a shape."""
        return self._both(lambda v: v if v.shape == shape else np.broadcast_to(v, shape))

    def __neg__(self) -> Interval:
        return Interval(-self.hi) if self.point else Interval(-self.hi, -self.lo)

    def __add__(self, other: Any) -> Interval:
        o = lift(other)
        return _sum(self.lo + o.lo, self.hi + o.hi)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Interval:
        o = lift(other)
        return _sum(self.lo - o.hi, self.hi - o.lo)

    def __rsub__(self, other: Any) -> Interval:
        return lift(other) - self

    def __mul__(self, other: Any) -> Interval:
        if other is self:
            return square(self)
        o = lift(other)
        if o.point or self.point:
            a, c = (self, o.lo) if o.point else (o, self.lo)
            p, q = a.lo * c, a.hi * c
            lo, hi = np.minimum(p, q), np.maximum(p, q)
        elif self.sign > 0 and o.sign > 0:
            lo, hi = self.lo * o.lo, self.hi * o.hi
        else:
            p, q, r, s = self.lo * o.lo, self.lo * o.hi, self.hi * o.lo, self.hi * o.hi
            lo = np.minimum(np.minimum(p, q), np.minimum(r, s))
            hi = np.maximum(np.maximum(p, q), np.maximum(r, s))
        if np.isnan(lo).any() or np.isnan(hi).any():  # 0 times an infinite end
            lo, hi = _endless_product(self, o)
        return _product(lo, hi, self, o)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Interval:
        o = lift(other)
        undefined = (self.mag == 0) & (o.lo <= 0) & (o.hi >= 0)  # 0 / 0
        ends = o.sign == 0 or (o.lo == 0).any() or (o.hi == 0).any() or not o.finite.all()
        if ends or undefined.any():
            return _anything(self * reciprocal(o), undefined)
        p, q, r, s = self.lo / o.lo, self.lo / o.hi, self.hi / o.lo, self.hi / o.hi
        lo = np.minimum(np.minimum(p, q), np.minimum(r, s))
        hi = np.maximum(np.maximum(p, q), np.maximum(r, s))
        return _product(lo, hi, self, o)

    def __rtruediv__(self, other: Any) -> Interval:
        return lift(other) / self

    def __matmul__(self, other: Any) -> Interval:
        o = lift(other)
        if self.point and self.lo.ndim == 2 and o.finite.all():
            return point_matmul(self.lo, o)
        a = self._both(lambda v: v[..., :, :, None])
        b = o._both(lambda v: v[..., None, :, :])
        return total(a * b, (-2,))[..., 0, :]

    def __rmatmul__(self, other: Any) -> Interval:
        return lift(other) @ self

    def meet(self, other: Interval) -> Interval:
        """What both contain; this one where they have nothing in common."""
        lo, hi = np.maximum(self.lo, other.lo), np.minimum(self.hi, other.hi)
        good = lo <= hi
        return Interval(np.where(good, lo, self.lo), np.where(good, hi, self.hi))

    def hull(self, other: Any) -> Interval:
        """The smallest that contains both."""
        o = lift(other)
        return Interval(np.minimum(self.lo, o.lo), np.maximum(self.hi, o.hi))


def lift(value: Any) -> Interval:
    """Numbers as points."""
    return value if isinstance(value, Interval) else Interval(value)


def ball(centre: Array, radius: Array) -> Interval:
    """centre +- radius, rounded outwards."""
    return Interval(np.nextafter(centre - radius, -INF), np.nextafter(centre + radius, INF))


def join(parts: Sequence[Interval], axis: int) -> Interval:
    """One after the other along an axis."""
    return Interval(*(np.concatenate([getattr(p, e) for p in parts], axis) for e in ("lo", "hi")))


def _endless_product(a: Interval, b: Interval) -> tuple[Array, Array]:
    pairs = [u * v for u in (a.lo, a.hi) for v in (b.lo, b.hi)]
    pairs = [np.where(np.isnan(p), 0.0, p) for p in pairs]
    lo = np.minimum(np.minimum(pairs[0], pairs[1]), np.minimum(pairs[2], pairs[3]))
    hi = np.maximum(np.maximum(pairs[0], pairs[1]), np.maximum(pairs[2], pairs[3]))
    bad = np.isnan(a.mag) | np.isnan(b.mag)
    return np.where(bad, -INF, lo), np.where(bad, INF, hi)


def _sum(lo: Array, hi: Array) -> Interval:
    """One step outwards; of a sum that is 0, exactly so (x - y is 0 only if x = y)."""
    if np.isnan(lo).any() or np.isnan(hi).any():  # endless ends of both signs
        lo, hi = np.where(np.isnan(lo), -INF, lo), np.where(np.isnan(hi), INF, hi)
    return _outwards(lo, hi)


def _product(lo: Array, hi: Array, a: Interval, b: Interval) -> Interval:
    """One step outwards. A product that is 0 stays so if a factor is, or if its sign is known;
    else it may be 0 by underflow."""
    out = _outwards(lo, hi)
    low, high = lo == 0, hi == 0
    if (low.any() or high.any()) and not (a.normal and b.normal):
        exact = (a.mag == 0) | (b.mag == 0)
        same = (a.lo >= 0) & (b.lo >= 0) | (a.hi <= 0) & (b.hi <= 0)
        other = (a.lo >= 0) & (b.hi <= 0) | (a.hi <= 0) & (b.lo >= 0)
        return Interval(
            np.where(low & ~(exact | same), -TINY, out.lo),
            np.where(high & ~(exact | other), TINY, out.hi),
        )
    return out


def _below(a: Array) -> Array:
    """At least one step down from what was rounded to nearest; 0 stays. |a| 2^-52 is a step at
    least, and many times as fast as ``nextafter``."""
    a = np.minimum(a, LARGEST)  # what is endless by overflow may be anything above it
    return np.asarray(a - np.abs(a) * (2 * UNIT) - (a != 0) * SMALLEST)


def _above(a: Array) -> Array:
    """At least one step up."""
    return -_below(-a)


def _outwards(lo: Array, hi: Array) -> Interval:
    """One step outwards; zeros stay."""
    return Interval(_below(lo), _above(hi))


def _widened(lo: Array, hi: Array) -> Interval:
    """Outwards by what a function that is not correctly rounded may be off."""
    lo = lo - np.abs(lo) * (2 * ULPS * UNIT) - TINY
    hi = hi + np.abs(hi) * (2 * ULPS * UNIT) + TINY
    return Interval(np.where(np.isnan(lo), -INF, lo), np.where(np.isnan(hi), INF, hi))


def _anything(a: Interval, where: Array) -> Interval:
    """The whole line in some places."""
    if not where.any():
        return a
    return Interval(np.where(where, -INF, a.lo), np.where(where, INF, a.hi))


def _increasing(function: Any, a: Interval, domain: float = -INF) -> Interval:
    ends = (function(np.maximum(end, domain)) for end in (a.lo, a.hi))
    return _anything(_widened(*ends), a.lo < domain)


def exp(a: Interval) -> Interval:
    """The exponential."""
    out = _increasing(np.exp, a)
    return Interval(np.maximum(out.lo, 0.0), out.hi)


def log(a: Interval) -> Interval:
    """The natural logarithm; of what may be negative the whole line."""
    return _increasing(np.log, a, 0.0)


def tanh(a: Interval) -> Interval:
    """The hyperbolic tangent."""
    out = _increasing(np.tanh, a)
    return Interval(np.maximum(out.lo, -1.0), np.minimum(out.hi, 1.0))


def sqrt(a: Interval) -> Interval:
    """The square root; of what may be negative the whole line."""
    return _anything(_outwards(*(np.sqrt(np.maximum(e, 0.0)) for e in (a.lo, a.hi))), a.lo < 0)


def square(a: Interval) -> Interval:
    """a a, never negative."""
    p, q = a.lo * a.lo, a.hi * a.hi
    lo = np.where((a.lo <= 0) & (a.hi >= 0), 0.0, np.minimum(p, q))
    out = _outwards(lo, np.maximum(p, q))
    hi = np.where((out.hi == 0) & (a.mag > 0), TINY, out.hi)
    return Interval(np.maximum(out.lo, 0.0), hi)


def reciprocal(a: Interval) -> Interval:
    """1 / a; where 0 is inside a half-line or the whole one."""
    lo, hi = a.lo, a.hi
    with np.errstate(all="ignore"):
        low, high = _below(1.0 / hi), _above(1.0 / lo)
    low = np.where(hi == INF, 0.0, low)
    high = np.where(lo == -INF, 0.0, high)
    both = (lo < 0) & (hi > 0) | (lo == 0) & (hi == 0)
    low = np.where(both | (hi == 0) & (lo < 0), -INF, low)
    high = np.where(both | (lo == 0) & (hi > 0), INF, high)
    low = np.where((lo >= 0) & ~both, np.maximum(low, 0.0), low)
    return Interval(low, np.where((hi <= 0) & ~both, np.minimum(high, 0.0), high))


def power(a: Interval, exponent: Any) -> Interval:
    """a to the power of numbers, one for all or an array; of what is not known to the last digit by
    exponential and logarithm."""
    if isinstance(exponent, Interval) and (exponent.lo != exponent.hi).any():
        out = exp(exponent * log(a))
        return _anything(out, a.lo < 0)
    e = np.asarray(exponent.lo if isinstance(exponent, Interval) else exponent, dtype=float)
    if e.size == 1:
        return _power(a, float(e.item()))
    parts = [(e == value, _power(a, float(value))) for value in np.unique(e)]
    lo = sum(np.where(here, part.lo, 0.0) for here, part in parts)
    return Interval(lo, sum(np.where(here, part.hi, 0.0) for here, part in parts))


def _power(a: Interval, e: float) -> Interval:
    if e < 0:
        return reciprocal(_power(a, -e))
    if e in (0.5, 2.0):
        return sqrt(a) if e == 0.5 else square(a)
    if not e.is_integer():
        out = _increasing(lambda v: np.power(v, e), a, 0.0)
        return Interval(np.where(a.lo >= 0, np.maximum(out.lo, 0.0), out.lo), out.hi)
    lo, hi = np.power(a.lo, e), np.power(a.hi, e)
    if e % 2:
        out = _widened(lo, hi)
        low = np.where(a.lo >= 0, np.maximum(out.lo, 0.0), out.lo)
        return Interval(low, np.where(a.hi <= 0, np.minimum(out.hi, 0.0), out.hi))
    least = np.where((a.lo <= 0) & (a.hi >= 0), 0.0, np.minimum(lo, hi))
    out = _widened(least, np.maximum(lo, hi))
    return Interval(np.maximum(out.lo, 0.0), out.hi)


def total(a: Interval, axes: tuple[int, ...]) -> Interval:
    """The sum along axes, which are kept."""
    shape = a.shape
    count = int(np.prod([shape[axis] for axis in axes]))
    if count == 1:
        return a

    def side(values: Array, sign: float) -> Array:
        values = np.broadcast_to(values, shape)
        found = np.add.reduce(values, axis=axes, keepdims=True)
        error = np.add.reduce(np.abs(values), axis=axes, keepdims=True) * (1.01 * count * UNIT)
        with np.errstate(invalid="ignore"):  # endless and endless
            moved = found + sign * error
        moved = np.where(np.isnan(moved), sign * INF, moved)
        return np.where(error == 0, found, np.nextafter(moved, sign * INF))

    return Interval(side(a.lo, -1.0), side(a.hi, 1.0))


def point_matmul(matrix: Array, a: Interval) -> Interval:
    """A matrix of numbers times finite intervals.

    Each end is a sum of products of one sign of the matrix with one end of the intervals; its error
    is at most that of a sum of as many terms.
    """
    up, down = np.maximum(matrix, 0.0), np.minimum(matrix, 0.0)
    n, tiny = matrix.shape[-1], not (Interval(matrix).normal and a.normal)  # then 0 may not be 0
    with np.errstate(all="ignore"):
        ends, factor = (np.abs(a.lo), np.abs(a.hi)), (n + 4) * 2.02 * UNIT
        under, over = (
            (up @ first - down @ second) * factor for first, second in (ends, ends[::-1])
        )
        lo, hi = up @ a.lo + down @ a.hi, up @ a.hi + down @ a.lo
        low, high = np.nextafter(lo - under, -INF), np.nextafter(hi + over, INF)
    under, over = under + tiny, over + tiny
    low, high = np.where(under > 0, low - TINY, lo), np.where(over > 0, high + TINY, hi)
    return Interval(np.where(np.isnan(low), -INF, low), np.where(np.isnan(high), INF, high))
