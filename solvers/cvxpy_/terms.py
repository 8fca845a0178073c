"""The followers' problems as numbers: terms recovered from the formulas, evaluated in batches.

Each follower's negated payoff and each of its limits is, as a function of the own action v,

    f(v) = const + lin . v + 1/2 v' Q v + sum_a coef_a g_a(A_a v + b_a),

where g is log, exp, sqrt or a power (:mod:`stackel.calculus.structure`) and the numbers depend on
rivals and leaders. They are what a compiled CVXPY problem takes as parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stackel.calculus import structure
from stackel.calculus.calculus import Calculus
from stackel.calculus.derivatives import directional
from stackel.calculus.expression import Expression, constant
from stackel.calculus.program import compile_program
from stackel.calculus.structure import degree, split
from stackel.types import Array

NEGLIGIBLE = 1e-10
"""A coefficient of the wrong sign up to this, relative to its kind's largest, is rounding."""


@dataclass(frozen=True)
class AtomKind:
    """What an atom is, apart from its numbers.

    Attributes:
        op: ``log``, ``exp`` or ``pow``, which roots are too.
        exponent: of a power; numbers that broadcast to the rows (I, v).
        width: v, the number of arguments of each follower.
    """

    op: str
    exponent: Array | None
    width: int

    @property
    def convex(self) -> bool:
        """Whether its function is convex, for every exponent; otherwise it counts as concave."""
        if self.exponent is None:
            return self.op == "exp"
        return bool(((self.exponent >= 1) | (self.exponent <= 0)).all())

    @property
    def sign(self) -> float:
        """What its convex multiples are multiplied by: 1, or -1 of a concave function."""
        return 1.0 if self.convex else -1.0

    @property
    def positive(self) -> bool:
        """Whether its argument must stay positive."""
        if self.exponent is None:
            return self.op == "log"
        even = (self.exponent >= 0) & (self.exponent % 2 == 0)
        return not bool(even.all())

    def values(self, z: Array) -> tuple[Array, Array, Array]:
        """The function and its first two derivatives at arguments (B, I, v)."""
        with np.errstate(all="ignore"):
            if self.exponent is not None:
                p = self.exponent
                return z**p, p * z ** (p - 1), p * (p - 1) * z ** (p - 2)
            if self.op == "log":
                return np.log(z), 1 / z, -1 / z**2
            e = np.exp(z)
            return e, e, e


@dataclass
class Atom:
    """An atom's numbers.

    Attributes:
        coef: coefficients (B, I, v).
        A, b: its arguments A y + b, (B, I, v, n) and (B, I, v).
    """

    coef: Array
    A: Array
    b: Array

    def argument(self, y: Array) -> Array:
        """The atom's arguments (B, I, v) at actions y (B, I, n)."""
        return (self.A * y[..., None, :]).sum(-1) + self.b


@dataclass
class Terms:
    """One function of each follower's own action; see the module. Batch axis first.

    Attributes:
        const: (B, I).
        lin: (B, I, n).
        quad: Q (B, I, n, n), None where the function has no quadratic part.
        atoms: with their kinds, which are the same at every batch element.
    """

    const: Array
    lin: Array
    quad: Array | None
    atoms: list[tuple[AtomKind, Atom]]

    def at(self, batch: Array) -> Terms:
        """The terms at some batch elements."""
        return self.map(lambda array: array[batch])

    def map(self, change: Callable[[Array], Array]) -> Terms:
        """The terms with every array of numbers changed."""
        atoms = [(k, Atom(change(a.coef), change(a.A), change(a.b))) for k, a in self.atoms]
        quad = None if self.quad is None else change(self.quad)
        return Terms(change(self.const), change(self.lin), quad, atoms)

    def finite(self) -> Array:
        """Whether its affine part is finite (B,)."""
        return np.isfinite(self.const).all(-1) & np.isfinite(self.lin).all((-1, -2))

    def convex(self) -> Array:
        """Whether it is convex by the signs of its terms, (B,); numbers must be finite."""
        good = self.finite()
        if self.quad is not None:
            Q = np.where(np.isfinite(self.quad), self.quad, -1.0)
            size = 1e-300 + np.abs(Q).max((-1, -2, -3))
            good &= np.linalg.eigvalsh(Q).min((-1, -2)) >= -NEGLIGIBLE * size
        for kind, a in self.atoms:
            size = np.abs(a.coef).max((-1, -2))
            good &= (kind.sign * a.coef >= -NEGLIGIBLE * size[:, None, None]).all((-1, -2))
            good &= np.isfinite(a.A).all((-1, -2, -3)) & np.isfinite(a.b).all((-1, -2))
        return good

    def expand(self, y: Array) -> tuple[Array, Array, Array]:
        """Value (B, I), gradient (B, I, n) and Hessian (B, I, n, n) at actions y (B, I, n)."""
        value = self.const + (self.lin * y).sum(-1)
        slope = np.array(self.lin)
        hessian = np.zeros((*y.shape, y.shape[-1]))
        if self.quad is not None:
            turned = (self.quad * y[..., None, :]).sum(-1)
            value, slope = value + 0.5 * (turned * y).sum(-1), slope + turned
            hessian = hessian + self.quad
        for kind, a in self.atoms:
            g, dg, ddg = kind.values(a.argument(y))
            with np.errstate(all="ignore"):
                value = value + (a.coef * g).sum(-1)
                slope = slope + ((a.coef * dg)[..., None] * a.A).sum(-2)
                bent = (a.coef * ddg)[..., None] * a.A
            hessian = hessian + np.swapaxes(a.A, -1, -2) @ bent
        return value, slope, hessian


class Recovered:
    """The terms of a game's followers, recovered once and evaluated where they are wanted.

    Args:
        calculus: the game's.

    Attributes:
        complete: whether every formula is made of such terms, and shared limits are affine.
        quadratic: whether every follower's problem is a quadratic program.
    """

    def __init__(self, calculus: Calculus) -> None:
        self.calculus = calculus
        formulas, own = calculus.formulas, calculus.formulas.Y
        nodes = (formulas.follower_payoff, *formulas.own_limits.values())
        self._widths = [node.shape[1] for node in nodes]
        self._structures = [split(node, own) for node in nodes]
        polynomials = [s.polynomial for s in self._structures]
        self._curved = [p is not None and degree(p, own) > 1 for p in polynomials]
        atoms = [atom for s in self._structures for atom in s.atoms]
        self.complete = (
            all(degree(e, own) <= 1 for e in formulas.shared_limits.values())
            and not any(s.other for s in self._structures)
            and all(atom.curvature for atom in atoms)
        )
        self.quadratic = self.complete and not atoms and not any(self._curved[1:])
        if self.complete:
            outputs = [e for k in range(len(nodes)) for e in self._numbers(k)]
            self._program = compile_program([own, formulas.R, formulas.X], outputs)

    def _slopes(self, node: Expression) -> list[Expression]:
        """Derivatives by each decision of the own action."""
        own = self.calculus.formulas.Y
        units = [np.eye(own.shape[1])[b] * np.ones(own.shape) for b in range(own.shape[1])]
        return [directional([node], {own: constant(u)})[0] for u in units]

    def _numbers(self, k: int) -> list[Expression]:
        """What formula k's terms are made of, in the order in which :meth:`terms` takes it."""
        parts, out = self._structures[k], []
        if parts.polynomial is not None:
            slopes = self._slopes(parts.polynomial)
            out += [parts.polynomial, *slopes]
            if self._curved[k]:
                out += [bend for slope in slopes for bend in self._slopes(slope)]
        for atom in parts.atoms:
            argument = atom.function.args[0]
            out += [atom.coefficient, argument, *self._slopes(argument)]
        return out

    def terms(self, rivals: Array, x: Array) -> list[Terms]:
        """The negated payoff's terms, then each limit's.

        Args:
            rivals: everybody's actions (B, I, n).
            x: leader actions (B, d, J).
        """
        B, I, n = rivals.shape
        with np.errstate(all="ignore"):
            values = iter(self._program(np.zeros((I, n)), rivals, x))

        def take(width: int) -> Array:
            return np.broadcast_to(next(values), (B, I, width))

        def slopes(width: int) -> Array:
            return np.stack([take(width) for _ in range(n)], axis=-1)

        out = []
        for k, parts in enumerate(self._structures):
            sign, w = 1.0 if k else -1.0, self._widths[k]
            const, lin, quad = np.zeros((B, I, w)), np.zeros((B, I, w, n)), None
            if parts.polynomial is not None:
                const, lin = sign * take(w), sign * slopes(w)
            if self._curved[k]:
                quad = sign * np.stack([slopes(w) for _ in range(n)], axis=-2)
            atoms = []
            for a in parts.atoms:
                v = max(a.function.shape[1], a.coefficient.shape[1], 1 if a.summed else w)
                coef, b, A = sign * take(v), take(v), slopes(v)
                atoms.append((a, Atom(coef, A, b)))
            for c in range(w):
                bend = None if quad is None else quad[..., c, :, :]
                of_column = [_of_column(c, *atom) for atom in atoms]
                out.append(Terms(const[..., c], lin[..., c, :], bend, of_column))
        return out

    def agrees(self, y: Array, rivals: Array, x: Array) -> bool:
        """Whether the terms say what the formulas say, at one profile.

        Args:
            y, rivals: actions (I, n).
            x: leader actions (d, J).
        """
        limits = self.calculus.system(y, rivals, x, *self.calculus.zeros(()))[1]
        wanted = [-self.calculus.follower_payoffs(y, rivals, x), *limits.T]
        return all(
            np.allclose(terms.expand(y[None])[0][0], value, rtol=1e-9, atol=1e-10)
            for terms, value in zip(self.terms(rivals[None], x[None]), wanted, strict=True)
        )


def _of_column(c: int, found: structure.Atom, numbers: Atom) -> tuple[AtomKind, Atom]:
    """An atom as it stands in a formula's column c: all of it, if it is summed over columns."""
    op, exponent, columns = found.function.op, None, slice(None)
    if op == "pow":
        exponent = found.function.args[1].param
    elif op == "sqrt":
        op, exponent = "pow", np.asarray(0.5)
    if not found.summed:
        columns = slice(c, c + 1)
        if exponent is not None and exponent.ndim:
            exponent = np.broadcast_to(exponent, numbers.coef.shape[1:])[..., columns]
    coef, b = numbers.coef[..., columns], numbers.b[..., columns]
    return AtomKind(op, exponent, coef.shape[-1]), Atom(coef, numbers.A[..., columns, :], b)
