"""The same formulas in forms that are tight over boxes: as intervals, two factors or terms do not
know that they contain the same action.

Every rule holds for real numbers wherever both sides are defined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from stackel.calculus.expression import (
    Expression,
    binary,
    constant,
    expand,
    matmul,
    ordered,
    power,
    symbol,
    unary,
)
from stackel.calculus.numbers import number


class Factor(NamedTuple):
    """A base to the power of a number, which is not rounded."""

    base: Expression
    exponent: Fraction


Term = tuple[float, Expression]
"""A sign and what it is of."""


def tightened(outputs: Sequence[Expression], own: Expression | None = None) -> list[Expression]:
    """The outputs, rewritten: ``sum(r) - r`` as the sum of the others, powers of one base in a
    product as one power, and ``t / (t + c)`` as ``1 - c / (t + c)``.

    Args:
        outputs: what is rewritten.
        own: the input that t depends on and c does not; none: quotients stay.
    """
    new: dict[int, Expression] = {}
    known: dict[object, Expression] = {}
    for node in ordered(outputs):
        args = tuple(new[id(a)] for a in node.args)
        same = all(a is b for a, b in zip(args, node.args, strict=True))
        copy = node if same else Expression(node.op, args, node.shape, node.param)
        if copy.op in ("add", "sub"):
            copy = _others(copy)
        elif copy.op in ("mul", "div"):
            copy = _collected(copy)
            if own is not None and copy.op == "div":
                copy = _divided(copy, own)
        new[id(node)] = known.setdefault(_identity(copy), copy)
    return [new[id(o)] for o in outputs]


def _identity(node: Expression) -> object:
    if node.op != "const":
        return node.op, tuple(id(a) for a in node.args), node.param
    small = isinstance(node.param, np.ndarray) and node.param.size <= 64 and node.made_of is None
    return ("const", node.param.shape, node.param.tobytes()) if small else id(node)


def bare(node: Expression) -> Expression:
    """What was only spread over further followers or leaders, as it was before.

    Args:
        node: what may have been.
    """
    while node.op == "expand":
        node = node.args[0]
    return node


def _others(node: Expression) -> Expression:
    """A sum without terms that cancel; what all followers do, without what the own one does, as
    what the others do."""
    terms = list(terms_of(node))
    for k, (sign, term) in enumerate(terms):
        if (-sign, term) in terms[k:]:
            return expand(sum_of(_without(terms, (sign, term), (-sign, term))), node.shape)
        own = (-sign, term.args[0]) if term.op == "sum" and term.param == (-2,) else None
        if own in terms:
            I = term.args[0].shape[0]
            others = matmul(constant(np.ones((I, I)) - np.eye(I)), term.args[0])
            rest = _without(terms, own, (sign, term))
            return expand(sum_of([(sign, others), *rest]), node.shape)
    return node


def _without(terms: Sequence[Term], *gone: Term) -> list[Term]:
    """All but one of each: a term may be there more than once."""
    rest = list(terms)
    for term in gone:
        rest.remove(term)
    return rest


def sum_of(terms: Sequence[tuple[float, Expression]]) -> Expression:
    """The other way from :func:`terms_of`.

    Args:
        terms: signs and what they are of.
    """
    out: Expression = constant(0.0)
    for sign, term in terms:
        out = binary("add" if sign > 0 else "sub", out, term)
    return out


def by_totals(
    outputs: Sequence[Expression], everybody: Expression
) -> tuple[list[Expression], Expression] | None:
    """The outputs where everybody's actions enter only as what the others do together, and a new
    input in place of that; None where they enter otherwise.

    Args:
        outputs: what :func:`tightened` returned.
        everybody: the input of everybody's actions.
    """
    total, new = symbol("total", everybody.shape), dict[int, Expression]()
    I = everybody.shape[0]
    for node in ordered(outputs):
        args = tuple(new[id(a)] for a in node.args)
        same = all(a is b for a, b in zip(args, node.args, strict=True))
        new[id(node)] = node if same else Expression(node.op, args, node.shape, node.param)
        if node.op == "matmul" and node.args[1] is everybody and node.args[0].is_constant:
            weights = node.args[0].param
            if isinstance(weights, np.ndarray) and np.array_equal(weights, 1 - np.eye(I)):
                new[id(node)] = total
    changed = [new[id(o)] for o in outputs]
    return None if any(depends(o, everybody) for o in changed) else (changed, total)


# -- products ------------------------------------------------------------------------------------


def _constant(value: Fraction) -> Expression | None:
    """A number as a node, of two parts if it is not one of floating point; None if these do not
    do."""
    near = float(value)
    rest = value - Fraction(near)
    if not rest:
        return constant(near)
    out = binary("add", constant(near), constant(float(rest)))
    return out if Fraction(float(rest)) == rest else None


def factors_of(node: Expression, exponent: Fraction = Fraction(1)) -> Iterator[Factor]:
    """Of a product, -1 for a sign.

    Args:
        node: the product.
        exponent: its own.

    Yields:
        what it is made of.
    """
    node = bare(node)
    if node.op in ("mul", "div"):
        yield from factors_of(node.args[0], exponent)
        yield from factors_of(node.args[1], exponent if node.op == "mul" else -exponent)
    elif node.op == "neg":
        yield Factor(constant(-1.0), Fraction(1))
        yield from factors_of(node.args[0], exponent)
    elif node.op == "pow" and (own := number(node.args[1])) is not None:
        yield Factor(node.args[0], exponent * own)
    else:
        yield Factor(node, exponent)


def product_of(factors: Sequence[Factor]) -> Expression | None:
    """The other way from :func:`factors_of`; None if an exponent is no number that two of floating
    point make up.

    Args:
        factors: what is multiplied.
    """
    out: Expression = constant(1.0)
    for op, sign in (("mul", 1), ("div", -1)):
        for base, exponent in factors:
            if exponent * sign > 0:
                own = _constant(exponent * sign)
                if own is None:
                    return None
                out = binary(op, out, power(base, own))
    return out


def _collected(node: Expression) -> Expression:
    """A product with each base once, if that takes no rounding of exponents."""
    found = list(factors_of(node))
    merged: dict[int, Factor] = {}
    for base, exponent in found:
        if base.is_constant:
            continue
        before = merged.get(id(base), Factor(base, Fraction(0))).exponent
        merged[id(base)] = Factor(base, before + exponent)
    numbers = [f for f in found if f.base.is_constant]
    if len(merged) + len(numbers) == len(found):
        return node
    out = product_of([*numbers, *merged.values()])
    return node if out is None else expand(out, node.shape)


# -- quotients -----------------------------------------------------------------------------------


def terms_of(node: Expression, sign: float = 1.0) -> Iterator[tuple[float, Expression]]:
    """Of a sum.

    Yields:
        the signs and what it is made of.
    """
    node = bare(node)
    if node.op in ("add", "sub"):
        yield from terms_of(node.args[0], sign)
        yield from terms_of(node.args[1], sign if node.op == "add" else -sign)
    elif node.op == "neg":
        yield from terms_of(node.args[0], -sign)
    else:
        yield sign, node


def _divided(node: Expression, own: Expression) -> Expression:
    """With a numerator's factor t that the divisor has as a term, c t + r: what is left over."""
    top, divisor = list(factors_of(node.args[0])), node.args[1]
    terms = list(terms_of(divisor))
    for k, (t, exponent) in enumerate(top):
        if exponent != 1 or not depends(t, own):
            continue
        for index, (sign, term) in enumerate(terms):
            parts = list(factors_of(term))
            variable = [f for f in parts if not f.base.is_constant]
            if variable != [Factor(t, Fraction(1))]:
                continue
            rest = terms[:index] + terms[index + 1 :]
            if any(depends(other, own) for _, other in rest):
                continue
            share = binary("sub", 1.0, binary("div", sum_of(rest), divisor))
            scale = [f for f in parts if f.base.is_constant]
            factors = top[:k] + top[k + 1 :] + [Factor(b, -e) for b, e in scale]
            others = product_of(factors)
            if others is None:
                continue
            whole = binary("mul", others, share)
            return expand(unary("neg", whole) if sign < 0 else whole, node.shape)
    return node


def depends(node: Expression, symbol: Expression) -> bool:
    """Whether an expression contains an input."""
    return any(one is symbol for one in ordered([node]))
