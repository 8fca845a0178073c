"""Formulas of a total in shares of it: what has a pole where the total vanishes is multiplied out.

With W what everybody does together, and s the own share of it, y = s W: what a power price adds to
the field, -W^(-1/g) + y / g W^(-1/g - 1), is W^(-1/g) times -1 + s / g, which intervals see to be
negative for small shares however small W is; before, it is a difference of two endless numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from stackel.calculus.expression import Expression, binary, expand, ordered, symbol
from stackel.calculus.numbers import number
from stackel.calculus.rewriting import (
    Factor,
    bare,
    depends,
    factors_of,
    product_of,
    sum_of,
    terms_of,
)

MOST = 64
"""Products that a sum is multiplied out into."""


class Shares(NamedTuple):
    """A formula in a total W.

    Attributes:
        formula: the formula itself, W in place of the sum that has the pole.
        total: the input W.
        rest: what W is made of beside everybody's actions.
        scaled: the formula times a power of W that leaves no pole, in s and W alone.
        share: the input s.
    """

    formula: Expression
    total: Expression
    rest: Expression
    scaled: Expression
    share: Expression


def by_shares(formula: Expression, own: Expression, others: Expression) -> Shares | None:
    """A formula in a total that it has a pole in, and in shares of that; None if it has none.

    Args:
        formula: what :func:`stackel.calculus.rewriting.by_totals` returned.
        own: the input of the own actions.
        others: the input of what the others do together.
    """
    sums = (_total(node, own, others) for node in _divisors(formula))
    rest = next((found for found in sums if found is not None), None)
    if rest is None:
        return None
    W, s = symbol("with others", own.shape), symbol("share", own.shape)
    mine = binary("mul", s, W)
    theirs = binary("sub", binary("mul", binary("sub", 1.0, s), W), sum_of(rest))
    inside = {id(own): own, id(others): others}
    inside_shares = {id(own): mine, id(others): theirs}
    plain = _replaced(formula, own, others, rest, W, inside)
    shared = _replaced(formula, own, others, rest, W, inside_shares)
    scaled = _without_pole(shared, W)
    return None if scaled is None else Shares(plain, W, sum_of(rest), scaled, s)


def _divisors(formula: Expression) -> list[Expression]:
    """What a formula divides by, or has negative powers of."""
    out = []
    for node in ordered([formula]):
        if node.op == "div":
            out.append(bare(node.args[1]))
        elif node.op == "pow":
            exponent = number(node.args[1])
            if exponent is not None and exponent < 0:
                out.append(bare(node.args[0]))
    return out


def _total(
    node: Expression, own: Expression, others: Expression
) -> list[tuple[float, Expression]] | None:
    """What a sum is made of beside everybody's actions, if it has these as terms."""
    terms = list(terms_of(node))
    everybody = [(1.0, own), (1.0, others)]
    rest = [t for t in terms if t not in everybody]
    if len(terms) - len(rest) != 2 or not all(t in terms for t in everybody):
        return None
    free = all(not depends(t, own) and not depends(t, others) for _, t in rest)
    return rest if free else None


def _replaced(
    formula: Expression,
    own: Expression,
    others: Expression,
    rest: list[tuple[float, Expression]],
    W: Expression,
    new: dict[int, Expression],
) -> Expression:
    """The formula with W in place of the sum, and inputs replaced as ``new`` says."""
    new = dict(new)
    for node in ordered([formula]):
        if id(node) in new:
            continue
        if node.op in ("add", "sub") and _total(node, own, others) == rest:
            new[id(node)] = W
        else:
            args = tuple(new[id(a)] for a in node.args)
            same = all(a is b for a, b in zip(args, node.args, strict=True))
            new[id(node)] = node if same else Expression(node.op, args, node.shape, node.param)
    return new[id(formula)]


def _without_pole(formula: Expression, W: Expression) -> Expression | None:
    """The formula times the power of W > 0 that leaves none of W with a negative exponent in a
    product; None if there is none."""
    sums: list[tuple[float, Fraction, list[Factor]]] = []
    for sign, factors in _multiplied(formula, W):
        rest = [f for f in factors if f.base is not W]
        power = sum((f.exponent for f in factors if f.base is W), Fraction(0))
        sums.append((sign, power, rest))
    least = min(power for _, power, _ in sums)
    if least >= 0:
        return None
    terms = []
    for sign, power, rest in sums:
        term = product_of([*rest, Factor(W, power - least)])
        if term is None:
            return None
        terms.append((sign, term))
    return expand(sum_of(terms), formula.shape)


def _multiplied(node: Expression, W: Expression) -> Sequence[tuple[float, list[Factor]]]:
    """A formula as a sum of products: signs and factors."""
    node = bare(node)
    if node.op in ("add", "sub"):
        first, second = (_multiplied(a, W) for a in node.args)
        sign = 1.0 if node.op == "add" else -1.0
        return [*first, *((sign * s, f) for s, f in second)]
    if node.op == "neg":
        return [(-s, f) for s, f in _multiplied(node.args[0], W)]
    if node.op == "mul":
        first, second = (_multiplied(a, W) for a in node.args)
        if len(first) * len(second) <= MOST:
            return [(s * t, [*f, *g]) for (s, f), (t, g) in product(first, second)]
    if node.op == "div":
        under = _split(list(factors_of(node.args[1], Fraction(-1))), W)
        return [(s, [*f, *under]) for s, f in _multiplied(node.args[0], W)]
    return [(1.0, _split(list(factors_of(node)), W))]


def _split(factors: list[Factor], W: Expression) -> list[Factor]:
    """Powers of products with W in them, which is positive, as products of powers."""
    out: list[Factor] = []
    for base, exponent in factors:
        inner = list(factors_of(base))
        if any(f.base is W for f in inner):
            rest = product_of([f for f in inner if f.base is not W])
            own = sum((f.exponent for f in inner if f.base is W), Fraction(0))
            if rest is not None:
                out += [Factor(rest, exponent), Factor(W, own * exponent)]
                continue
        out.append(Factor(base, exponent))
    return out
