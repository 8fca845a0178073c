"""Many followers' problems as one CVXPY problem, compiled once and solved again and again.

With the rivals held, the followers' problems at a price are separate, and so are those at another
price: they are the rows of one problem. Its numbers are CVXPY parameters, placed so that the
problem is DPP (Agrawal et al., "Differentiable convex optimization layers", NeurIPS 2019,
section 4): a re-solve skips CVXPY's compilation. For that, a quadratic form enters by its factor,
|M v|^2 with Q = M' M, and an atom's argument is a variable of its own tied by an equation.

Row (e, i), of E elements and I followers, minimises f(v) over low <= v <= high subject to
c(v) <= 0, all as :mod:`stackel.solvers.cvxpy_.terms` has them; limits shared by the followers
of an element, G v + g <= 0, are imposed on their rows together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from stackel.solvers.cvxpy_.array import power
from stackel.solvers.cvxpy_.solving import SolverFailure, run_solver
from stackel.solvers.cvxpy_.terms import AtomKind, Terms
from stackel.types import Array

SIZES = (1, 4, 16, 64, 256, 1024)
"""Numbers of elements that problems are compiled for: few, so that few are compiled."""

ROWS = 512
"""Most rows of a problem, unless followers of one element have something in common: CVXPY's time to
compile one grows with their square, and nothing interrupts it."""

UNMET = 1e-6
"""A limit, divided by its numbers' size, that stays violated by more than this cannot be met."""


@dataclass
class Batch:
    """The numbers of B elements, batch axis first.

    Attributes:
        objective: the negated payoff's terms.
        limits: each own limit's terms, m of them.
        low, high: bounds (B, I, n).
        G, g: shared limits (B, k, I, n), (B, k).
    """

    objective: Terms
    limits: list[Terms]
    low: Array
    high: Array
    G: Array
    g: Array

    def __len__(self) -> int:
        return len(self.low)

    def at(self, batch: Array) -> Batch:
        """The numbers of some elements."""
        limits = [t.at(batch) for t in self.limits]
        bounds = self.low[batch], self.high[batch]
        return Batch(self.objective.at(batch), limits, *bounds, self.G[batch], self.g[batch])

    @property
    def alike(self) -> bool:
        """Whether followers share no limit, and differ in numbers only: not in exponents, nor in
        which of their bounds are finite. Which element a row belongs to does not matter then."""
        kinds = [kind for t in (self.objective, *self.limits) for kind, _ in t.atoms]
        exponents = [np.ones(1) if k.exponent is None else k.exponent for k in kinds]
        patterns = [np.isfinite(self.low[0]), np.isfinite(self.high[0]), *exponents]
        same = all(p.ndim < 2 or (p == p[:1]).all() for p in patterns)
        return same and not self.g.size

    def folded(self, width: int) -> Batch:
        """Followers that are :attr:`alike`, ``width`` of them an element: where I is no multiple,
        the last one fills up."""
        I = self.low.shape[1]
        rows = np.minimum(np.arange(-(-I // width) * width), I - 1)

        def fold(array: Array) -> Array:
            return array[:, rows].reshape(-1, width, *array.shape[2:])

        def of_rows(kind: AtomKind) -> AtomKind:
            own = kind.exponent
            return kind if own is None or own.ndim < 2 else replace(kind, exponent=own[:1])

        parts = [t.map(fold) for t in (self.objective, *self.limits)]
        for part in parts:
            part.atoms = [(of_rows(kind), atom) for kind, atom in part.atoms]
        low, high = fold(self.low), fold(self.high)
        none = np.zeros((len(low), 0))
        return Batch(
            parts[0], parts[1:], low, high, none.reshape(len(low), 0, *low.shape[1:]), none
        )


def _factor(quad: Array) -> Array:
    """M with Q = M' M, (..., n, n), rows ordered by eigenvalue."""
    values, vectors = np.linalg.eigh(quad)
    return np.sqrt(np.maximum(values, 0.0))[..., :, None] * np.swapaxes(vectors, -1, -2)


def _diagonal(quad: Array) -> bool:
    return not (quad * (1.0 - np.eye(quad.shape[-1]))).any()


def shape_of(terms: Terms) -> tuple[Any, ...]:
    """What of a function is compiled in, rather than a number."""
    kinds = tuple(
        (k.op, None if k.exponent is None else k.exponent.tobytes(), k.width)
        for k, _ in terms.atoms
    )
    return None if terms.quad is None else _diagonal(terms.quad), kinds


class Compiled:
    """One compiled problem of E elements; see the module.

    Args:
        batch: shows what it looks like.
        elastic: instead of the best replies, ask how far the limits of each element are from
            being met.
    """

    def __init__(self, batch: Batch, elastic: bool = False) -> None:
        import cvxpy as cp

        self.cp, self.elastic = cp, elastic
        E, self.I, n = batch.low.shape
        self.v = cp.Variable((E * self.I, n))
        self.slack: Any = cp.Variable(E, nonneg=True) if elastic else np.zeros(E)
        self._parameters: list[Any] = []
        self._ties: list[Any] = []
        bounds = (batch.low, batch.high)  # finite at the same places at every element
        self._finite = [np.flatnonzero(np.isfinite(b).ravel()) for b in bounds]
        numbers = self._numbers(batch)
        objective = self.slack if elastic else self._function(batch.objective, numbers)
        of_element = sp.kron(sp.eye(E), np.ones((1, self.I)), format="csr")
        wide = of_element.T @ self.slack
        self.limits = [self._function(t, numbers) <= wide for t in batch.limits]
        self.shared = [
            of_element @ self._linear(numbers) + self._parameter(numbers) <= self.slack
            for _ in range(batch.g.shape[1])
        ]
        within = [
            sign * cp.vec(self.v, order="C")[where] >= sign * self._parameter(numbers)
            for where, sign in zip(self._finite, (1.0, -1.0), strict=True)
            if len(where)
        ]
        constraints = [*self._ties, *within, *self.limits, *self.shared]
        self.problem = cp.Problem(cp.Minimize(cp.sum(objective)), constraints)

    def _numbers(self, b: Batch) -> Iterator[Array]:
        """What the parameters hold.

        Yields:
            the value of each, in the order in which they are made.
        """
        functions = [(t, _size(t)) for t in b.limits]
        if not self.elastic:
            functions = [(b.objective, _scale(b)), *functions]
        for terms, scale in functions:
            for number in _function_numbers(terms, scale):
                yield number.reshape(-1, *number.shape[2:])
        for r, size in enumerate(_shared_size(b).T):
            yield (b.G[:, r] / size[:, None, None]).reshape(self.v.shape)
            yield b.g[:, r] / size
        for values, where in zip((b.low, b.high), self._finite, strict=True):
            if len(where):
                yield values.ravel()[where]

    def _parameter(self, numbers: Iterator[Array], nonneg: bool = False) -> Any:
        """A parameter for the next of the numbers."""
        parameter = self.cp.Parameter(next(numbers).shape, nonneg=nonneg)
        self._parameters.append(parameter)
        return parameter

    def _linear(self, numbers: Iterator[Array]) -> Any:
        """A linear function of the actions, one value a row (K,)."""
        return self.cp.sum(self.cp.multiply(self._parameter(numbers), self.v), axis=1)

    def _affine(self, numbers: Iterator[Array]) -> Any:
        return self._linear(numbers) + self._parameter(numbers)

    def _function(self, shown: Terms, numbers: Iterator[Array]) -> Any:
        """The function over its scale, one value a row (K,)."""
        cp = self.cp
        value = self._affine(numbers)
        if shown.quad is not None and _diagonal(shown.quad):
            roots = self._parameter(numbers, nonneg=True)
            value = value + 0.5 * cp.sum(cp.square(cp.multiply(roots, self.v)), axis=1)
        elif shown.quad is not None:
            for _ in range(shown.quad.shape[-1]):
                value = value + 0.5 * cp.square(self._linear(numbers))
        for kind, _ in shown.atoms:
            value = value + self._atom(kind, numbers)
        return value

    def _atom(self, kind: AtomKind, numbers: Iterator[Array]) -> Any:
        cp, K = self.cp, self.v.shape[0]
        z = cp.Variable((K, kind.width))
        self._ties += [z[:, c] == self._affine(numbers) for c in range(kind.width)]
        coef = self._parameter(numbers, nonneg=True)
        if kind.exponent is None:
            value = getattr(cp, kind.op)(z)
        else:
            wide = np.broadcast_to(kind.exponent, (self.I, kind.width))
            value = power(z, np.tile(wide, (K // self.I, 1)))
        return cp.sum(cp.multiply(coef, kind.sign * value), axis=1)

    def out_of_reach(self, batch: Batch, solvers: list[str], options: Mapping[str, Any]) -> Array:
        """Of an elastic problem: which elements (E,) have limits that cannot be met.

        Args:
            batch: the numbers, of the form that the problem was compiled for.
            solvers, options: as for :func:`run_solver`.

        Raises:
            SolverFailure: no solver brought an answer.
        """
        assert self.elastic
        self.put(batch)
        run_solver(self.problem, solvers, options, exact=False)
        return np.asarray(self.slack.value) > UNMET

    def put(self, batch: Batch) -> None:
        """Set the parameters.

        Args:
            batch: the numbers, of the form that the problem was compiled for.
        """
        for parameter, number in zip(self._parameters, self._numbers(batch), strict=True):
            parameter.value = number

    def solve(
        self, batch: Batch, solvers: list[str], options: Mapping[str, Any], exact: bool
    ) -> tuple[Array, Array, Array, str, float]:
        """The replies v (E, I, n), multipliers (E, I, m) and (E, k), the solver, its time [s].

        Args:
            batch: the numbers, of the form that the problem was compiled for.
            solvers, options, exact: as for :func:`run_solver`.

        Raises:
            SolverFailure: no solver brought an answer, or one that is not finite.
        """
        self.put(batch)
        name, seconds = run_solver(self.problem, solvers, options, exact)
        v = np.array(self.v.value).reshape(batch.low.shape)
        scale, size = _scale(batch), _shared_size(batch)
        lam, mu = np.zeros((*scale.shape, len(self.limits))), np.zeros(batch.g.shape)
        for r, (limit, terms) in enumerate(zip(self.limits, batch.limits, strict=True)):
            dual = np.maximum(limit.dual_value, 0.0).reshape(scale.shape)
            lam[..., r] = dual * scale / _size(terms)
        for r, limit in enumerate(self.shared):
            mu[:, r] = np.maximum(limit.dual_value, 0.0) * scale[:, 0] / size[:, r]
        if not (np.isfinite(v).all() and np.isfinite(lam).all()):
            raise SolverFailure(f"{name}: the answer is not finite")
        return v, lam, mu, name, seconds


def _function_numbers(terms: Terms, scale: Array) -> Iterator[Array]:
    """A function over its scale (E, I), as :meth:`Compiled._function` takes it.

    Yields:
        the numbers of all rows, (E, I) or (E, I, n) each.
    """
    yield terms.lin / scale[..., None]
    yield terms.const / scale
    root = np.sqrt(scale)[..., None]
    if terms.quad is not None and _diagonal(terms.quad):
        own = np.diagonal(terms.quad, axis1=-2, axis2=-1)
        yield np.sqrt(np.maximum(own, 0.0)) / root
    elif terms.quad is not None:
        yield from np.moveaxis(_factor(terms.quad) / root[..., None], -2, 0)
    for kind, a in terms.atoms:
        for c in range(kind.width):
            yield a.A[..., c, :]
            yield a.b[..., c]
        yield np.maximum(kind.sign * a.coef, 0.0) / scale[..., None]


def _size(terms: Terms) -> Array:
    """The size of a function's numbers (B, I), never zero."""
    sizes = [np.abs(terms.lin).max(-1), *(np.abs(a.coef).max(-1) for _, a in terms.atoms)]
    if terms.quad is not None:
        sizes.append(np.abs(terms.quad).max((-1, -2)))
    size = np.max(sizes, axis=0)
    return np.where(size > 0, size, 1.0)


def _scale(b: Batch) -> Array:
    """What objectives are divided by (E, I): one number for all who share a multiplier."""
    size = _size(b.objective)
    return np.broadcast_to(size.max(1, keepdims=True), size.shape) if b.g.size else size


def _shared_size(b: Batch) -> Array:
    """The size of a shared limit's numbers (B, k), never zero."""
    size = np.abs(b.G).max((-1, -2), initial=0.0)
    return np.where(size > 0, size, 1.0)
