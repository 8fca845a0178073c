"""What a formula is made of: its degree, and its quadratic part and convex atoms.

A solver that wants coefficients (a quadratic program, a cone program, a linear system) recovers
them here from the traced formula; the market's author never expands algebra by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from stackel.calculus.expression import Expression, binary, constant, expand, ordered
from stackel.types import Array


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
        """+1 for a convex function, -1 for a concave one, 0 for neither, on its domain and, if it
        is :attr:`one_sided`, where its argument is positive."""
        if self.function.op == "exp":
            return 1
        if self.function.op in ("log", "sqrt"):
            return -1
        exponent = self.function.args[1].param
        if ((exponent >= 1) | (exponent <= 0)).all():
            return 1
        return -1 if ((exponent >= 0) & (exponent <= 1)).all() else 0

    @property
    def one_sided(self) -> bool:
        """Whether the curvature is that of positive arguments only: of odd powers, and of
        reciprocals, whose two branches are not one convex function."""
        return self.function.op == "pow" and bool(self._one_sided.any())

    @property
    def odd(self) -> bool:
        """Whether on negative arguments the curvature is the opposite one; else it is the same."""
        return bool((self.function.args[1].param[self._one_sided] % 2 == 1).all())

    @property
    def _one_sided(self) -> Array:
        exponent = self.function.args[1].param
        whole = exponent == np.round(exponent)
        return whole & ((exponent < 0) | (exponent % 2 == 1) & (exponent > 1))


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

    def changed(self, change: Callable[[Expression], Expression]) -> Structure:
        """The structure of a linear change of the formula: of every part, and the coefficients."""
        return Structure(
            None if self.polynomial is None else change(self.polynomial),
            [Atom(change(a.coefficient), a.function, a.summed) for a in self.atoms],
            [change(o) for o in self.other],
        )

    def scaled(self, factor: Expression) -> Structure:
        """Of the formula times what does not depend on the own action."""
        return self.changed(lambda node: binary("mul", factor, node))

    def plus(self, more: Structure) -> Structure:
        """Of the two formulas' sum."""
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
    if op == "expand" or (op == "sum" and node.param == (-1,)):
        inner = split(args[0], own)
        if not any(a.summed for a in inner.atoms):  # a sum cannot be taken apart again
            if op == "expand":
                return inner.changed(lambda part: expand(part, node.shape))
            total = inner.changed(lambda part: part.sum(axis=-1, keepdims=True))
            atoms = [Atom(a.coefficient, a.function, True) for a in inner.atoms]
            return replace(total, atoms=atoms)
    if op in ("log", "exp", "sqrt", "pow") and degree(args[0], own) <= 1:
        return Structure(atoms=[Atom(constant(1.0), node, False)])
    return Structure(other=[node])
