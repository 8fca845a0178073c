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
from stackel.calculus.calculus import trace
from stackel.followers.starts import first_guess
from stackel.game.game import Game
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


class _Linear:
    """The field's derivative J at a point, and its own blocks D, as products."""

    def __init__(self, game: Game, x: Array, y: Array) -> None:
        self.calculus, self.x, self.y = trace(game), x[None], y[None]
        self.shape = y.shape
        self.lam, self.mu = trace(game).zeros((1,))
        H, self.C = trace(game).own_blocks(self.y, self.y, self.x, self.lam, self.mu)
        self.own = H[0]
        self.inverse = matrices.inverses(self.own)

    def times(self, v: Array) -> Array:
        """J v for one v (p,) or many (r, p)."""
        direction = v.reshape(-1, 1, *self.shape)
        out = self.calculus.joint(self.y, self.x, self.lam, self.mu, direction)[0]
        return out.reshape(v.shape)

    def dense(self) -> Array:
        return self.times(np.eye(self.y.size)).T

    @cached_property
    def matrix(self) -> Array | None:
        """M, up to a size."""
        return _reply_matrix(self, self.dense()) if self.y.size <= DENSE_UP_TO else None

    def replies(self, v: Array) -> Array:
        """M v, the best-reply map's derivative."""
        rest = (self.times(v)).reshape(*self.shape, 1)
        own = self.own @ v.reshape(*self.shape, 1)
        return -(self.inverse @ (rest - own)).ravel()

    def replies_transposed(self, v: Array) -> Array:
        """v M."""
        u = np.swapaxes(self.inverse, -1, -2) @ v.reshape(*self.shape, 1)
        back = self.calculus.transposed(self.y, self.x, self.lam, self.mu, u[None, ..., 0])
        own = np.swapaxes(self.own, -1, -2) @ u
        return -(back.reshape(own.shape) - own).ravel()

    def nonnegative(self) -> bool:
        """Whether M has no negative entry; of many followers looked at in random products."""
        size = self.y.size
        rng = np.random.default_rng(0)
        some = ((rng.random(size) < 0.1) * rng.random(size) for _ in range(3))
        if self.matrix is not None:
            return not opposing(self.matrix)
        return not opposing(np.array([self.replies(v) for v in some]))

    def wants(self, base: Array) -> Array:
        """What each follower would add to ``base`` (I, n) if everybody else stayed there.

        From the field at the point where the formulas are known to be finite: it is affine.
        """
        field = self.calculus.system(self.y, self.y, self.x, self.lam, self.mu)[0]
        there = field.ravel() + self.times((base - self.y[0]).ravel())
        return -(self.inverse @ there.reshape(*self.shape, 1))


def _largest(matrix: Array | None, linear: _Linear, size: int) -> float:
    """Spectral radius of the best-reply map."""
    if not np.isfinite(linear.inverse).all():
        return float("inf")
    if matrix is not None:
        return float(matrices.spectral_radii(matrix))
    operator = LinearOperator((size, size), matvec=linear.replies, dtype=float)
    found: Any
    try:
        start = np.ones(size)
        found = eigs(operator, k=1, v0=start, tol=1e-6, maxiter=300, return_eigenvectors=False)
    except ArpackNoConvergence as failure:
        found = failure.eigenvalues if len(failure.eigenvalues) else np.array([np.nan])
    return float(np.abs(found).max())


def uniqueness(game: Game, x: Array, y: Array) -> Uniqueness:
    """Evidence for a unique follower equilibrium at leader actions x, looked at in y."""
    linear = _Linear(game, x, y)
    size = y.size
    if size <= DENSE_UP_TO:
        J = linear.dense()
        smallest = float(matrices.smallest_eigenvalues(J))
        radius = _largest(_reply_matrix(linear, J), linear, size)
    else:
        smallest = _smallest(game, linear, size)
        radius = _largest(None, linear, size)
    return Uniqueness(smallest, radius, trace(game).concavity.affine_field)


def _smallest(game: Game, linear: _Linear, size: int) -> float:
    transposed = trace(game).transposed

    def symmetric(v: Array) -> Array:
        back = transposed(linear.y, linear.x, linear.lam, linear.mu, v.reshape(1, *linear.shape))
        return (linear.times(v.ravel()) + back.ravel()) / 2

    operator = LinearOperator((size, size), matvec=symmetric, dtype=float)
    found: Any
    try:
        start = np.ones(size)
        found = eigsh(
            operator, k=1, which="SA", v0=start, tol=1e-4, maxiter=300, return_eigenvectors=False
        )
    except ArpackNoConvergence as failure:
        found = failure.eigenvalues if len(failure.eigenvalues) else np.array([np.nan])
    return float(found.min())


def _reply_matrix(linear: _Linear, J: Array) -> Array:
    I, n = linear.shape
    rest = J.reshape(I, n, -1).copy()
    for i in range(I):
        rest[i, :, i * n : (i + 1) * n] = 0.0
    return -(linear.inverse @ rest).reshape(I * n, I * n)


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


def diagnose(game: Game) -> str | None:
    """Why the followers have no equilibrium at any price, or None if nothing speaks against one.

    Looked for, before any iteration: affine games of strategic complements without upper bounds
    whose best replies reinforce each other without end (see the module). Own limits are allowed
    if they only ask for more (their gradients are never positive where looked at), as a delay
    limit does.
    """
    structure = trace(game).concavity
    lowest, highest = game.follower_bounds
    upwards = np.isinf(highest).all() and np.isfinite(lowest).all()
    if not (structure.affine_field and upwards) or trace(game).k:
        return None
    low, high = game.leader_bounds
    centre = middle(low, high)
    corners = [np.where(np.isfinite(b), b, centre) for b in (centre, low, high)]
    found = []
    for x in corners:
        radius = _growth(game, x)
        if radius is None or not (radius.low >= 1 or radius.near_one):
            return None
        found.append(radius)
    action = trace(game).follower_name
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


def _growth(game: Game, x: Array) -> Radius | None:
    """How best replies grow from round to round at leader actions x; None where that would not
    rule an equilibrium out."""
    y = first_guess(game)
    linear = _Linear(game, x, y)
    if not np.isfinite(linear.inverse).all() or (linear.inverse < 0).any():
        return None
    rng = np.random.default_rng(0)
    for spot in (y, *(y * rng.uniform(0.1, 10.0, (4, *y.shape)))):
        _, C = trace(game).own_blocks(spot[None], spot[None], linear.x, linear.lam, linear.mu)
        if not (C <= 0).all():
            return None
    if not linear.nonnegative():
        return None
    radius = bound_radius(linear.replies, np.ones(y.size))  # between the least and largest row sum
    radius = radius if radius.high < 1 else _bounded(linear)
    lowest = game.follower_bounds[0]
    pull = radius.vector * linear.wants(lowest).ravel()
    return radius if pull.sum() > rounding(y.size) * np.abs(pull).sum() else None


def _bounded(linear: _Linear) -> Radius:
    """Bounds on the spectral radius of the best-reply map, as tight as it takes."""
    M, v = linear.matrix, np.ones(linear.y.size)
    times = linear.replies_transposed
    if M is not None:
        times = M.T.__matmul__
        # Below 1 the sum of all rounds, 1 + M + M M + ..., is the vector; above, the top ones of
        # all components that share the radius together.
        rounds = matrices.solve(np.eye(len(M)) - M.T, v[:, None])[:, 0]
        values, vectors = np.linalg.eig(M.T)
        top = np.abs(vectors[:, values.real >= (1 - 1e-6) * values.real.max()]).sum(1)
        v = rounds if (rounds > 0).all() else top
    for _ in range(STEPS):
        v = np.maximum(v / v.max(), 1e-100)
        radius = bound_radius(times, v)
        if radius.high < 1 or radius.low >= 1 or radius.near_one:
            break
        v = 0.5 * (v + times(v))
    return radius


def derivatives(whole: Game, x: Array, y: Array) -> tuple[Array, Array]:
    """The derivative J of the followers' field and M of their best replies, each (B, p, p); see
    :mod:`stackel.existence`. M is NaN where a follower's own block cannot be inverted."""
    I, n = whole.follower_shape
    B, p = len(x), I * n
    lam, mu = trace(whole).zeros((B,))
    own, _ = trace(whole).own_blocks(y, y, x, lam, mu)
    units = np.eye(p).reshape(p, 1, I, n)
    J = np.moveaxis(trace(whole).joint(y, x, lam, mu, units)[0].reshape(p, B, p), 0, -1)
    rest = J.reshape(B, I, n, I, n).copy()
    rest[:, np.arange(I), :, np.arange(I)] = 0.0
    return J, -(matrices.inverses(own) @ rest.reshape(B, I, n, p)).reshape(B, p, p)
