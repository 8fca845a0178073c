"""Intervals contain what multi-precision arithmetic says, and keep what is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from stackel.calculus import intervals, trace
from stackel.calculus.derivatives import directional, gradient
from stackel.calculus.enclosing import compile_boxes
from stackel.calculus.expression import binary, constant, power, symbol, unary
from stackel.calculus.intervals import Interval
from stackel.calculus.program import compile_program
from stackel.formulations.cournot_stackelberg import equal_firms
from stackel.formulations.vehicular_twins import draw, fig3

UNARY: dict[str, tuple[Callable[[Interval], Interval], Callable[[Any], Any], bool]] = {
    "exp": (intervals.exp, mpmath.exp, False),
    "log": (intervals.log, mpmath.log, True),
    "tanh": (intervals.tanh, mpmath.tanh, False),
    "sqrt": (intervals.sqrt, mpmath.sqrt, True),
    "square": (intervals.square, lambda v: v * v, False),
    "cube": (lambda a: intervals.power(a, 3.0), lambda v: v**3, False),
    "root": (lambda a: intervals.power(a, 0.3), lambda v: v ** mpmath.mpf(0.3), True),
    "ratio": (lambda a: intervals.power(a, -2.0), lambda v: 1 / v**2, True),
}


def _numbers(count: int, positive: bool, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=count) * 10.0 ** rng.uniform(-8, 2, count)
    return np.abs(values) if positive else values


@pytest.mark.parametrize("name", UNARY)
def test_functions_contain_multi_precision_values(name: str) -> None:
    function, truth, positive = UNARY[name]
    values = _numbers(4000, positive, 0)
    with np.errstate(all="ignore"):
        found = function(Interval(values))
    with mpmath.workdps(40):
        for value, low, high in zip(values, found.lo, found.hi, strict=True):
            exact = truth(mpmath.mpf(float(value)))
            assert low <= exact <= high, (name, value)
    size = np.abs(found.lo) + np.abs(found.hi)
    assert (found.hi - found.lo <= 1e-14 * size + 1e-290).all()  # and not much more


@pytest.mark.parametrize("op", ["add", "sub", "mul", "truediv"])
def test_arithmetic_contains_exact_values(op: str) -> None:
    import operator

    a, b = _numbers(4000, False, 1), _numbers(4000, False, 2)
    with np.errstate(all="ignore"):
        found = getattr(operator, op)(Interval(a), Interval(b))
    with mpmath.workdps(60):
        for u, v, low, high in zip(a, b, found.lo, found.hi, strict=True):
            exact = getattr(operator, op)(mpmath.mpf(float(u)), mpmath.mpf(float(v)))
            assert low <= exact <= high


@pytest.mark.parametrize(
    "game", [fig3(delay=True), draw(1, 4, 3), equal_firms(3, 4)], ids=["fig3", "draw", "cournot"]
)
def test_formulas_and_derivatives_of_markets_are_contained(game: Any) -> None:
    """At random points of random boxes, wide ones and ones of a few units in the last place."""
    f, rng = trace(game).formulas, np.random.default_rng(0)
    along = symbol("along", f.Y.shape)
    values = f.conditions.values
    outputs = [*values, f.follower_payoff, f.leader_payoff, *gradient(f.leader_payoff, f.X, f.Y)]
    outputs += directional(values, {f.Y: along, f.R: along})
    inputs = [*f.conditions.inputs, along]
    boxes, program = compile_boxes(inputs, outputs), compile_program(inputs, outputs)
    tests = 0
    for width in 10.0 ** rng.uniform(-17, 0, 20):
        arrays = [10.0 ** rng.uniform(-2, 1, (200, *s.shape)) for s in inputs]
        arrays[1] = arrays[0]
        given = [Interval(v * (1 - width / 3), v * (1 + width / 2)) for v in arrays]
        points = [np.clip(v, b.lo, b.hi) for v, b in zip(arrays, given, strict=True)]
        for value, found in zip(program(*points), boxes(*given), strict=True):
            noise = 1e-12 * np.abs(value)  # of the values, which are rounded themselves
            assert (value >= found.lo - noise).all()
            assert (value <= found.hi + noise).all()
            tests += value.size
    assert tests > 50_000


def test_what_is_known_stays_known() -> None:
    positive, whole = Interval(np.array([0.0, 1e-320]), np.array([2.0, 3.0])), Interval(-1.0, 2.0)
    assert ((positive * positive).lo >= 0).all()
    assert (intervals.square(whole).lo >= 0).all()
    with np.errstate(all="ignore"):
        zero = Interval(np.zeros(2)) * Interval(np.array([-np.inf, -5.0]), np.array([np.inf, 5.0]))
    assert (zero.lo == 0).all()
    assert (zero.hi == 0).all()
    with np.errstate(all="ignore"):
        tiny = Interval(np.array([1e-200])) * Interval(np.array([-1e-200]))
    assert tiny.lo < 0  # underflow is not an exact zero


def test_outside_a_domain_nothing_is_known() -> None:
    across = Interval(np.array([-1.0]), np.array([2.0]))
    with np.errstate(all="ignore"):
        for found in (
            intervals.log(across),
            intervals.sqrt(across),
            intervals.reciprocal(across),
            Interval(np.array([np.inf])) - Interval(np.array([np.inf])),
        ):
            assert found.lo == -np.inf
            assert found.hi == np.inf


def test_the_sum_of_the_others_loses_no_width() -> None:
    y = symbol("y", (3, 1))
    (found,) = compile_boxes([y], [y.sum(axis=-2, keepdims=True) - y])(
        Interval(np.zeros((3, 1)), np.ones((3, 1)))
    )
    assert (found.lo >= 0).all()


def test_what_was_folded_is_computed_anew() -> None:
    """A third is no number: a constant made of it is an interval around what it stands for."""
    third = binary("div", constant(1.0), constant(3.0))
    x = symbol("x", (1, 1))
    (found,) = compile_boxes([x], [binary("mul", x, unary("exp", third))])(Interval(1.0))
    with mpmath.workdps(40):
        exact = mpmath.exp(mpmath.mpf(1) / 3)
        assert found.lo.item() <= exact <= found.hi.item()
    assert found.hi > found.lo


def test_a_product_whose_exponents_were_rounded_is_contained() -> None:
    """Powers of one base are not put together by what their exponents were rounded to."""
    y = symbol("y", (1, 1))
    for t in np.random.default_rng(0).uniform(0.01, 0.5, 100):
        rounded = binary("sub", constant(t), 1.0)
        node = binary("mul", binary("mul", power(y, rounded), y), y)
        (found,) = compile_boxes([y], [node])(Interval(np.array([[1e250]])))
        with mpmath.workdps(40):
            exact = mpmath.mpf(1e250) ** (mpmath.mpf(t) + 1)
            assert found.lo.item() <= exact <= found.hi.item()


def test_a_quotient_that_underflows_is_no_zero() -> None:
    found = Interval(np.array([1e-149])) / Interval(np.array([1e200]))
    assert found.hi.item() > 0


def test_a_power_of_a_negative_number_is_not_known_for_an_exponent_that_is_not() -> None:
    cube = Interval(np.array([3 - 1e-15]), np.array([3 + 1e-15]))
    with np.errstate(all="ignore"):
        found = intervals.power(Interval(np.array([-2.0])), cube)
    assert (found.lo.item(), found.hi.item()) == (-np.inf, np.inf)


def _boxes(count: int, positive: bool, seed: int) -> tuple[Interval, np.ndarray]:
    """Intervals of all sizes and widths, a few of them points, zeros or next to zero; and a point
    in each."""
    rng = np.random.default_rng(seed)
    span = rng.choice([1, 30, 300], count)
    middle = rng.normal(size=count) * 10.0 ** (rng.uniform(-1, 1, count) * span)
    middle[::97] = 0.0
    middle[1::97] = 5e-324
    width = np.abs(middle) * 10.0 ** rng.uniform(-17, 1, count) * (rng.random(count) < 0.9)
    low, high = middle - width * rng.random(count), middle + width * rng.random(count)
    if positive:
        low, high, middle = np.abs(low), np.abs(high), np.abs(middle)
        low, high = np.minimum(low, high), np.maximum(low, high)
    low, high = np.minimum(low, middle), np.maximum(high, middle)
    share = rng.choice([0.0, 0.5, 1.0], count)
    return Interval(low, high), np.clip(low + (high - low) * share, low, high)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["add", "sub", "mul", "truediv"])
def test_a_hundred_thousand_exact_values_are_contained(op: str) -> None:
    import operator
    from fractions import Fraction

    run = getattr(operator, op)
    (A, a), (B, b) = _boxes(100_000, False, 3), _boxes(100_000, False, 4)
    with np.errstate(all="ignore"):
        found = run(A, B)
    pairs = zip(a.tolist(), b.tolist(), found.lo.tolist(), found.hi.tolist(), strict=True)
    for u, v, low, high in pairs:
        if op == "truediv" and v == 0:
            continue
        exact = run(Fraction(u), Fraction(v))
        assert low <= exact <= high, (op, u, v)


@pytest.mark.slow
@pytest.mark.parametrize("name", UNARY)
def test_many_multi_precision_values_are_contained(name: str) -> None:
    function, truth, positive = UNARY[name]
    box, point = _boxes(75_000, positive, 5)
    with np.errstate(all="ignore"):
        found = function(box)
    with mpmath.workdps(30):
        for u, low, high in zip(point.tolist(), found.lo.tolist(), found.hi.tolist(), strict=True):
            if u == 0 and name in ("log", "ratio"):
                continue
            if name == "exp" and u > 1e4:  # beyond all numbers: endless is all that is right
                assert high == np.inf
                continue
            exact = truth(mpmath.mpf(u))
            assert low <= exact <= high, (name, u)
