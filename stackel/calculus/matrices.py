"""Linear algebra of many small matrices at once, none of which touches another.

NumPy refuses a whole batch for one singular matrix in it, and a Krylov method that is handed a
batch as one long vector shares its step lengths and its stopping test. Here every element is what
it would be alone, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stackel.calculus.axes import wide
from stackel.run import check_time
from stackel.types import Array

Product = Callable[[Array], Array]
"""A matrix times vectors (B, z), element by element."""

RIDGE = 1e-9
"""What a singular matrix's diagonal grows by, relative to the largest entry of each row."""

RELATIVE = 1e-13
"""What Krylov's method may leave of a right side, relative to its length."""

STEPS = 200


def solve(matrix: Array, right: Array) -> Array:
    """Solve systems (..., z, z) x = (..., z, r); singular ones nearly, with a ridge.

    What cannot be solved with a ridge either is 0.
    """
    z = matrix.shape[-1]
    batch = np.broadcast_shapes(matrix.shape[:-2], right.shape[:-2])
    flat = wide(matrix, (*batch, z, z)).reshape(-1, z, z)
    sides = wide(right, (*batch, *right.shape[-2:])).reshape(-1, *right.shape[-2:])
    out = _each(np.linalg.solve, flat, sides)
    bad = ~np.isfinite(out).all((-1, -2))
    if bad.any():
        some = np.nan_to_num(flat[bad])
        size = np.abs(some).max(-1)
        size = np.where(size > 0, size, size.max(-1, keepdims=True) + 1e-300)
        some[:, np.arange(z), np.arange(z)] += RIDGE * size
        out[bad] = np.nan_to_num(_each(np.linalg.solve, some, np.nan_to_num(sides[bad])))
    return out.reshape(*batch, *right.shape[-2:])


def inverses(matrix: Array) -> Array:
    """Inverses of matrices (..., z, z), NaN of those that are singular or not finite."""
    flat = matrix.reshape(-1, *matrix.shape[-2:])
    return _each(np.linalg.inv, flat).reshape(matrix.shape)


def smallest_eigenvalues(matrix: Array) -> Array:
    """Of the symmetric parts of matrices (..., z, z): (...), NaN where one is not finite."""
    known = np.isfinite(matrix).all((-1, -2))
    some = np.where(known[..., None, None], matrix, 0.0)
    smallest = np.linalg.eigvalsh((some + np.swapaxes(some, -1, -2)) / 2)[..., 0]
    return np.where(known, smallest, np.nan)


def spectral_radii(matrix: Array) -> Array:
    """Largest absolute eigenvalues of matrices (..., z, z): (...), inf where one is not finite."""
    known = np.isfinite(matrix).all((-1, -2))
    some = np.where(known[..., None, None], matrix, 0.0)
    return np.where(known, np.abs(np.linalg.eigvals(some)).max(-1, initial=0.0), np.inf)


def _each(function: Callable[..., Array], *arrays: Array) -> Array:
    """A function of matrices (B, ...), NaN for those that it refuses."""
    try:
        return function(*arrays)
    except np.linalg.LinAlgError:
        if len(arrays[0]) == 1:
            return np.full(arrays[-1].shape, np.nan)
    half = len(arrays[0]) // 2  # one of them spoils the call: halve until it stands alone
    first, second = ([a[part] for a in arrays] for part in (slice(half), slice(half, None)))
    return np.concatenate([_each(function, *first), _each(function, *second)])


def bicgstab(
    multiply: Product, precondition: Product, right: Array, start: Array
) -> tuple[Array, Array]:
    """Solve A_b x_b = right_b for every element b of a batch, by stabilised bi-conjugate gradients.

    The preconditioned method of van der Vorst, SIAM J. Sci. Stat. Comput. 13, 1992, each element
    with coefficients and a stopping test of its own.

    Args:
        multiply: A times vectors (B, z), element by element.
        precondition: an approximation of A's inverse times vectors (B, z).
        right: the right sides (B, z).
        start: where to start (B, z).

    Returns:
        the solutions (B, z), and which of them solve their systems (B,).
    """
    with np.errstate(all="ignore"):
        x, residual = start, right - multiply(start)
        goal = np.maximum(RELATIVE * _length(right), 1e-300)
        shadow, direction, image = residual, np.zeros_like(x), np.zeros_like(x)
        rho = alpha = omega = np.ones(len(x))
        done = _length(residual) <= goal
        for _ in range(STEPS):
            check_time()
            if done.all():
                break
            before, rho = rho, _dot(shadow, residual)
            beta = (rho / before) * (alpha / omega)
            direction = residual + beta[:, None] * (direction - omega[:, None] * image)
            ahead = precondition(direction)
            image = multiply(ahead)
            alpha = rho / _dot(shadow, image)
            half = residual - alpha[:, None] * image
            side = precondition(half)
            turned = multiply(side)
            size = _dot(turned, turned)
            # An element that is solved after the first half step needs no second one.
            omega = np.where(size > 0, _dot(turned, half) / size, 0.0)
            moved = x + alpha[:, None] * ahead + omega[:, None] * side
            x = np.where(done[:, None], x, moved)
            residual = half - omega[:, None] * turned
            done |= _length(residual) <= goal
    return x, done & np.isfinite(x).all(-1)


def _dot(first: Array, second: Array) -> Array:
    return (first * second).sum(-1)


def _length(vectors: Array) -> Array:
    return np.sqrt(_dot(vectors, vectors))
