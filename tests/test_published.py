"""Equilibria that others have published, to their printed digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stackel
from benchmarks.published import CASES, Case, table
from stackel import catalogue
from stackel.calculus import trace
from stackel.errors import GameError
from stackel.followers import response
from stackel.formulations import (
    bilevel,
    carbon_tax,
    cournot_stackelberg,
    macepec,
    murphy_sherali_soyster,
    substitutes,
)
from stackel.testing import check_game

pytestmark = pytest.mark.proofs

BACKENDS = ["newton", "mpec"]

SOLVABLE = [case for case in CASES if not case.none]
NONE = [case for case in CASES if case.none]


def _named(case: Case) -> str:
    return case.name.replace(" ", "-")


def _need(backend: str, case: Case) -> stackel.Game:
    """The game, if the backend's extra is installed and it takes the question."""
    missing = stackel.backend.find(backend)().missing()
    if missing:
        pytest.skip(missing[0])
    game = case.make()
    if backend != "newton" and case.options.get("anticipation", "equilibrium") != "equilibrium":
        pytest.skip(f"{backend} solves the Stackelberg game; here nobody anticipates")
    return game


def _bounded(game: stackel.Game) -> bool:
    return all(np.isfinite(bound).all() for bound in game.leader_bounds)


@pytest.mark.parametrize("case", SOLVABLE, ids=_named)
@pytest.mark.parametrize("backend", BACKENDS)
def test_published_digits(backend: str, case: Case) -> None:
    game = _need(backend, case)
    eq = stackel.solve(game, backend, throw=False, **case.options)
    if case.name == "Dempe":  # an infimum that no point attains: none may pass for another one
        reproduced = all(value.reproduced(value.measure(eq)) for value in case.values)
        assert reproduced or not eq.is_equilibrium
        return
    assert eq.is_equilibrium, f"{eq.status.message}; {eq.certificate}"
    for value in case.values:
        ours = value.measure(eq)
        assert value.reproduced(ours), f"{value.quantity}: {ours:.10g}, {value}"
    one = game.leader_shape[0] == 1 and _bounded(game)
    assert eq.certificate is not None
    assert eq.certificate.verdict in ("proved", "searched" if one else "local")


@pytest.mark.parametrize("case", NONE, ids=_named)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_has_no_equilibrium_is_never_an_answer(backend: str, case: Case) -> None:
    game = _need(backend, case)
    eq = stackel.solve(game, backend, throw=False)
    assert not eq.is_equilibrium
    with pytest.raises(stackel.NotConverged):
        stackel.solve(game, backend)


def test_infeasible_tax_names_the_limit() -> None:
    with pytest.raises(stackel.NotConverged, match="price ceiling") as caught:
        stackel.solve(carbon_tax.simple_blu(price_ceiling=80.0), "newton")
    eq = caught.value.result
    assert eq.status is stackel.Status.FAILED
    assert eq.certificate is not None
    assert eq.certificate.verdict == "refuted"
    assert eq.certificate.violations["price ceiling"] == pytest.approx(215.0)


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_formulation_is_well_stated(case: Case) -> None:
    check_game(case.make())


@pytest.mark.parametrize("case", [c for c in SOLVABLE if "gamma" in c.name], ids=_named)
def test_printed_quantity_is_the_worse_one(case: Case) -> None:
    """Where our digits differ from the printed ones, the leader has more at ours."""
    game = case.make()
    printed = np.array([[float(case.values[0].published)]])
    at = response.settle(game, printed)
    assert at.converged
    there = trace(game).leader_values(printed, at.y)[0][0]
    here = stackel.solve(game, "newton").leader_payoffs[0]
    assert 0 < here - there < 2e-6


def test_gnash_is_another_market_than_the_published_one() -> None:
    mine = stackel.solve(murphy_sherali_soyster.gnash("gnash10"), "newton")
    true = stackel.solve(murphy_sherali_soyster.five_firms(1.0), "newton")
    assert true.leader_payoffs[0] - mine.leader_payoffs[0] > 100


def test_every_tax_up_to_the_kink_is_optimal() -> None:
    """The firm of SimpleBlu stays at its capacity, whatever the tax up to 20."""
    game = carbon_tax.simple_blu(tax_cap=20.0)
    for tax in (0.0, 10.0, 20.0):
        y = response.settle(game, np.array([[tax]])).y
        assert stackel.certify(game, np.array([[tax]]), y).verdict in ("proved", "searched")


def test_a_corner_of_two_taxes_is_left() -> None:
    """Every single tax of country 1 is stuck at the ceiling, the two together are not."""
    game = carbon_tax.c2f2()
    x = np.zeros((4, 2))
    x[:2, 0], x[2, 1] = (35.0, 50.0), 430 / 7
    y = response.settle(game, x).y
    assert game.price(y)[0] == pytest.approx([230.0, 240.0])
    certificate = stackel.certify(game, x, y)
    assert certificate.verdict == "refuted"
    assert certificate.deviation is not None
    assert certificate.deviation.player == "leader"
    assert certificate.deviation.gain == pytest.approx(140.0)


def test_dempe_has_no_best_action() -> None:
    """The objective never falls in x, and the multiplier has no bound as x goes to 0."""
    game = bilevel.Dempe()
    x = np.array([1e-8, 1e-6, 1e-4, 1e-2, 1.0, 4.0]).reshape(-1, 1, 1)
    at = response.settle(game, x)
    assert at.converged.all()
    np.testing.assert_allclose(at.y, np.sqrt(x), rtol=1e-6)
    assert (np.diff(trace(game).leader_values(x, at.y)[0][:, 0]) < 0).all()
    np.testing.assert_allclose(at.lam[:2, 0, 0], 1.5 / np.sqrt(x[:2, 0, 0]), rtol=1e-3)


@pytest.mark.parametrize(("leaders", "followers"), [(1, 1), (2, 7), (4, 3)])
def test_cournot_family(leaders: int, followers: int) -> None:
    game = cournot_stackelberg.equal_firms(leaders, followers, cost=2.0)
    x, y = game.closed_form()
    eq = stackel.solve(game, "newton")
    np.testing.assert_allclose(eq.leader_actions, x, rtol=1e-9)
    np.testing.assert_allclose(eq.follower_actions, y, rtol=1e-9)
    total = x.sum() + y.sum()
    margin = (game.intercept - 2.0) / ((leaders + 1) * (followers + 1))
    assert game.price(total) == pytest.approx(2.0 + margin)


def test_substitutes_family() -> None:
    game = substitutes.Substitutes([[12, 9], [8, 11]], [1.0, 0.5], substitution=0.2)
    eq = stackel.solve(game, "newton")
    np.testing.assert_allclose(eq.leader_actions, game.closed_form(), rtol=1e-9)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: carbon_tax.CarbonTax([[1, 1]], 9.0, 1.0, 1.0, 1.0, 1.0, 1.0), "one country"),
        (lambda: carbon_tax.CarbonTax([[0.5]], 9.0, 1.0, 1.0, 1.0, 1.0, 1.0), "0 or 1"),
        (lambda: carbon_tax.CarbonTax([[1]], 9.0, 0.0, 1.0, 1.0, 1.0, 1.0), "slope"),
        (lambda: substitutes.Substitutes([[1, 1]], 0.0, substitution=1.0), "substitution"),
        (lambda: substitutes.Substitutes([[1]], 0.0).closed_form(), "expected 2"),
        (lambda: cournot_stackelberg.equal_firms(1, 1, cost=11.0), "intercept"),
        (
            lambda: cournot_stackelberg.CournotStackelberg([1.0], [2.0]).closed_form(),
            "leaders' cost",
        ),
        (lambda: murphy_sherali_soyster.five_firms(gamma=0.0), "gamma"),
    ],
)
def test_wrong_data_is_named(wrong: Any, told: str) -> None:
    with pytest.raises(GameError, match=told):
        wrong()


def test_catalogue_has_every_formulation() -> None:
    kinds = {catalogue.market(name) for name in catalogue.MARKETS}
    assert {type(case.make()) for case in CASES} <= kinds
    assert {macepec.PangFukushima, bilevel.Dempe} <= kinds


def test_table_survives_a_backend_that_fails() -> None:
    cases = [case for case in CASES if case.name in ("Henderson-Quandt", "Dempe")]
    shown, notes = table(cases, ["newton", "no such backend"])
    assert shown.row_count >= 5
    assert any("infimum" in note for note in notes)
