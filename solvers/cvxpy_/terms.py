"""The followers' problems as numbers: terms recovered from the formulas, evaluated in batches.

Each follower's negated payoff and each of its limits is, as a function of the own action v,

    f(v) = const + lin . v + 1/2 v' Q v + sum_a coef_a g_a(A_a v + b_a),

where g is log, exp, sqrt or a power (:mod:`stackel.calculus.structure`) and the numbers depend on
rivals and leaders. They are what a compiled CVXPY problem takes as parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel.calculus.calculus import Calculus
from stackel.calculus.derivatives import directional
from stackel.calculus.expression import Expression, constant
from stackel.calculus.program import compile_program
from stackel.calculus.structure import Structure, degree, split
from stackel.types import Array

NEGLIGIBLE = 1e-10
"""A coefficient of the wrong sign up to this, relative to its kind's largest, is rounding."""


@dataclass(frozen=True)
class AtomKind:
    """What an atom is, apart from its numbers.

    Attributes:
        op: ``log``, ``exp``, ``sqrt`` or ``pow``.
        exponent: of a power; numbers that broadcast to the rows (I, v).
        width: v, the number of arguments of each follower.
    """

    op: str
    exponent: Array | None
    width: int

    @property
    def convex(self) -> bool:
        """Whether its function is convex, for every exponent; otherwise it counts as concave."""
        if self.op == "pow":
            assert self.exponent is not None
            return bool(((self.exponent >= 1) | (self.exponent <= 0)).all())
        return self.op == "exp"

    @property
    def sign(self) -> float:
        """What its convex multiples are multiplied by: 1, or -1 of a concave function."""
        return 1.0 if self.convex else -1.0

    @property
    def positive(self) -> bool:
        """Whether its argument must stay positive."""
        if self.op != "pow":
            return self.op != "exp"
        assert self.exponent is not None
        even = (self.exponent >= 0) & (self.exponent % 2 == 0)
        return not bool(even.all())

    def values(self, z: Array) -> tuple[Array, Array, Array]:
        """The function and its first two derivatives at arguments (B, I, v)."""
        with np.errstate(all="ignore"):
            if self.op == "exp":
                e = np.exp(z)
                return e, e, e
            if self.op == "log":
                return np.log(z), 1 / z, -1 / z**2
            p = np.asarray(0.5 if self.exponent is None else self.exponent)
            return z**p, p * z ** (p - 1), p * (p - 1) * z ** (p - 2)


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
        atoms = [(k, Atom(a.coef[batch], a.A[batch], a.b[batch])) for k, a in self.atoms]
        quad = None if self.quad is None else self.quad[batch]
        return Terms(self.const[batch], self.lin[batch], quad, atoms)

    def convex(self) -> Array:
        """Whether it is convex by the signs of its terms, (B,); numbers must be finite."""
        good = np.isfinite(self.const).all(-1) & np.isfinite(self.lin).all((-1, -2))
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
        own = calculus.formulas.Y
        nodes = [
            (-1.0, calculus.formulas.follower_payoff),
            *((1.0, e) for e in calculus.formulas.own_limits.values()),
        ]
        shared = calculus.formulas.shared_limits.values()
        self.complete = all(degree(e, own) <= 1 for e in shared)
        self._outputs: list[Expression] = []
        self._plans = [self._plan(sign, node, split(node, own)) for sign, node in nodes]
        self.quadratic = self.complete and not any(
            p["atoms"] or (k and p["quad"]) for k, p in enumerate(self._plans)
        )
        if self.complete:
            inputs = [own, calculus.formulas.R, calculus.formulas.X]
            self._program = compile_program(inputs, self._outputs)

    def _keep(self, node: Expression) -> int:
        self._outputs.append(node)
        return len(self._outputs) - 1

    def _slopes(self, node: Expression) -> list[Expression]:
        """Derivatives by each decision of the own action."""
        own = self.calculus.formulas.Y
        units = [np.eye(own.shape[1])[b] * np.ones(own.shape) for b in range(own.shape[1])]
        return [directional([node], {own: constant(u)})[0] for u in units]

    def _plan(self, sign: float, node: Expression, structure: Structure) -> dict[str, Any]:
        """Which outputs hold a formula's numbers."""
        n, w = self.calculus.formulas.Y.shape[1], node.shape[1]
        plan: dict[str, Any] = {"sign": sign, "width": w, "const": None, "quad": None, "atoms": []}
        self.complete &= not structure.other and not any(a.curvature == 0 for a in structure.atoms)
        polynomial = structure.polynomial
        if polynomial is not None:
            plan["const"] = self._keep(polynomial)
            slopes = self._slopes(polynomial)
            plan["lin"] = [self._keep(s) for s in slopes]
            if degree(polynomial, self.calculus.formulas.Y) > 1:
                bends = [self._slopes(s) for s in slopes]
                plan["quad"] = [[self._keep(bends[a][b]) for b in range(n)] for a in range(n)]
        for atom in structure.atoms:
            f = atom.function
            exponent = f.args[1].param if f.op == "pow" else None
            width = max(f.shape[1], atom.coefficient.shape[1])
            if not atom.summed:
                width = max(width, w)
            plan["atoms"].append(
                {
                    "kind": AtomKind(f.op, exponent, width if atom.summed else 1),
                    "summed": atom.summed,
                    "width": width,
                    "coef": self._keep(atom.coefficient),
                    "b": self._keep(f.args[0]),
                    "A": [self._keep(s) for s in self._slopes(f.args[0])],
                }
            )
        return plan

    def terms(self, rivals: Array, x: Array) -> list[Terms]:
        """The negated payoff's terms, then each limit's.

        Args:
            rivals: everybody's actions (B, I, n).
            x: leader actions (B, d, J).
        """
        shape = rivals.shape
        with np.errstate(all="ignore"):
            values = self._program(np.zeros(shape[-2:]), rivals, x)

        def wide(index: int, width: int) -> Array:
            return np.broadcast_to(values[index], (*shape[:2], width))

        out = []
        for plan in self._plans:
            sign, w = plan["sign"], plan["width"]
            const, lin, quad = np.zeros((*shape[:2], w)), np.zeros((*shape[:2], w, shape[2])), None
            if plan["const"] is not None:
                const = sign * wide(plan["const"], w)
                lin = sign * np.stack([wide(k, w) for k in plan["lin"]], axis=-1)
            if plan["quad"] is not None:
                rows = [np.stack([wide(k, w) for k in row], axis=-1) for row in plan["quad"]]
                quad = sign * np.stack(rows, axis=-2)
            for c in range(w):
                atoms = []
                for one in plan["atoms"]:
                    v = one["width"]
                    columns = slice(None) if one["summed"] else slice(c, c + 1)
                    coef = sign * wide(one["coef"], v)[..., columns]
                    A = np.stack([wide(k, v) for k in one["A"]], axis=-1)[..., columns, :]
                    kind = one["kind"]
                    if kind.exponent is not None and kind.exponent.ndim and not one["summed"]:
                        own = np.broadcast_to(kind.exponent, (shape[1], v))[..., columns]
                        kind = AtomKind(kind.op, own, 1)
                    atoms.append((kind, Atom(coef, A, wide(one["b"], v)[..., columns])))
                curved = None if quad is None else quad[..., c, :, :]
                out.append(Terms(const[..., c], lin[..., c, :], curved, atoms))
        return out

    def agrees(self, y: Array, rivals: Array, x: Array) -> bool:
        """Whether the terms say what the formulas say, at one profile.

        Args:
            y, rivals: actions (I, n).
            x: leader actions (d, J).
        """
        payoff, *limits = self.terms(rivals[None], x[None])
        wanted = [-self.calculus.follower_payoffs(y, rivals, x)]
        lam, mu = self.calculus.zeros(())
        c = self.calculus.system(y, rivals, x, lam, mu)[1]
        wanted += [c[:, k] for k in range(self.calculus.m)]
        return all(
            np.allclose(terms.expand(y[None])[0][0], value, rtol=1e-9, atol=1e-10)
            for terms, value in zip([payoff, *limits], wanted, strict=True)
        )
