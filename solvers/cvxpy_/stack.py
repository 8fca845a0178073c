"""Many followers' problems as one CVXPY problem, compiled once and solved again and again.

With the rivals held, the followers' problems at a price are separate, and so are those at another
price: they are stacked as the rows of one problem. Its numbers are CVXPY parameters, placed so
that the problem is DPP (Agrawal et al., "Differentiable convex optimization layers", NeurIPS 2019,
section 4): a re-solve skips CVXPY's compilation. For that, a quadratic form enters by its factor,
|M v|^2 with Q = M' M, and an atom's argument is a variable of its own tied by an equation.

Row (e, i) of a stack of E elements and I followers minimises f(v) over low <= v <= high subject to
c(v) <= 0, all as :mod:`stackel.solvers.cvxpy_.terms` has them; limits shared by the followers
of an element, G v + g <= 0, are imposed on their rows together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from stackel.solvers.cvxpy_.array import power
from stackel.solvers.cvxpy_.terms import Atom, AtomKind, Terms
from stackel.types import Array

ROWS = 1024
"""Most rows of one stack."""

TIGHT: Mapping[str, dict[str, Any]] = {
    "OSQP": {"eps_abs": 1e-10, "eps_rel": 1e-10, "max_iter": 4000, "adaptive_rho_interval": 50},
    "CLARABEL": {
        "tol_gap_abs": 1e-12,
        "tol_gap_rel": 1e-12,
        "tol_feas": 1e-12,
        "tol_ktratio": 1e-10,
    },
    "SCS": {"eps_abs": 1e-10, "eps_rel": 1e-10, "max_iters": 50_000},
}
"""Accuracy asked of solvers: leaders' slopes are differences of what comes back."""


UNMET = 1e-6
"""A limit, divided by its numbers' size, that stays violated by more than this cannot be met."""


class SolverFailure(Exception):
    """A stack that was not solved, and why in the solver's word.

    Attributes:
        broken: whether the solver is to blame, rather than a problem that has no solution.
    """

    def __init__(self, why: str, broken: bool = True) -> None:
        self.broken = broken
        super().__init__(why)


def choose(quadratic: bool, named: str | None) -> list[str]:
    """Solvers to try, in this order: a QP solver for a QP, a cone solver otherwise.

    Args:
        quadratic: whether the problem is a QP.
        named: the user's choice, or None.
    """
    import cvxpy as cp

    if named is not None:
        return [named.upper()]
    here = cp.installed_solvers()
    if quadratic and "OSQP" in here:  # backed by one that is slower, and never gives up early
        return [s for s in ("OSQP", "CLARABEL") if s in here]
    return [s for s in ("CLARABEL", "ECOS", "SCS") if s in here][:1]


def run_solver(
    problem: Any, solvers: list[str], options: Mapping[str, Any], exact: bool
) -> tuple[str, float]:
    """Solve a CVXPY problem by the first solver that can.

    Args:
        problem: the problem.
        solvers: names, tried in turn.
        options: of the solver, on top of :data:`TIGHT`.
        exact: whether an answer short of the tolerances asks for the next solver.

    Returns:
        the solver's name and the time that it says it took [s].

    Raises:
        SolverFailure: none of them brought an answer.
    """
    import cvxpy as cp

    why, broken = "no suitable solver is installed", True
    for position, name in enumerate(solvers):
        settings = {**TIGHT.get(name, {}), **options}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an inaccurate answer is measured, not warned about
            try:
                problem.solve(solver=name, warm_start=False, **settings)
            except Exception as error:  # of the solver's own kind: a licence, a crash, ...
                why, broken = f"{name}: {error}", True
                continue
        last = position == len(solvers) - 1
        good = (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) if last or not exact else (cp.OPTIMAL,)
        if problem.status in good:
            return name, float(problem.solver_stats.solve_time or 0.0)
        why = f"{name}: {problem.status}"
        broken = problem.status not in cp.settings.INF_OR_UNB
        if not broken:
            break
    raise SolverFailure(why, broken)


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


def _factor(quad: Array) -> Array:
    """M with Q = M' M, (..., n, n), rows ordered by eigenvalue."""
    values, vectors = np.linalg.eigh(quad)
    return np.sqrt(np.maximum(values, 0.0))[..., :, None] * np.swapaxes(vectors, -1, -2)


def _pattern(quad: Array | None) -> str:
    if quad is None:
        return "none"
    off = quad * (1.0 - np.eye(quad.shape[-1]))
    return "diagonal" if not np.abs(off).max(initial=0.0) > 0 else "full"


def shape_of(terms: Terms) -> tuple[Any, ...]:
    """What of a function is compiled in, rather than a number."""
    kinds = tuple(
        (k.op, None if k.exponent is None else k.exponent.tobytes(), k.width)
        for k, _ in terms.atoms
    )
    return _pattern(terms.quad), kinds


class Stack:
    """One compiled problem of E elements; see the module.

    Args:
        batch: shows what it looks like.
        elastic: instead of the best replies, ask how far the limits of each element are from
            being met.
    """

    def __init__(self, batch: Batch, elastic: bool = False) -> None:
        import cvxpy as cp

        self.cp = cp
        E, I, n = batch.low.shape
        self.E, self.I, self.n, self.K = E, I, n, E * I
        self.v = cp.Variable((self.K, n))
        self._set: list[Callable[[Any], None]] = []
        self._ties: list[Any] = []
        self.elastic = elastic
        self.slack: Any = cp.Variable(E, nonneg=True) if elastic else np.zeros(E)
        wide = sp.kron(sp.eye(E), np.ones((I, 1)), format="csr") @ self.slack
        objective = (
            self.slack
            if elastic
            else self._function(batch.objective, lambda b: (b.objective, self._scale(b)))
        )
        self.limits = [self._function(t, _limit(r)) <= wide for r, t in enumerate(batch.limits)]
        self.shared = [self._shared(r) <= self.slack for r in range(batch.G.shape[1])]
        bounds = [*self._bound(batch.low, 1.0), *self._bound(batch.high, -1.0)]
        constraints = [*self._ties, *bounds, *self.limits, *self.shared]
        self.problem = cp.Problem(cp.Minimize(cp.sum(objective)), constraints)

    def _parameter(self, shape: Any, take: Callable[[Batch], Array], nonneg: bool = False) -> Any:
        p = self.cp.Parameter(shape, nonneg=nonneg)

        def put(b: Batch) -> None:
            value = np.asarray(take(b)).reshape(p.shape)
            p.value = np.maximum(value, 0.0) if nonneg else value

        self._set.append(put)
        return p

    def _scale(self, b: Batch) -> Array:
        """What objectives are divided by (E, I): one number for all who share a multiplier."""
        size = _size(b.objective)
        return np.broadcast_to(size.max(1, keepdims=True), size.shape) if b.g.size else size

    def _function(self, shown: Terms, pick: Callable[[Batch], tuple[Terms, Array]]) -> Any:
        """The function over its scale, one value a row (K,)."""
        cp, K, n = self.cp, self.K, self.n

        def rows(take: Callable[[Terms], Array], power_of_scale: float = 1.0) -> Any:
            def scaled(b: Batch) -> Array:
                terms, scale = pick(b)
                value = take(terms)
                return value / (scale**power_of_scale).reshape(
                    scale.shape + (1,) * (value.ndim - 2)
                )

            return scaled

        lin = self._parameter((K, n), rows(lambda t: t.lin))
        const = self._parameter((K,), rows(lambda t: t.const))
        value = cp.sum(cp.multiply(lin, self.v), axis=1) + const
        pattern = _pattern(shown.quad)
        if pattern == "diagonal":
            root = self._parameter(
                (K, n), rows(lambda t: np.sqrt(np.maximum(_diagonal(t), 0.0)), 0.5), nonneg=True
            )
            value = value + 0.5 * cp.sum(cp.square(cp.multiply(root, self.v)), axis=1)
        elif pattern == "full":
            for a in range(n):
                root = self._parameter((K, n), rows(_factor_row(a), 0.5))
                turned = cp.sum(cp.multiply(root, self.v), axis=1)
                value = value + 0.5 * cp.square(turned)
        for position, (kind, _) in enumerate(shown.atoms):
            value = value + self._atom(kind, _atom_at(position), rows)
        return value

    def _atom(self, kind: AtomKind, pick: Callable[[Terms], Atom], rows: Any) -> Any:
        cp, K, n = self.cp, self.K, self.n
        z = cp.Variable((K, kind.width))
        for c in range(kind.width):
            A = self._parameter((K, n), rows(_argument(pick, c), 0.0))
            offset = self._parameter((K,), rows(_offset(pick, c), 0.0))
            self._ties.append(z[:, c] == cp.sum(cp.multiply(A, self.v), axis=1) + offset)
        sign = 1.0 if kind.convex else -1.0
        coef = self._parameter((K, kind.width), rows(lambda t: sign * pick(t).coef), nonneg=True)
        if kind.op == "pow":
            assert kind.exponent is not None
            wide = np.broadcast_to(kind.exponent, (self.I, kind.width))
            value = power(z, np.tile(wide, (self.E, 1)))
        else:
            value = getattr(cp, kind.op)(z)
        return cp.sum(cp.multiply(coef, sign * value), axis=1)

    def _shared(self, r: int) -> Any:
        cp = self.cp
        G = self._parameter(
            (self.K, self.n), lambda b: b.G[:, r] / _shared_size(b)[:, r, None, None]
        )
        g = self._parameter((self.E,), lambda b: b.g[:, r] / _shared_size(b)[:, r])
        together = sp.kron(sp.eye(self.E), np.ones((1, self.I)), format="csr")
        return together @ cp.sum(cp.multiply(G, self.v), axis=1) + g

    def _bound(self, values: Array, sign: float) -> list[Any]:
        """A finite bound of the same follower is finite at every element."""
        where = np.flatnonzero(np.isfinite(values).ravel())
        if not len(where):
            return []
        p = self._parameter((len(where),), lambda b: (b.low if sign > 0 else b.high).ravel()[where])
        chosen = self.cp.vec(self.v, order="C")[where]
        return [sign * chosen >= sign * p]

    def out_of_reach(self, batch: Batch, solvers: list[str], options: Mapping[str, Any]) -> Array:
        """Of an elastic stack: which elements (E,) have limits that cannot be met.

        Args:
            batch: the numbers, of the form that the stack was made for.
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
            batch: the numbers, of the form that the stack was made for.
        """
        for put in self._set:
            put(batch)

    def solve(
        self, batch: Batch, solvers: list[str], options: Mapping[str, Any], exact: bool
    ) -> tuple[Array, Array, Array, str, float]:
        """The replies v (E, I, n), multipliers (E, I, m) and (E, k), the solver, its time [s].

        Args:
            batch: the numbers, of the form that the stack was made for.
            solvers, options, exact: as for :func:`run_solver`.

        Raises:
            SolverFailure: no solver brought an answer, or one that is not finite.
        """
        self.put(batch)
        name, seconds = run_solver(self.problem, solvers, options, exact)
        E, I = self.E, self.I
        v = np.array(self.v.value).reshape(E, I, self.n)
        scale = self._scale(batch)
        lam = [
            np.maximum(c.dual_value, 0.0).reshape(E, I) * scale / _size(t)
            for c, t in zip(self.limits, batch.limits, strict=True)
        ]
        size = _shared_size(batch)
        mu = [
            np.maximum(c.dual_value, 0.0).reshape(E) * scale[:, 0] / size[:, r]
            for r, c in enumerate(self.shared)
        ]
        stacked = np.stack(lam, axis=-1) if lam else np.zeros((E, I, 0))
        together = np.stack(mu, axis=-1) if mu else np.zeros((E, 0))
        if not (np.isfinite(v).all() and np.isfinite(stacked).all()):
            raise SolverFailure(f"{name}: the answer is not finite")
        return v, stacked, together, name, seconds


def _quad(terms: Terms) -> Array:
    assert terms.quad is not None
    return terms.quad


def _diagonal(terms: Terms) -> Array:
    return np.diagonal(_quad(terms), axis1=-2, axis2=-1)


def _factor_row(a: int) -> Callable[[Terms], Array]:
    return lambda t: _factor(_quad(t))[..., a, :]


def _limit(r: int) -> Callable[[Batch], tuple[Terms, Array]]:
    return lambda b: (b.limits[r], _size(b.limits[r]))


def _atom_at(position: int) -> Callable[[Terms], Atom]:
    return lambda t: t.atoms[position][1]


def _argument(pick: Callable[[Terms], Atom], c: int) -> Callable[[Terms], Array]:
    return lambda t: pick(t).A[..., c, :]


def _offset(pick: Callable[[Terms], Atom], c: int) -> Callable[[Terms], Array]:
    return lambda t: pick(t).b[..., c]


def _size(terms: Terms) -> Array:
    """The size of a function's numbers (B, I), never zero."""
    size = np.abs(terms.lin).max(-1)
    if terms.quad is not None:
        size = np.maximum(size, np.abs(terms.quad).max((-1, -2)))
    for _, a in terms.atoms:
        size = np.maximum(size, np.abs(a.coef).max(-1))
    return np.where(size > 0, size, 1.0)


def _shared_size(b: Batch) -> Array:
    """The size of a shared limit's numbers (B, k), never zero."""
    size = np.abs(b.G).max((-1, -2), initial=0.0)
    return np.where(size > 0, size, 1.0)
