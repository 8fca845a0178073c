"""Traced formulas: their values and derivatives against NumPy and differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackel import functions as F
from stackel.calculus.derivatives import directional, gradient
from stackel.calculus.expression import Expression, constant, expand, symbol
from stackel.calculus.program import compile_program
from stackel.errors import GameError

W = np.array([[0.0, 1.0, 2.0], [0.5, 0.0, 0.3], [1.0, 0.2, 0.0]])

FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "arithmetic": lambda y, x: (2 * y - y / 3 + 1) * x - (-y) / (x + 2),
    "powers": lambda y, x: y**2 + y**3 + y**-1 + y**-2 + y**0.5 + 2.0**y + y**x,
    "functions": lambda y, x: F.exp(y / 3) * F.log(1 + y) + F.sqrt(y) + F.tanh(y * x),
    "sums": lambda y, x: F.over_leaders(y * x) * F.over_followers(y) + x,
    "both sums": lambda y, x: (y * x).sum(axis=(-1, -2), keepdims=True) ** 2 + y,
    "matrix": lambda y, x: W @ y * x + (y @ np.ones((2, 2))),
    "gram": lambda y, x: F.over_leaders(y @ y.swapaxes(-1, -2)) * x,
    "slices": lambda y, x: y[..., :1] * y[..., 1:2] + y[..., 1:3, :].sum(axis=-2, keepdims=True),
    "concat": lambda y, x: F.concat([y[..., 1:2] ** 2, x * y[..., :1]], axis=-1)[..., :2],
    "rational": lambda y, x: x**-1 / F.over_leaders(x**-1) * y / (1 + F.over_leaders(y)),
    "numpy ufuncs": lambda y, x: np.square(y) + 1 / y - np.ones((3, 1)) * y,
}

positive = st.floats(0.2, 3.0)


@st.composite
def points(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    y = draw(st.lists(positive, min_size=6, max_size=6))
    x = draw(st.lists(positive, min_size=2, max_size=2))
    return np.array(y).reshape(3, 2), np.array(x).reshape(1, 2)


def _traced(formula: Callable[[Any, Any], Any]) -> tuple[Expression, Expression, Expression]:
    y, x = symbol("y", (3, 2)), symbol("x", (1, 2))
    return formula(y, x), y, x


@pytest.mark.parametrize("name", FORMULAS)
@given(points())
@settings(max_examples=20, deadline=None)
def test_values_are_numpys(name: str, point: tuple[np.ndarray, np.ndarray]) -> None:
    node, y, x = _traced(FORMULAS[name])
    (value,) = compile_program([y, x], [node])(*point)
    plain = FORMULAS[name](*point)
    np.testing.assert_allclose(np.broadcast_to(value, node.shape), plain, rtol=1e-13)


@pytest.mark.parametrize("name", FORMULAS)
@given(points())
@settings(max_examples=15, deadline=None)
def test_gradient_and_direction_agree_with_differences(
    name: str, point: tuple[np.ndarray, np.ndarray]
) -> None:
    node, y, x = _traced(FORMULAS[name])
    slopes = compile_program([y, x], gradient(node, y, x))(*point)
    rng = np.random.default_rng(0)
    dy, dx = rng.normal(size=(3, 2)), rng.normal(size=(1, 2))
    formula = FORMULAS[name]
    h = 1e-6
    ahead = formula(point[0] + h * dy, point[1] + h * dx)
    behind = formula(point[0] - h * dy, point[1] - h * dx)
    difference = (ahead - behind) / (2 * h)
    scale = 1 + np.abs(ahead).max()
    along = (slopes[0] * dy).sum() + (slopes[1] * dx).sum()
    assert along == pytest.approx(difference.sum(), rel=1e-5, abs=1e-7 * scale)
    sy, sx = symbol("dy", (3, 2)), symbol("dx", (1, 2))
    moved = directional([node], {y: sy, x: sx})
    (out,) = compile_program([y, x, sy, sx], moved)(*point, dy, dx)
    np.testing.assert_allclose(
        np.broadcast_to(out, node.shape), difference, rtol=1e-5, atol=1e-7 * scale
    )


@pytest.mark.parametrize("name", FORMULAS)
def test_second_derivatives_are_symmetric(name: str) -> None:
    node, y, x = _traced(FORMULAS[name])
    (slope,) = gradient(node, y)
    direction = symbol("v", (3, 2))
    program = compile_program([y, x, direction], directional([slope], {y: direction}))
    rng = np.random.default_rng(1)
    Y, X = rng.uniform(0.5, 2, (3, 2)), rng.uniform(0.5, 2, (1, 2))
    (rows,) = program(Y, X, np.eye(6).reshape(6, 3, 2))
    hessian = np.broadcast_to(rows, (6, 3, 2)).reshape(6, 6)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_batch_axes_in_front(name: str) -> None:
    node, y, x = _traced(FORMULAS[name])
    program = compile_program([y, x], [node, *gradient(node, y)])
    rng = np.random.default_rng(2)
    Y, X = rng.uniform(0.5, 2, (4, 5, 3, 2)), rng.uniform(0.5, 2, (5, 1, 2))
    together = program(Y, X)
    for index in np.ndindex(4, 5):
        for batch, one in zip(together, program(Y[index], X[index[1]]), strict=True):
            wide = np.broadcast_to(batch, (4, 5, *one.shape[-2:]))
            np.testing.assert_allclose(wide[index], one, rtol=1e-13)


def test_equal_subexpressions_are_computed_once() -> None:
    y = symbol("y", (3, 2))
    calls = []

    def spy(value: np.ndarray) -> np.ndarray:
        calls.append(1)
        return np.exp(value)

    program = compile_program([y], [F.exp(y) + 1, F.exp(y) * 2])
    program.__globals__["exp"] = spy
    program(np.ones((3, 2)))
    assert len(calls) == 1


def test_ones_and_signs_cost_no_operation() -> None:
    """What a gradient starts from, and what a sign makes of it."""
    y = symbol("y", (3, 2))
    one = expand(constant(1.0), (3, 2))
    assert one * y is y
    assert y / one is y
    for minus in (-one, constant(-1.0)):
        for product in (minus * y, y * minus, y / minus):
            assert (product.op, product.args) == ("neg", (y,))
    assert (-one).op == "expand"
    assert (2.0 * one * 3.0).sum((-1, -2), True).shape == (1, 1)
    (whole,) = compile_program([y], [(2.0 * one * 3.0 + 0 * y).sum((-1, -2), True)])(
        np.ones((3, 2))
    )
    assert whole.item() == 36.0


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (lambda y: np.maximum(y, 0), "maximum"),
        (lambda y: abs(y), "branches"),
        (lambda y: y if y > 0 else -y, "branches"),
        (lambda y: max(y, 0), "branches"),
        (lambda y: np.where(y > 0, y, 0), "branches"),
        (lambda y: float(y), "branches"),
        (lambda y: y.sum(), "keepdims=True"),
        (lambda y: y.sum(axis=0), "axis=-1"),
        (lambda y: y.sum(axis=-1), "keepdims=True"),
        (lambda y: y[0], "slices that keep both axes"),
        (lambda y: y[..., 0], "slices that keep both axes"),
        (lambda y: y + np.ones((5, 2)), "do not broadcast"),
        (lambda y: y @ np.ones((3, 3)), "multiplies matrices"),
        (lambda y: np.asarray(y), "plain NumPy array"),
        (lambda y: np.linalg.norm(y), "plain NumPy array"),
        (lambda y: F.concat([y, np.ones((2, 2))], axis=-1), "cannot concatenate"),
    ],
)
def test_what_formulas_may_not_do(formula: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(GameError, match=words.replace("(", r"\(")):
        formula(symbol("y", (3, 2)))
