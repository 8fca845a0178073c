"""What a formula is made of: its degree, and its quadratic part and convex atoms.

A solver that wants coefficients (a quadratic program, a cone program, a linear system) recovers
them here from the traced formula; the market's author never expands algebra by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel import matrices
from stackel.derivatives import directional, gradient
from stackel.expression import Expression, binary, constant, expand, ordered, symbol
from stackel.program import at_elements, compile_program

if TYPE_CHECKING:
    from stackel.calculus import Calculus

Array = np.ndarray


def degree(node: Expression, *wrt: Expression) -> float:
    """Degree of an expression as a polynomial of the inputs named; infinity if it is none."""
    found: dict[int, float] = {id(s): 1.0 for s in wrt}
    for n in ordered([node]):
        if id(n) in found:
            continue
        of = [found[id(a)] for a in n.args]
        if not of or not any(of):
            found[id(n)] = 0.0
        elif n.op in ("mul", "matmul"):
            found[id(n)] = sum(of)
        elif n.op == "div":
            found[id(n)] = of[0] if of[1] == 0 else math.inf
        elif n.op == "pow":
            found[id(n)] = _power_degree(n, of[0])
        elif n.op in ("exp", "log", "sqrt", "tanh"):
            found[id(n)] = math.inf
        else:
            found[id(n)] = max(of)
    return found[id(node)]


def _power_degree(node: Expression, base: float) -> float:
    exponent = node.args[1].param
    whole = exponent.size == 1 and float(exponent.item()).is_integer() and exponent.item() > 0
    return base * float(exponent.item()) if whole else math.inf


@dataclass(frozen=True)
class Atom:
    """A term ``coefficient * function`` that is not polynomial.

    Attributes:
        coefficient: does not depend on the own action.
        function: ``log``, ``exp``, ``sqrt`` or a power, of an affine argument.
        summed: whether the term is summed over its columns.
    """

    coefficient: Expression
    function: Expression
    summed: bool

    @property
    def curvature(self) -> int:
        """+1 for a convex function, -1 for a concave one (on its domain), 0 for neither."""
        if self.function.op == "exp":
            return 1
        if self.function.op in ("log", "sqrt"):
            return -1
        exponent = self.function.args[1].param
        if ((exponent >= 1) | (exponent <= 0)).all():
            return 1
        return -1 if ((exponent >= 0) & (exponent <= 1)).all() else 0


@dataclass
class Structure:
    """A formula split by its dependence on the own action.

    Attributes:
        polynomial: its part of degree at most 2 (None: there is none).
        atoms: its convex and concave atoms.
        other: what fits neither; a structured solver must do without.
    """

    polynomial: Expression | None = None
    atoms: list[Atom] = field(default_factory=list)
    other: list[Expression] = field(default_factory=list)

    def scaled(self, factor: Expression) -> Structure:
        def times(node: Expression) -> Expression:
            return binary("mul", factor, node)

        return Structure(
            None if self.polynomial is None else times(self.polynomial),
            [Atom(times(a.coefficient), a.function, a.summed) for a in self.atoms],
            [times(o) for o in self.other],
        )

    def plus(self, more: Structure) -> Structure:
        parts = [p for p in (self.polynomial, more.polynomial) if p is not None]
        total = parts[0] + parts[1] if len(parts) == 2 else parts[0] if parts else None
        return Structure(total, self.atoms + more.atoms, self.other + more.other)


def split(node: Expression, own: Expression) -> Structure:
    """Split a formula into a quadratic part, atoms and the rest, as functions of ``own``."""
    if degree(node, own) <= 2:
        return Structure(polynomial=node)
    op, args = node.op, node.args
    if op in ("add", "sub"):
        first, second = (split(expand(a, node.shape), own) for a in args)
        return first.plus(second if op == "add" else second.scaled(constant(-1.0)))
    if op == "neg":
        return split(args[0], own).scaled(constant(-1.0))
    if op == "mul":
        for factor, rest in (args, args[::-1]):
            if degree(factor, own) == 0:
                return split(expand(rest, node.shape), own).scaled(factor)
    if op == "div" and degree(args[1], own) == 0:
        return split(expand(args[0], node.shape), own).scaled(binary("div", 1.0, args[1]))
    if op == "div" and degree(args[0], own) == 0 and degree(args[1], own) == 1:
        reciprocal = Expression("pow", (args[1], constant(-1.0)), args[1].shape)
        return Structure(atoms=[Atom(args[0], reciprocal, False)])
    if op == "expand":
        inner = split(args[0], own)
        if not any(a.summed for a in inner.atoms):  # a sum cannot be taken apart again
            quadratic = inner.polynomial
            return Structure(
                None if quadratic is None else expand(quadratic, node.shape),
                [Atom(expand(a.coefficient, node.shape), a.function, False) for a in inner.atoms],
                [expand(o, node.shape) for o in inner.other],
            )
    if op == "sum" and node.param == (-1,):
        inner = split(args[0], own)
        if not any(a.summed for a in inner.atoms):
            quadratic = inner.polynomial
            return Structure(
                None if quadratic is None else quadratic.sum(axis=-1, keepdims=True),
                [Atom(a.coefficient, a.function, True) for a in inner.atoms],
                [o.sum(axis=-1, keepdims=True) for o in inner.other],
            )
    if op in ("log", "exp", "sqrt", "pow") and degree(args[0], own) <= 1:
        return Structure(atoms=[Atom(constant(1.0), node, False)])
    return Structure(other=[node])


class OwnStructure:
    """The followers' formulas as functions of the own action, rivals and leaders given.

    Attributes:
        payoff: the payoff's structure.
        limits: the own limits' structure, by name.
        quadratic: whether the payoff has degree at most 2 in the own action.
        constant_curvature: whether the game's field is affine in all followers' actions together
            and the limits in the own action, so that what holds at one point holds everywhere.
    """

    def __init__(self, calculus: Calculus) -> None:
        self.calculus = calculus
        own = calculus.Y
        self.payoff = split(calculus.follower_payoff, own)
        self.limits = {name: split(e, own) for name, e in calculus.own_limits.items()}
        self.quadratic = not self.payoff.atoms and not self.payoff.other
        (slope,) = gradient(calculus.follower_payoff, own)
        self.affine_field = degree(slope, calculus.Y, calculus.R) <= 1
        self.affine_limits = all(
            degree(e, own) <= 1
            for e in (*calculus.own_limits.values(), *calculus.shared_limits.values())
        )

    def concavity(self, rivals: Array, x: Array, index: Array | None = None) -> tuple[Any, Array]:
        """Whether every follower's own problem is proved concave, and how strongly.

        A proof needs every term to be recognised: the quadratic part negative semidefinite, every
        atom's coefficient of the right sign, the limits convex by the same rules.

        Args:
            rivals: everybody's actions (..., I, n).
            x: leader actions (..., d, J).
            index: of some elements of a stack, which; None for all.

        Returns:
            the proof's success (...); and the modulus of strong concavity of each payoff's
            quadratic part (..., I), negative where that part alone is not concave.
        """
        at = (rivals, x, index)
        proved, modulus = self._definite(self.payoff, -1, *at)
        for structure in self.limits.values():
            proved = proved & self._definite(structure, +1, *at)[0]
        return proved if proved.ndim else bool(proved), modulus

    def _definite(
        self, structure: Structure, sign: int, rivals: Array, x: Array, index: Array | None
    ) -> tuple[Any, Array]:
        batch = rivals.shape[:-2]
        proved = np.full(batch, not structure.other)
        smallest = np.zeros(rivals.shape[:-1])
        if structure.polynomial is not None:
            hessian = sign * self._hessian(structure.polynomial, rivals, x, index)
            smallest = matrices.smallest_eigenvalues(hessian)
            size = np.abs(hessian).max((-1, -2, -3), initial=0.0)
            proved &= (smallest >= -1e-12 * size[..., None]).all(-1)
        for atom in structure.atoms:
            value = self._program([self.calculus.R, self.calculus.X], atom.coefficient, index)
            right = value(rivals, x)[0] * atom.curvature * sign
            right = np.broadcast_to(right, np.broadcast_shapes(right.shape, (*batch, 1, 1)))
            proved &= (atom.curvature != 0) & (right >= 0).all((-1, -2))
        return proved, smallest

    def _program(
        self, inputs: list[Expression], output: Expression, index: Array | None
    ) -> Callable[..., tuple[Any, ...]]:
        program = compile_program(inputs, [output])
        return program if index is None else at_elements(program, index, {})

    def _hessian(
        self, polynomial: Expression, rivals: Array, x: Array, index: Array | None
    ) -> Array:
        """(..., I, n, n), of the sum of a row's entries."""
        own = self.calculus.Y
        n = own.shape[1]
        (slope,) = gradient(polynomial, own)
        direction = symbol("direction", own.shape)
        (moved,) = directional([slope], {own: direction})
        inputs = [own, self.calculus.R, self.calculus.X, direction]
        directions = np.eye(n).reshape(n, *(1,) * (rivals.ndim - 1), n)
        (out,) = self._program(inputs, moved, index)(np.zeros(own.shape), rivals, x, directions)
        return np.moveaxis(np.broadcast_to(out, (n, *rivals.shape)), 0, -1)

    @cached_property
    def constant_curvature(self) -> bool:
        return self.affine_field and self.affine_limits
