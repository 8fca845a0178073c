"""Whether the followers have an equilibrium, and whether they have one only.

The best-reply map's derivative at a point is M = -D^-1 (J - D), with J the derivative of the
followers' field and D its own blocks. If M >= 0 (strategic complements) and its spectral radius is
at least 1, an affine game without upper bounds has no equilibrium: measured from their lower bounds
actions y >= 0 would have to meet y >= M y + a, and for v >= 0 with v M >= v and v a > 0 that gives
0 >= (v - v M) y >= v a > 0. Theorem 1 of the vehicular-twin paper misses this case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs, eigsh

from stackel.calculus import matrices
from stackel.calculus.calculus import Calculus
from stackel.followers.feasibility import leader_actions
from stackel.followers.systems import CHUNK
from stackel.game.grids import middle
from stackel.types import Array

DENSE_UP_TO = 400


@dataclass(frozen=True)
class Uniqueness:
    """Evidence that the followers have one equilibrium.

    Attributes:
        smallest_eigenvalue: of the symmetric part of the field's derivative; positive means
            strongly monotone, hence at most one equilibrium.
        spectral_radius: of the best-reply map; below 1, replies in turn converge to it.
        everywhere: whether these hold at all follower actions (the field is affine), or were
            looked at in one point only.
    """

    smallest_eigenvalue: float
    spectral_radius: float
    everywhere: bool

    @property
    def unique(self) -> bool:
        """Whether the evidence speaks for a unique follower equilibrium."""
        return self.smallest_eigenvalue > 0 or self.spectral_radius < 1

    def __str__(self) -> str:
        where = "at all purchases" if self.everywhere else "at this point"
        if self.smallest_eigenvalue > 0:
            what = f"the followers' game is strongly monotone {where}"
        elif self.spectral_radius < 1:
            what = f"the best-reply map contracts {where}"
        else:
            what = f"not shown {where}"
        return (
            f"{what} (smallest eigenvalue {self.smallest_eigenvalue:.3g}, best-reply spectral "
            f"radius {self.spectral_radius:.3g})"
        )


class _Products:
    """The field's derivative J at one point, its own blocks D and M, as products."""

    def __init__(self, calculus: Calculus, x: Array, y: Array) -> None:
        self.calculus, self.x, self.y = calculus, x[None], y[None]
        self.shape, self.size = y.shape, y.size
        self.lam, self.mu = calculus.zeros((1,))
        self.own = calculus.own_blocks(self.y, self.y, self.x, self.lam, self.mu)[0][0]
        self.inverse = matrices.inverses(self.own)

    @cached_property
    def matrix(self) -> Array | None:
        """M, up to a size."""
        if self.size > DENSE_UP_TO:
            return None
        return derivatives(self.calculus, self.x, self.y)[1][0]

    def times(self, v: Array) -> Array:
        """J v."""
        direction = v.reshape(1, *self.shape)
        return self.calculus.joint(self.y, self.x, self.lam, self.mu, direction)[0].ravel()

    def _back(self, v: Array) -> Array:
        """v J."""
        v = v.reshape(1, *self.shape)
        return self.calculus.transposed(self.y, self.x, self.lam, self.mu, v).ravel()

    def symmetric(self, v: Array) -> Array:
        """(J + J') v / 2."""
        v = v.ravel()
        return (self.times(v) + self._back(v)) / 2

    def replies(self, v: Array) -> Array:
        """M v."""
        v = v.ravel()
        own = self.own @ v.reshape(*self.shape, 1)
        return -(self.inverse @ (self.times(v).reshape(own.shape) - own)).ravel()

    def replies_transposed(self, v: Array) -> Array:
        """v M."""
        if self.matrix is not None:
            return v @ self.matrix
        u = np.swapaxes(self.inverse, -1, -2) @ v.reshape(*self.shape, 1)
        own = np.swapaxes(self.own, -1, -2) @ u
        return -(self._back(u).reshape(own.shape) - own).ravel()

    def reinforcing(self) -> bool:
        """Whether M has no negative entry; of many followers looked at in random products."""
        if self.matrix is not None:
            return not opposing(self.matrix)
        rng = np.random.default_rng(0)
        some = ((rng.random(self.size) < 0.1) * rng.random(self.size) for _ in range(3))
        return not opposing(np.array([self.replies(v) for v in some]))

    def wants(self, base: Array) -> Array:
        """What each follower would add to ``base`` (I, n) if everybody else stayed there.

        From the field at the point where the formulas are known to be finite: it is affine.
        """
        field = self.calculus.system(self.y, self.y, self.x, self.lam, self.mu)[0]
        there = field.ravel() + self.times(base - self.y[0])
        return -(self.inverse @ there.reshape(*self.shape, 1)).ravel()


def derivatives(calculus: Calculus, x: Array, y: Array) -> tuple[Array, Array]:
    """The derivative J of the followers' field and M of their best replies; see the module.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).

    Returns:
        each (B, p, p) with p = I n; M is NaN where a follower's own block cannot be inverted.
    """
    (I, n), B = calculus.follower_shape, len(x)
    p = I * n
    lam, mu = calculus.zeros((B,))
    own, _ = calculus.own_blocks(y, y, x, lam, mu)
    units = np.eye(p).reshape(p, 1, I, n)
    J = np.moveaxis(calculus.joint(y, x, lam, mu, units)[0].reshape(p, B, p), 0, -1)
    rest = J.reshape(B, I, n, I, n).copy()
    rest[:, np.arange(I), :, np.arange(I)] = 0.0
    return J, -(matrices.inverses(own) @ rest.reshape(B, I, n, p)).reshape(B, p, p)


def uniqueness(calculus: Calculus, x: Array, y: Array) -> list[Uniqueness]:
    """Evidence for a unique follower equilibrium at leader actions x, looked at in y.

    Args:
        calculus: the market, or a batch of B.
        x, y: leader actions (B, d, J) and follower actions (B, I, n).
    """
    p, everywhere = y[0].size, calculus.concavity.affine_field
    found: list[tuple[float, float]] = []
    most = max(1, CHUNK // (p * p))
    for start in range(0, len(x), most if p <= DENSE_UP_TO else 1):
        if p <= DENSE_UP_TO:
            some = np.arange(start, min(start + most, len(x)))
            J, M = derivatives(calculus.at(some), x[some], y[some])
            both = matrices.smallest_eigenvalues(J), matrices.spectral_radii(M)
            found += [(float(low), float(radius)) for low, radius in zip(*both, strict=True)]
        else:
            found.append(_at_scale(_Products(calculus.at([start]), x[start], y[start])))
    return [Uniqueness(smallest, radius, everywhere) for smallest, radius in found]


def _at_scale(products: _Products) -> tuple[float, float]:
    """The smallest eigenvalue of J's symmetric part, and M's spectral radius, by products."""
    size = products.size
    smallest = _extreme(eigsh, products.symmetric, size, which="SA", tol=1e-4).min()
    if not np.isfinite(products.inverse).all():
        return float(smallest), np.inf
    some = np.random.default_rng(0).random(size)
    if np.abs(products.replies(some)).max() <= rounding(size):
        return float(smallest), 0.0  # nobody looks at anybody: ARPACK refuses a map to nothing
    return float(smallest), float(np.abs(_extreme(eigs, products.replies, size, tol=1e-6)).max())


def _extreme(
    method: Callable[..., Any], product: Callable[[Array], Array], size: int, **options: Any
) -> Array:
    """An extreme eigenvalue; what there is of it where the iteration does not end."""
    operator, v = LinearOperator((size, size), matvec=product, dtype=float), np.ones(size)
    try:
        return method(operator, k=1, v0=v, maxiter=300, return_eigenvectors=False, **options)
    except ArpackNoConvergence as failure:
        return failure.eigenvalues if len(failure.eigenvalues) else np.array([np.nan])


STEPS = 200
"""Power iterations for a vector to bound a spectral radius with."""


@dataclass(frozen=True)
class Radius:
    """Bounds on the spectral radius of a nonnegative matrix, rounding counted against them.

    For any v >= 0 and t with v M >= t v, the radius is at least t (v may be 0 in places); for any
    v > 0 with v M <= t v it is at most t (Collatz, Math. Z. 48, 1942; Wielandt, Math. Z. 52, 1950).
    So v may come from anywhere: only the products v M are relied on.

    Attributes:
        low, high: the bounds.
        vector: the v of the lower one (p,).
        error: how much rounding was counted, relative.
    """

    low: float
    high: float
    vector: Array
    error: float

    @property
    def near_one(self) -> bool:
        """Whether it may be 1 and is no less as far as numbers can tell."""
        return 1 - 8 * self.error <= self.low < 1 <= self.high


def rounding(size: int) -> float:
    """Relative error of a product with a best-reply map of that size: of the traced derivative, of
    the own blocks' inverse and of the sum itself, with room to spare."""
    return 64 * float(np.finfo(float).eps) * (size + 16)


def opposing(M: Array) -> Array:
    """Whether some entry of best-reply maps (..., p, p) is negative by more than rounding (...)."""
    noise = rounding(M.shape[-1]) * np.abs(M).max((-1, -2), initial=0.0)
    return (M + noise[..., None, None] < 0).any((-1, -2))


def contracting(M: Array) -> Array:
    """Where best-reply maps (B, p, p) surely have a spectral radius below 1 (B,): the sum v of all
    rounds 1 + |M| 1 + |M| |M| 1 + ... exists, since v > 0 and |M| v < v."""
    size = np.abs(M)
    v = matrices.solve(np.eye(M.shape[-1]) - size, np.ones((*M.shape[:-1], 1)))
    return ((v > 0) & (size @ v < (1 - rounding(M.shape[-1])) * v)).all((-1, -2))


def bound_radius(times: Callable[[Array], Array], v: Array) -> Radius:
    """Bounds from a vector v > 0 (p,) and products ``times(v)`` = v M of a nonnegative M (or M v:
    its transpose has the same radius)."""
    error = rounding(v.size)
    ratio = times(v) / v
    most = float(ratio.max())
    # The part that grows most stands for itself: elsewhere v may fade, and ratios with it.
    part = np.where(v > 1e-9 * v.max(), v, 0.0)
    least = float((times(part)[part > 0] / part[part > 0]).min())
    return Radius(least * (1 - error), most * (1 + error), part, error)


def diagnose(calculus: Calculus) -> str | None:
    """Why the followers have no equilibrium at any price, or None if nothing speaks against one.

    Looked for, before any iteration: affine games of strategic complements without upper bounds
    whose best replies reinforce each other without end (see the module). Own limits are allowed
    if they only ask for more (their gradients are never positive where looked at), as a delay
    limit does. At one price that is a proof; it is looked for at prices over their whole ranges.
    """
    lowest, highest = calculus.follower_bounds
    upwards = np.isinf(highest).all() and np.isfinite(lowest).all()
    if not (calculus.concavity.affine_field and upwards) or calculus.k:
        return None
    found = []
    for prices in leader_actions(calculus):
        radius = _growth(calculus, prices)
        if radius is None or not (radius.low >= 1 or radius.near_one):
            return None
        found.append(radius)
    action = calculus.follower_name
    ways_out = (
        f"Weaken what ties the followers, make each more sensitive to its own {action}, or bound "
        f"{action} from above"
    )
    if all(radius.low >= 1 for radius in found):
        return (
            "the followers have no equilibrium: their best replies reinforce each other without "
            f"end (spectral radius of the best-reply map {found[0].low:.4g}, at least 1) and "
            f"{action} has no upper bound, so {action} grows for ever. {ways_out}"
        )
    return (
        "the followers have no equilibrium that numbers can hold: their best replies reinforce "
        "each other (the spectral radius of the best-reply map is 1 within rounding, "
        f"{found[0].error:.1g}; at 1 {action} grows for ever) and {action} has no upper bound. "
        f"{ways_out}"
    )


def undoubted(whole: Calculus) -> Array:
    """Where :func:`diagnose` surely has nothing to say of a batch's markets (B,)."""
    bounded = np.isfinite(whole.follower_bounds[1]).any((-1, -2))
    if not whole.concavity.affine_field or whole.k:
        return np.ones_like(bounded)
    M = derivatives(whole, middle(*whole.leader_bounds), whole.first_guess)[1]
    known = np.isfinite(M).all((-1, -2))
    M = np.where(known[:, None, None], M, 0.0)
    return bounded | ~known | opposing(M) | contracting(M)


def _growth(calculus: Calculus, x: Array) -> Radius | None:
    """How best replies grow from round to round at leader actions x; None where that would not
    rule an equilibrium out."""
    y = calculus.first_guess
    products = _Products(calculus, x, y)
    if not np.isfinite(products.inverse).all() or (products.inverse < 0).any():
        return None
    rng = np.random.default_rng(0)
    spots = np.stack([y, *(y * rng.uniform(0.1, 10.0, (4, *y.shape)))])
    C = calculus.own_blocks(spots, spots, products.x, *calculus.zeros((len(spots),)))[1]
    if not (C <= 0).all() or not products.reinforcing():
        return None
    # Between the least and the largest row sum; where these do not tell, between better bounds.
    radius = bound_radius(products.replies, np.ones(y.size))
    radius = radius if radius.high < 1 else _bounded(products)
    pull = radius.vector * products.wants(calculus.follower_bounds[0])
    return radius if pull.sum() > rounding(y.size) * np.abs(pull).sum() else None


def _bounded(products: _Products) -> Radius:
    """Bounds on the spectral radius of the best-reply map, as tight as it takes."""
    M, v = products.matrix, np.ones(products.size)
    if M is not None:
        # Below 1 the sum of all rounds, 1 + M + M M + ..., is the vector; above, the top ones of
        # all components that share the radius together.
        rounds = matrices.solve(np.eye(len(M)) - M.T, v[:, None])[:, 0]
        values, vectors = np.linalg.eig(M.T)
        top = np.abs(vectors[:, values.real >= (1 - 1e-6) * values.real.max()]).sum(1)
        v = rounds if (rounds > 0).all() else top
    for _ in range(STEPS):
        v = np.maximum(v / v.max(), 1e-100)
        radius = bound_radius(products.replies_transposed, v)
        if radius.high < 1 or radius.low >= 1 or radius.near_one:
            break
        v = 0.5 * (v + products.replies_transposed(v))
    return radius
