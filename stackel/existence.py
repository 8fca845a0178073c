"""Whether the followers have an equilibrium, and whether they have one only.

The best-reply map's derivative at a point is M = -D^-1 (J - D), with J the derivative of the
followers' field and D its own blocks. If M >= 0 (strategic complements) and its spectral radius is
at least 1, an affine game without upper bounds has no equilibrium: for the left Perron vector
v >= 0, y >= M y + a gives (1 - rho) v y >= v a > 0. Theorem 1 of the vehicular-twin paper misses
this case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs, eigsh

from stackel.game import Game
from stackel.response import first_guess, middle

Array = np.ndarray

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
        self.calculus, self.x, self.y = game.calculus, x[None], y[None]
        self.shape = y.shape
        self.lam, self.mu = game.calculus.zeros((1,))
        H, self.C = game.calculus.own_blocks(self.y, self.y, self.x, self.lam, self.mu)
        self.own = H[0]
        with np.errstate(all="ignore"):
            try:
                self.inverse = np.linalg.inv(self.own)
            except np.linalg.LinAlgError:
                self.inverse = np.full(self.own.shape, np.nan)

    def times(self, v: Array) -> Array:
        """J v for one v (p,) or many (r, p)."""
        direction = v.reshape(-1, 1, *self.shape)
        out = self.calculus.joint(self.y, self.x, self.lam, self.mu, direction)[0]
        return out.reshape(v.shape)

    def dense(self) -> Array:
        return self.times(np.eye(self.y.size)).T

    def replies(self, v: Array) -> Array:
        """M v, the best-reply map's derivative."""
        rest = (self.times(v)).reshape(*self.shape, 1)
        own = self.own @ v.reshape(*self.shape, 1)
        return -(self.inverse @ (rest - own)).ravel()


def _largest(matrix: Array | None, linear: _Linear, size: int) -> float:
    """Spectral radius of the best-reply map."""
    if not np.isfinite(linear.inverse).all():
        return float("inf")
    if matrix is not None:
        return float(np.abs(np.linalg.eigvals(matrix)).max(initial=0.0))
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
        smallest = float(np.linalg.eigvalsh((J + J.T) / 2)[0]) if np.isfinite(J).all() else np.nan
        radius = _largest(_reply_matrix(linear, J), linear, size)
    else:
        smallest = _smallest(game, linear, size)
        radius = _largest(None, linear, size)
    return Uniqueness(smallest, radius, game.calculus.structure.affine_field)


def _smallest(game: Game, linear: _Linear, size: int) -> float:
    transposed = game.calculus.transposed

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


def diagnose(game: Game) -> str | None:
    """Why the followers have no equilibrium at any price, or None if nothing speaks against one.

    Looked for, before any iteration: affine games of strategic complements without upper bounds
    whose best replies reinforce each other without end (see the module). Own limits are allowed
    if they only ask for more (their gradients are never positive where looked at), as a delay
    limit does.
    """
    structure = game.calculus.structure
    unbounded = np.isinf(game.follower_bounds[1]).all()
    if not (structure.affine_field and unbounded) or game.calculus.k:
        return None
    low, high = game.leader_bounds
    centre = middle(low, high)
    corners = [np.where(np.isfinite(b), b, centre) for b in (centre, low, high)]
    found = []
    for x in corners:
        found.append(_diverges(game, x))
        if not found[-1]:
            return None
    action = game.follower_action.name
    return (
        f"the followers have no equilibrium: their best replies reinforce each other without end "
        f"(spectral radius of the best-reply map {found[0]:.4g}, at least 1) and {action} has no "
        f"upper bound, so {action} grows for ever. Weaken what ties the followers, make each more "
        f"sensitive to its own {action}, or bound {action} from above"
    )


def _diverges(game: Game, x: Array) -> float:
    """The spectral radius if the replies provably diverge at leader actions x, else 0."""
    y = first_guess(game)
    linear = _Linear(game, x, y)
    if not np.isfinite(linear.inverse).all():
        return 0.0
    rng = np.random.default_rng(0)
    for spot in (y, *(y * rng.uniform(0.1, 10.0, (4, *y.shape)))):
        _, C = game.calculus.own_blocks(spot[None], spot[None], linear.x, linear.lam, linear.mu)
        if not (C <= 0).all():
            return 0.0
    size = y.size
    rows = linear.replies(np.ones(size))
    if (rows < 1).all() and (rows >= 0).all() and size > DENSE_UP_TO:
        return 0.0  # row sums bound the spectral radius of a nonnegative matrix
    if size > DENSE_UP_TO:
        return _diverges_at_scale(linear, size)
    M = _reply_matrix(linear, linear.dense())
    if (M < 0).any():
        return 0.0
    values, vectors = np.linalg.eig(M.T)
    top = int(np.argmax(values.real))
    radius = float(values[top].real)
    left = np.abs(vectors[:, top].real)
    return radius if radius >= 1 and left @ _wants(linear) > 0 else 0.0


def _wants(linear: _Linear) -> Array:
    """a in y = M y + a: what each follower would choose if nobody else did anything.

    From the field at the point where the formulas are known to be finite: it is affine.
    """
    calculus, y = linear.calculus, linear.y
    field = calculus.system(y, y, linear.x, linear.lam, linear.mu)[0]
    at_zero = field.ravel() - linear.times(y.ravel())
    return -(linear.inverse @ at_zero.reshape(*linear.shape, 1)).ravel()


def _diverges_at_scale(linear: _Linear, size: int) -> float:
    """The same for many followers; nonnegativity is looked at in random products."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        sparse = (rng.random(size) < 0.1) * rng.random(size)
        if (linear.replies(sparse) < -1e-12).any():
            return 0.0
    v = np.ones(size)
    for _ in range(200):  # Collatz-Wielandt: min ratio <= radius <= max ratio
        w = 0.5 * (v + linear.replies(v))
        ratio = w / v
        if ratio.max() < 1:
            return 0.0
        if ratio.min() >= 1:
            wants = _wants(linear)
            return float(2 * ratio.min() - 1) if (wants > 0).all() else 0.0
        v = w / w.max()
        v = np.maximum(v, 1e-12)
    return 0.0
