"""The followers' problem as complementarity systems: all together, or each one alone.

:class:`Joint` is the followers' equilibrium: one system for each batch element, unknowns (y, lam,
mu) of everybody. :class:`Alone` is every follower's own problem with its rivals frozen: one small
system for each follower. Both present the flat arrays that
:mod:`stackel.followers.complementarity` works on.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from stackel.calculus import matrices
from stackel.calculus.axes import first_to_last, wide
from stackel.calculus.calculus import Calculus
from stackel.calculus.matrices import Product, bicgstab
from stackel.followers.complementarity import Pair, Rows, Scales
from stackel.followers.lengths import curvature, own_lengths
from stackel.types import Array

DENSE_UP_TO = 100
"""Unknowns of one joint system up to which its matrix is formed; above, products only."""

FULL_UP_TO = 2_000
"""Unknowns up to which the matrix is formed all the same where Krylov's method breaks down."""

CHUNK = 4_000_000
"""Numbers in one batch of matrices or directions."""


def _flat(array: Array) -> Array:
    return array.reshape(*array.shape[:-2], array.shape[-2] * array.shape[-1])


def _scales(h: Array, C: Array) -> tuple[Array, Array]:
    """Squared gradient length of limits in the metric 1/h, and the move for a unit multiplier.

    Args:
        h: curvatures (..., p).
        C: limits' gradients (..., q, p).
    """
    over = C / h[..., None, :]
    s = (C * over).sum(-1)
    # A limit with no gradient here cannot be mended by a move: its residual must still show.
    w = np.sqrt((over**2).sum(-1))
    return np.where(s > 0, s, 1.0), np.where(w > 0, w, 1.0)


def _free_moves(H: Array, C: Array) -> Array:
    """The move for a unit of each multiplier (..., q), without the multipliers' own curvature.

    A large multiplier bends the Lagrangian and would shrink its own residual: a limit whose
    gradient vanishes could then pass for binding anywhere.
    """
    return _scales(curvature(H), C)[1]


def _own_systems(H: Array, C: Array) -> Array:
    """Each follower's own d(F, c) / d(y, lam), from Hessians and limits' gradients."""
    n, q = H.shape[-1], C.shape[-2]
    out = np.zeros((*H.shape[:-2], n + q, n + q))
    out[..., :n, :n], out[..., n:, :n] = H, C
    out[..., :n, n:] = np.swapaxes(C, -1, -2)
    return out


class Joint:
    """All followers together.

    Args:
        calculus: the market, or a batch of B.
        x: leader actions (B, d, J).
    """

    def __init__(self, calculus: Calculus, x: Array) -> None:
        self.calculus, self.x = calculus, x
        self.low, self.high = (_flat(b) for b in calculus.follower_bounds)
        self.open_low, self.open_high = (_flat(b) for b in calculus.open_bounds)
        self.shape = calculus.follower_shape
        self.p = self.low.shape[-1]
        self.q = self.shape[0] * calculus.m + calculus.k
        # Blocks at the last point asked for: scales and step ask at the same one.
        self._known: tuple[Array, Array, tuple[Array, Array, Array]] | None = None

    def at(self, batch: Array) -> Joint:
        return Joint(self.calculus.at(batch), self.x[batch])

    def unflat(self, y: Array, lam: Array) -> tuple[Array, Array, Array]:
        """y (..., I, n), lam (..., I, m), mu (..., k)."""
        I, m = self.shape[0], self.calculus.m
        own = lam[..., : I * m].reshape(*lam.shape[:-1], I, m)
        return y.reshape(*y.shape[:-1], *self.shape), own, lam[..., I * m :]

    @staticmethod
    def flat(field: Array, own: Array, shared: Array) -> tuple[Array, Array]:
        """What :meth:`unflat` takes apart: (..., p) and (..., q).

        Args:
            field: or actions (..., I, n).
            own: own limits or their multipliers (..., I, m).
            shared: the same of shared limits (..., k).
        """
        c = _flat(own)
        return _flat(field), np.concatenate([c, shared], -1) if shared.shape[-1] else c

    def values(self, y: Array, lam: Array) -> tuple[Array, Array]:
        Y, L, mu = self.unflat(y, lam)
        return self.flat(*self.calculus.system(Y, Y, self.x, L, mu))

    def _blocks(self, y: Array, lam: Array) -> tuple[Array, Array, Array]:
        """Own Hessians (B, I, n, n), own limits' gradients (B, I, m, n), shared ones' (B, k, p)."""
        if self._known is None or self._known[0] is not y or self._known[1] is not lam:
            Y, L, mu = self.unflat(y, lam)
            H, C = self.calculus.own_blocks(Y, Y, self.x, L, mu)
            self._known = (y, lam, (H, C, shared_gradients(self.calculus, Y, Y, self.x)))
        return self._known[2]

    def scales(self, y: Array, lam: Array) -> tuple[Array, Array, Array]:
        H, C, A = self._blocks(y, lam)
        h = curvature(H)
        s, w = _scales(h, C)
        if self.calculus.concavity.curved_own and lam.any():
            Y, L, mu = self.unflat(y, np.zeros_like(lam))
            w = np.maximum(w, _free_moves(self.calculus.own_blocks(Y, Y, self.x, L, mu)[0], C))
        flat_h = h.reshape(*y.shape)
        if not self.calculus.k:
            return flat_h, s.reshape(lam.shape), w.reshape(lam.shape)
        s2, w2 = _scales(flat_h, A)
        join = [a.reshape(len(y), -1) for a in (s, w)]
        return flat_h, np.concatenate([join[0], s2], -1), np.concatenate([join[1], w2], -1)

    def lengths(self, y: Array, lam: Array, scales: Scales) -> Pair:
        Y, L, mu = self.unflat(y, lam)
        along = own_lengths(self.calculus, self.x, Y, scales[0].reshape(Y.shape))
        if not self.q:
            return self.flat(along, L, mu)
        own = np.broadcast_to(along.max(-1, keepdims=True, initial=0.0), L.shape)
        everybody = np.broadcast_to(along.max((-1, -2))[..., None], mu.shape)
        return self.flat(along, own, everybody)

    def step(
        self, y: Array, lam: Array, rows: Rows, right_y: Array, right_lam: Array
    ) -> tuple[Array, Array]:
        right = np.concatenate([right_y, right_lam], -1)[..., None]
        out = self.linear_solve(y, lam, rows, right)[..., 0]
        return out[..., : self.p], out[..., self.p :]

    def linear_solve(self, y: Array, lam: Array, rows: Rows, right: Array) -> Array:
        """Solve the linearised system, its rows made as :class:`Rows` says.

        Args:
            y, lam: where it is linearised, (B, p) and (B, q).
            rows: how its rows are made.
            right: right sides (B, p + q, r); so are the solutions.
        """
        z = self.p + self.q
        weight = np.concatenate([rows.weight_y, rows.weight_lam], -1)
        diagonal = np.concatenate([rows.diagonal_y, rows.diagonal_lam], -1)
        if z > DENSE_UP_TO:
            return self._krylov(y, lam, weight, diagonal, right)
        right = wide(right, (len(y), z, right.shape[-1]))
        chunk = max(1, CHUNK // (z * z))
        if len(y) <= chunk:
            return self._dense(y, lam, weight, diagonal, right)
        parts = []
        for start in range(0, len(y), chunk):
            some = np.arange(start, min(start + chunk, len(y)))
            arrays = (a[some] for a in (y, lam, weight, diagonal, right))
            parts.append(self.at(some)._dense(*arrays))
        return np.concatenate(parts)

    def _dense(self, y: Array, lam: Array, weight: Array, diagonal: Array, right: Array) -> Array:
        matrix = self._matrix(y, lam) * weight[..., None]
        z = matrix.shape[-1]
        matrix[:, np.arange(z), np.arange(z)] += diagonal
        return matrices.solve(matrix, right)

    def _matrix(self, y: Array, lam: Array) -> Array:
        """d(F, c) / d(y, lam), (B, z, z)."""
        (I, n), m = self.shape, self.calculus.m
        Y, L, mu = self.unflat(y, lam)
        directions = np.eye(self.p).reshape(self.p, 1, I, n)
        F, c = self.flat(*self.calculus.joint(Y, self.x, L, mu, directions))
        matrix = np.zeros((len(y), self.p + self.q, self.p + self.q))
        matrix[:, : self.p, : self.p] = first_to_last(F)
        matrix[:, self.p :, : self.p] = first_to_last(c)
        _, C, A = self._blocks(y, lam)
        if m:  # by own multipliers: follower i's limits' gradients, in i's rows only
            i, a, b = np.ix_(range(I), range(m), range(n))
            matrix[:, i * n + b, self.p + i * m + a] = C
        matrix[:, : self.p, self.p + I * m :] = np.swapaxes(A, -1, -2)
        return matrix

    def _krylov(self, y: Array, lam: Array, weight: Array, diagonal: Array, right: Array) -> Array:
        """The same by Krylov's method."""
        B, z = len(y), self.p + self.q
        multiply, precondition = self._products(y, lam, weight, diagonal)
        out = np.empty((B, z, right.shape[-1]))
        for column in range(right.shape[-1]):
            b = np.broadcast_to(right[..., column], (B, z))
            out[..., column], solved = bicgstab(multiply, precondition, b, precondition(b))
            for e in np.flatnonzero(~solved):
                some = np.array([e])
                arrays = (a[some] for a in (y, lam, weight, diagonal, b[..., None]))
                out[e, :, column] = self.at(some)._otherwise(*arrays)
        return out

    def _products(
        self, y: Array, lam: Array, weight: Array, diagonal: Array
    ) -> tuple[Product, Product]:
        """The linearised system times vectors (B, p + q), and an approximation of its inverse:
        every follower's own block, so that Krylov's method converges as fast as best replies
        contract, or faster."""
        (I, n), m, k = self.shape, self.calculus.m, self.calculus.k
        B, p, z = len(y), self.p, self.p + self.q
        Y, L, mu = self.unflat(y, lam)
        H, C, A = self._blocks(y, lam)

        def multiply(v: Array) -> Array:
            dY, dL, dmu = self.unflat(v[:, :p], v[:, p:])
            F, c = self.flat(*self.calculus.joint(Y, self.x, L, mu, dY))
            F = F + (np.swapaxes(C, -1, -2) @ dL[..., None])[..., 0].reshape(B, p)
            if k:
                F = F + (dmu[:, None, :] @ A)[:, 0]
            return weight * np.concatenate([F, c], -1) + diagonal * v

        block = _own_systems(H, C)

        def by_follower(v: Array) -> Array:
            parts = v[:, :p].reshape(B, I, n), v[:, p : p + I * m].reshape(B, I, m)
            return np.concatenate(parts, -1)

        block = block * by_follower(weight)[..., None]
        block = block + by_follower(diagonal)[..., None] * np.eye(n + m)
        inverse = matrices.solve(block, np.broadcast_to(np.eye(n + m), block.shape))
        h = curvature(H).reshape(B, p)
        last = slice(p + I * m, z)
        s = diagonal[:, last] - weight[:, last] * _scales(h, A)[0] if k else np.zeros((B, 0))

        def precondition(v: Array) -> Array:
            dY, dL, dmu = self.unflat(v[:, :p], v[:, p:])
            u = (inverse @ np.concatenate([dY, dL], -1)[..., None])[..., 0]
            parts = [u[..., :n].reshape(B, p), u[..., n:].reshape(B, I * m), dmu / s]
            return np.concatenate(parts, -1)

        return multiply, precondition

    def _otherwise(
        self, y: Array, lam: Array, weight: Array, diagonal: Array, right: Array
    ) -> Array:
        """One element's solution (z,) where short recurrences break down: in full if that fits."""
        z = right.shape[1]
        if z <= FULL_UP_TO:
            return self._dense(y, lam, weight, diagonal, right)[0, :, 0]

        def operator_of(product: Product) -> LinearOperator[np.float64]:
            def times(v: Array) -> Array:
                return product(v.reshape(1, z))[0]

            return LinearOperator((z, z), matvec=times, dtype=np.float64)

        operator, approximate = map(operator_of, self._products(y, lam, weight, diagonal))
        b = right[0, :, 0]
        start = approximate @ b
        return gmres(operator, b, x0=start, M=approximate, rtol=1e-13, restart=40, maxiter=20)[0]


def shared_gradients(calculus: Calculus, y: Array, rivals: Array, x: Array) -> Array:
    """Gradients of the shared limits by the followers' actions, (B, k, I n).

    The field is affine in the multipliers mu, so its change for a unit of each is that gradient.

    Args:
        calculus: the market, or a batch of B.
        y, rivals: own actions and everybody's (B, I, n).
        x: leader actions (B, d, J).
    """
    k, batch = calculus.k, np.broadcast_shapes(y.shape[:-2], x.shape[:-2])
    p = y.shape[-1] * y.shape[-2]
    if not k:
        return np.zeros((*batch, 0, p))
    lam, mu = calculus.zeros(batch)
    units = np.broadcast_to(np.eye(k).reshape(k, *(1,) * len(batch), k), (k, *batch, k))
    field = calculus.system(y, rivals, x, lam, units)[0]
    base = calculus.system(y, rivals, x, lam, mu)[0]
    return np.moveaxis((field - base).reshape(k, *batch, p), 0, -2)


class Alone:
    """Every follower's own problem.

    Shared limits bind each follower too, given what the others do: they join its own limits.

    Args:
        calculus: the market, or a batch of B.
        x: leader actions (B, d, J).
        rivals: everybody's actions, frozen (B, I, n).
    """

    def __init__(self, calculus: Calculus, x: Array, rivals: Array) -> None:
        self.calculus, self.x, self.rivals = calculus, x, rivals
        self.low, self.high = calculus.follower_bounds
        self.open_low, self.open_high = calculus.open_bounds

    def at(self, batch: Array) -> Alone:
        return Alone(self.calculus.at(batch), self.x[batch], self.rivals[batch])

    @cached_property
    def _no_mu(self) -> Array:
        return np.zeros((len(self.x), self.calculus.k))

    def _deviations(self, y: Array) -> tuple[Array, Array]:
        """For each follower, the profile in which it alone plays y: (I, B, I, n), and x beside."""
        I = y.shape[-2]
        alone = np.eye(I, dtype=bool).reshape(I, 1, I, 1)
        return np.where(alone, y, self.rivals), np.broadcast_to(self.x, (I, *self.x.shape))

    def shared(self, y: Array) -> Array:
        """Shared limits (B, I, k) as each follower meets them that alone does its part of y."""
        profile, x = self._deviations(y)
        lam, mu = self.calculus.zeros(profile.shape[:-2])
        return np.moveaxis(self.calculus.system(profile, profile, x, lam, mu)[2], 0, 1)

    def _shared_gradients(self, y: Array) -> Array:
        """Their gradients by that follower's action (B, I, k, n)."""
        profile, x = self._deviations(y)
        A = shared_gradients(self.calculus, profile, profile, x)
        own = np.arange(y.shape[-2])
        return np.moveaxis(A.reshape(*A.shape[:-1], *y.shape[-2:])[own, :, :, own], 0, 1)

    def _all(self, y: Array, lam: Array) -> tuple[Array, Array, Array, Array]:
        """Field, limits, Hessians and limits' gradients, of every follower's own problem."""
        m = self.calculus.m
        F, c, _ = self.calculus.system(y, self.rivals, self.x, lam[..., :m], self._no_mu)
        H, C = self.calculus.own_blocks(y, self.rivals, self.x, lam[..., :m], self._no_mu)
        if self.calculus.k:
            A = self._shared_gradients(y)
            F = F + (lam[..., None, m:] @ A)[..., 0, :]
            c, C = np.concatenate([c, self.shared(y)], -1), np.concatenate([C, A], -2)
        return F, c, H, C

    def values(self, y: Array, lam: Array) -> tuple[Array, Array]:
        if self.calculus.k:
            return self._all(y, lam)[:2]
        return self.calculus.system(y, self.rivals, self.x, lam, self._no_mu)[:2]

    def scales(self, y: Array, lam: Array) -> tuple[Array, Array, Array]:
        _, _, H, C = self._all(y, lam)
        h = curvature(H)
        s, w = _scales(h, C)
        if self.calculus.concavity.curved_own:
            w = np.maximum(w, _free_moves(self._all(y, np.zeros_like(lam))[2], C))
        return h, s, w

    def lengths(self, y: Array, lam: Array, scales: Scales) -> Pair:
        along = own_lengths(self.calculus, self.x, y, scales[0])
        return along, np.broadcast_to(along.max(-1, keepdims=True, initial=0.0), lam.shape)

    def step(
        self, y: Array, lam: Array, rows: Rows, right_y: Array, right_lam: Array
    ) -> tuple[Array, Array]:
        _, _, H, C = self._all(y, lam)
        n, matrix = y.shape[-1], _own_systems(H, C)
        weight = np.concatenate([rows.weight_y, rows.weight_lam], -1)[..., None]
        diagonal = np.concatenate([rows.diagonal_y, rows.diagonal_lam], -1)[..., None]
        right = np.concatenate([right_y, right_lam], -1)[..., None]
        out = matrices.solve(weight * matrix + diagonal * np.eye(matrix.shape[-1]), right)[..., 0]
        return out[..., :n], out[..., n:]
