"""Structure recovered by running a formula, existence and uniqueness."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest

import stackel
from problems import PROBLEMS, LinearCournot, LogPricing, Substitutes
from stackel.calculus import trace
from stackel.calculus.concavity import Concavity
from stackel.calculus.expression import symbol
from stackel.calculus.structure import degree, split
from stackel.followers import existence, response
from stackel.followers.starts import first_guess, inside
from stackel.formulations.vehicular_twins import VehicularTwins, draw, fig3, on_graph
from stackel.functions import exp, log, over_leaders
from stackel.game.grids import middle


def test_degrees() -> None:
    y, x = symbol("y", (3, 2)), symbol("x", (1, 2))
    assert degree(x * 3 + 1, y) == 0
    assert degree(x**-1 * y, y) == 1
    assert degree(over_leaders(y) * y + x, y) == 2
    assert degree(y**2 * y, y) == 3
    assert degree(log(1 + y), y) == math.inf
    assert degree(y / x, y) == 1
    assert degree(x / y, y) == math.inf
    assert degree(y * x, y, x) == 2


def test_vehicular_twins_structure() -> None:
    structure = Concavity(trace(fig3(delay=True)).formulas)
    assert structure.quadratic
    assert structure.affine_field
    assert not structure.affine_limits
    (atom,) = structure.limits["delay"].atoms
    assert atom.function.op == "pow"
    assert atom.summed
    assert atom.curvature == 1


def test_atoms_and_the_rest() -> None:
    y, x = symbol("y", (3, 2)), symbol("x", (1, 2))
    found = split(over_leaders(x * log(1 + 2 * y) - 3 * exp(y) + y**2 - x / (1 + y)), y)
    assert not found.other
    assert sorted(a.function.op for a in found.atoms) == ["exp", "log", "pow"]
    assert {a.curvature for a in found.atoms} == {-1, 1}
    awkward = split(y * log(1 + y), y)
    assert awkward.other
    assert not awkward.atoms


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_split_adds_up(problem) -> None:
    """The parts, evaluated and summed, are the formula."""
    from stackel.calculus.program import compile_program

    game = problem.make()
    calculus = trace(game)
    structure = Concavity(calculus.formulas).payoff
    rng = np.random.default_rng(0)
    y = inside(game, first_guess(game))
    x = middle(*game.leader_bounds)
    rivals = y * rng.uniform(0.5, 1.0, y.shape)
    inputs = [calculus.formulas.Y, calculus.formulas.R, calculus.formulas.X]
    total = np.zeros((len(y), 1))
    for node in [structure.polynomial, *structure.other]:
        if node is not None:
            total = total + compile_program(inputs, [node])(y, rivals, x)[0]
    for atom in structure.atoms:
        (value,) = compile_program(inputs, [atom.coefficient * atom.function])(y, rivals, x)
        total = total + (value.sum(-1, keepdims=True) if atom.summed else value)
    expected = calculus.follower_payoffs(y, rivals, x)
    np.testing.assert_allclose(total[:, 0], expected, rtol=1e-12)


def test_concavity_is_proved_or_not_claimed() -> None:
    for game, proved in (
        (fig3(delay=True), True),
        (LogPricing([3.0], [0.5]), True),
        (Substitutes([[10, 8], [9, 9]], [1.0, 1.2]), True),
        (Substitutes([[10, 8], [9, 9]], [1.0, 1.2], g=1.5), False),
    ):
        x = middle(*game.leader_bounds)
        y = first_guess(game)
        assert bool(trace(game).prove_concave(y, x)[0]) is proved
    modulus = trace(fig3()).prove_concave(np.ones((3, 2)), np.array([[1.0, 1.0]]))[1]
    np.testing.assert_allclose(modulus, 30.0)  # theta_j 2 beta = 60 / 2


def test_admm_refuses_what_is_not_concave() -> None:
    game = Substitutes([[10, 8], [9, 9]], [1.0, 1.2], g=1.5)
    with pytest.raises(stackel.Refusal, match="not concave in follower 0's own action"):
        stackel.solve(game, "admm")


def test_spectral_radius_at_scale_is_the_dense_one(monkeypatch: pytest.MonkeyPatch) -> None:
    game = on_graph(nx.les_miserables_graph(), influence=0.7)
    x = middle(*game.leader_bounds)
    y = response.settle(game, x).y
    dense = existence.uniqueness(trace(game), x[None], y[None])[0]
    monkeypatch.setattr(existence, "DENSE_UP_TO", 10)
    free = existence.uniqueness(trace(game), x[None], y[None])[0]
    assert dense.spectral_radius == pytest.approx(0.7, rel=1e-6)
    assert free.spectral_radius == pytest.approx(0.7, rel=1e-4)
    assert free.smallest_eigenvalue == pytest.approx(dense.smallest_eigenvalue, rel=1e-3)


@pytest.mark.parametrize("scale", [10, 400])
@pytest.mark.parametrize(("influence", "exists"), [(0.9, True), (0.99, True), (1.05, False)])
def test_existence_on_graphs(
    scale: int, influence: float, exists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The diagnosis at scale is the dense one's."""
    monkeypatch.setattr(existence, "DENSE_UP_TO", scale)
    game = on_graph(nx.karate_club_graph(), influence=influence)
    problem = existence.diagnose(trace(game))
    assert (problem is None) is exists
    if exists:
        assert stackel.solve(game, "newton", proof=False).is_equilibrium
    else:
        assert "reinforce each other without end" in problem


def test_no_false_alarms() -> None:
    assert existence.diagnose(trace(LinearCournot(2, 30))) is None  # substitutes, radius 14.5
    assert existence.diagnose(trace(LogPricing([3.0], [0.5]))) is None
    for seed in range(5):
        assert existence.diagnose(trace(draw(seed, 6, 3))) is None
    capped = VehicularTwins([30.0] * 20, 30, 5, [0.3, 0.1], bandwidth_cap=1.0)
    assert existence.diagnose(trace(capped)) is None


def test_split_counts_broadcast_terms_as_often_as_they_stand() -> None:
    """A term narrower than the sum that it stands in is counted once a column."""
    from stackel.calculus.program import compile_program

    y, x = symbol("y", (3, 2)), symbol("x", (1, 2))
    narrow = over_leaders(x * log(1 + y))  # (3, 1)
    for formula in (
        over_leaders(3 * log(1 + y) - 0.1 * over_leaders(x * y)),
        over_leaders(y**2 + 2 * narrow),
        over_leaders(x * log(1 + y[..., :1]) - y),
        over_leaders(x * narrow),
    ):
        rng = np.random.default_rng(0)
        point = rng.uniform(0.5, 2, (3, 2)), rng.uniform(0.5, 2, (1, 2))
        parts = split(formula, y)
        total = np.zeros((3, 1))
        for node in [parts.polynomial, *parts.other]:
            if node is not None:
                total = total + compile_program([y, x], [node])(*point)[0]
        for atom in parts.atoms:
            (value,) = compile_program([y, x], [atom.coefficient * atom.function])(*point)
            total = total + (value.sum(-1, keepdims=True) if atom.summed else value)
        (expected,) = compile_program([y, x], [formula])(*point)
        np.testing.assert_allclose(total, np.broadcast_to(expected, (3, 1)), rtol=1e-12)
