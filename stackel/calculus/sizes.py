"""How large the terms of a formula are: what its value, and a gain or a residual of it, is to be
measured against.

Nothing here has a unit of its own. A formula's *stake* is its largest additive term that depends on
the inputs named, a product counted as its factors' stakes and values multiplied: constants that are
added drop out, and a change of units changes stake and value alike. An input's own stake is its
distance from its bound, so that actions and limits shifted together have the stake that they had.

Sizes are expressions like any other, with the operations ``abs`` and ``max`` that no formula of a
market has: they are compiled, and run over batches, as everything is.
"""

from __future__ import annotations

from collections.abc import Mapping

from stackel.calculus.expression import Expression, binary, constant, expand, matmul, ordered

ZERO = constant(0.0)


def _absolute(node: Expression) -> Expression:
    if node.is_constant:
        return constant(abs(node.param))
    return Expression("abs", (node,), node.shape)


def _largest(first: Expression | None, second: Expression | None) -> Expression | None:
    if first is None or second is None:
        return second if first is None else first
    shape = binary("add", first, second).shape
    return Expression("max", (first, second), shape)


class Sizes:
    """Stakes of formulas in some of their inputs, shared subexpressions once.

    Args:
        inputs: for each input that counts, the expression of its own stake (of the same shape).
    """

    def __init__(self, inputs: Mapping[Expression, Expression]) -> None:
        self._stakes: dict[int, Expression | None] = {id(s): e for s, e in inputs.items()}
        self._terms: dict[int, Expression] = {}
        self._kept: list[Expression] = []  # an id is good for as long as what it names lives

    def stake(self, node: Expression) -> Expression:
        """The largest term that depends on the inputs, entry by entry (0: none does)."""
        self._visit(node)
        found = self._stakes[id(node)]
        return expand(ZERO if found is None else found, node.shape)

    def terms(self, node: Expression) -> Expression:
        """The largest term of all, constants too: times 2^-53 it is what rounding leaves of a
        value that should be 0."""
        self._visit(node)
        return expand(self._terms[id(node)], node.shape)

    def _visit(self, node: Expression) -> None:
        for one in ordered([node]):
            if id(one) not in self._terms:
                self._kept.append(one)
                self._terms[id(one)] = self._terms_of(one)
                self._stakes.setdefault(id(one), self._stake_of(one))

    def _terms_of(self, node: Expression) -> Expression:
        of = [self._terms[id(a)] for a in node.args]
        op = node.op
        if op in ("add", "sub"):
            found = _largest(*of)
            assert found is not None
            return found
        if op == "mul":
            return binary("mul", *of)
        if op == "div":
            return binary("div", of[0], _absolute(node.args[1]))
        if op == "matmul":
            return self._product(node, *of)
        if op in LINEAR:
            return _linear(node, of)
        return _absolute(node)

    def _stake_of(self, node: Expression) -> Expression | None:
        of = [self._stakes[id(a)] for a in node.args]
        op, args = node.op, node.args
        if all(s is None for s in of):
            return None
        if op in ("add", "sub"):
            return _largest(*of)
        if op in ("mul", "matmul"):
            (a, b), (first, second) = of, args
            if b is None:
                assert a is not None
                return self._times(node, a, _absolute(second))
            if a is None:
                return self._times(node, _absolute(first), b)
            left = self._times(node, a, self._terms[id(second)])
            return _largest(left, self._times(node, self._terms[id(first)], b))
        if op == "div" and of[1] is None:
            assert of[0] is not None
            return binary("div", of[0], _absolute(args[1]))
        if op == "pow" and _positive(args[1]):
            assert of[0] is not None
            return Expression("pow", (of[0], args[1]), node.shape)
        if op in LINEAR:
            parts = [
                expand(ZERO, a.shape) if s is None else s for s, a in zip(of, args, strict=True)
            ]
            return _linear(node, parts)
        return _absolute(node)

    @staticmethod
    def _product(node: Expression, first: Expression, second: Expression) -> Expression:
        """Of sizes of a matrix product's factors, expanded to their shapes."""
        a, b = node.args
        return matmul(expand(first, a.shape), expand(second, b.shape))

    def _times(self, node: Expression, first: Expression, second: Expression) -> Expression:
        return (
            self._product(node, first, second)
            if node.op == "matmul"
            else binary("mul", first, second)
        )


LINEAR = ("neg", "sum", "expand", "transpose", "slice", "pad", "concat")
"""Operations that take terms over as they are; a sum counts as all of its parts together."""


def _linear(node: Expression, parts: list[Expression]) -> Expression:
    if node.op == "neg":
        return parts[0]
    whole = tuple(expand(p, a.shape) for p, a in zip(parts, node.args, strict=True))
    return Expression(node.op, whole, node.shape, node.param)


def _positive(exponent: Expression) -> bool:
    return bool((exponent.param > 0).all())
