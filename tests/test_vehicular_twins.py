"""The vehicular-twin market: numbers computed independently, trends, existence, bad input."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

import stackel
from stackel.followers import response
from stackel.formulations.vehicular_twins import Radio, VehicularTwins, draw, fig3, on_graph

TIGHT = {"closed-form": 1e-7, "newton": 1e-7, "admm": 1e-5}

SLACK = {
    "p": [[0.95618652, 0.81081216]],
    "b": [[0.31314404, 0.35675635], [0.23622097, 0.27983327], [0.39006712, 0.43367943]],
    "U": [3.41606901, 2.03937966, 5.14778795],
    "V": [28.28633918, 41.16747300],
}


def _close(value: object, expected: object, relative: float) -> None:
    np.testing.assert_allclose(value, expected, rtol=relative, atol=1e-8)


@pytest.mark.parametrize("backend", ["closed-form", "newton", "admm"])
def test_fig3_slack(backend: str) -> None:
    eq = stackel.solve(fig3(), backend)
    _close(eq.leader_actions, SLACK["p"], TIGHT[backend])
    _close(eq.follower_actions, SLACK["b"], TIGHT[backend])
    _close(eq.follower_payoffs, SLACK["U"], TIGHT[backend])
    _close(eq.leader_payoffs, SLACK["V"], TIGHT[backend])


@pytest.mark.parametrize("backend", ["closed-form", "newton", "admm"])
def test_fig3_literal_prices_at_the_cap(backend: str) -> None:
    eq = stackel.solve(fig3(scale="literal"), backend)
    _close(eq.leader_actions, [[1.5, 1.5]], 1e-9)
    _close(eq.follower_payoffs, [9.747, 7.29374556, 12.55528402], 1e-7)
    _close(eq.leader_payoffs, [1.026, 1.197], 1e-7)


@pytest.mark.parametrize("backend", ["newton", "admm"])
def test_fig3_delay(backend: str) -> None:
    """Follower 0's delay limit binds. The reference has six digits after the point."""
    eq = stackel.solve(fig3(delay=True), backend)
    digits = 1e-6
    np.testing.assert_allclose(eq.leader_actions, [[1.221667, 1.081852]], atol=digits)
    expected = [[0.471824, 0.493389], [0.178243, 0.218334], [0.332089, 0.372181]]
    np.testing.assert_allclose(eq.follower_actions, expected, atol=digits)
    np.testing.assert_allclose(eq.follower_payoffs, [0.519162, 1.206082, 3.757728], atol=2e-5)
    # payoffs are steep in the sixth digit of a price: 100 dV/dp
    np.testing.assert_allclose(eq.leader_payoffs, [42.513819, 56.441427], rtol=2e-6)
    np.testing.assert_allclose(eq.multipliers["delay"], [[3.020732], [0], [0]], atol=2e-5)


@pytest.mark.parametrize(
    ("price", "purchase", "multiplier"),
    [
        (
            [0.9, 0.8],
            [[0.4730941, 0.49220042], [0.26608548, 0.29509514], [0.41993163, 0.4489413]],
            1.82348748,
        ),
        (
            [1.2, 0.5],
            [[0.39356309, 0.53355277], [0.1770372, 0.38067263], [0.33088336, 0.53451878]],
            1.35425859,
        ),
    ],
)
def test_followers_at_fixed_prices(
    price: list[float], purchase: list[list[float]], multiplier: float
) -> None:
    settled = response.settle(fig3(delay=True), np.array([price]))
    assert settled.converged
    np.testing.assert_allclose(settled.y, purchase, rtol=1e-7)
    np.testing.assert_allclose(settled.lam, [[multiplier], [0], [0]], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("backend", ["closed-form", "newton", "admm"])
def test_closed_form_formula(backend: str) -> None:
    """p_j = (sqrt((1 + S_j a)(1 + S_j c_j)) - 1) / S_j, b = u - s p v."""
    game = draw(3, followers=4, leaders=3, delay=False)
    A = 2 * np.diag(game.sensitivity[:, 0]) - game.ties
    u, v = np.linalg.solve(A, np.column_stack([game.satisfaction[:, 0], np.ones(4)])).T
    s = game.payment_scale
    a, cost = u.sum() / (s * v.sum()), game.unit_cost[0]
    p = np.ones(3)
    for _ in range(200):
        S = (1 / p).sum() - 1 / p
        p = np.clip((np.sqrt((1 + S * a) * (1 + S * cost)) - 1) / S, cost, game.price_cap)
    eq = stackel.solve(game, backend)
    _close(eq.leader_actions[0], p, TIGHT[backend])
    _close(eq.follower_actions, u[:, None] - s * p * v[:, None], TIGHT[backend])


@pytest.mark.parametrize("backend", ["closed-form", "newton", "admm"])
def test_no_anticipation_ends_at_the_cap(backend: str) -> None:
    eq = stackel.solve(fig3(), backend, anticipation="none")
    _close(eq.leader_actions, [[1.5, 1.5]], 1e-9)
    assert eq.certificate.anticipation == "none"


def test_own_response_agrees_between_backends() -> None:
    answers = [
        stackel.solve(fig3(), backend, anticipation="own_response").leader_actions
        for backend in ("closed-form", "newton", "admm")
    ]
    _close(answers[1], answers[0], 1e-7)
    _close(answers[2], answers[0], 1e-5)
    # Leaders who think less elastic a demand ask more.
    assert (answers[0] > SLACK["p"]).all()


def test_own_response_is_the_papers_condition() -> None:
    """No leader gains when each purchase answers as in (13), the social terms held."""
    eq = stackel.solve(fig3(), "newton", anticipation="own_response")
    game, x, y = eq.game, eq.leader_actions, eq.follower_actions
    social = game.ties @ y
    for j in range(2):
        trial = np.linspace(game.unit_cost[0, j], game.price_cap, 20_001)
        own = (game.satisfaction + social[:, [j]] - game.payment_scale * trial) / (
            2 * game.sensitivity
        )
        weight = (1 / trial) / (1 / trial + 1 / x[0, 1 - j])
        value = game.utility_scale * weight * own.sum(0) * (trial - game.unit_cost[0, j])
        assert abs(trial[value.argmax()] - x[0, j]) < 1e-4


def test_radio_is_the_papers() -> None:
    assert Radio().snr == pytest.approx(4e11)
    assert Radio().spectral_efficiency == pytest.approx(38.5412, abs=1e-4)


@pytest.mark.parametrize("followers", [13, 14, 20])
def test_thirteen_followers_are_diagnosed(followers: int) -> None:
    game = VehicularTwins([30.0] * followers, 30, 5, [0.3, 0.1], payment_scale=15)
    with pytest.raises(stackel.NoEquilibriumError, match="spectral radius") as found:
        stackel.solve(game, "newton")
    assert "bound bandwidth" in str(found.value)
    with pytest.raises(stackel.NoEquilibriumError):
        stackel.solve(game, "admm")


def test_too_many_followers_are_diagnosed_with_the_delay_limit_too() -> None:
    """A delay limit only asks for more, so it cannot stop purchases from growing."""
    with pytest.raises(stackel.NoEquilibriumError, match="spectral radius"):
        stackel.solve(draw(1, 20, 3), "newton")


def test_twelve_followers_and_a_cap_are_fine() -> None:
    twelve = VehicularTwins([30.0] * 12, 30, 5, [0.3, 0.1], payment_scale=15)
    assert stackel.solve(twelve, "closed-form").is_equilibrium
    capped = VehicularTwins([30.0] * 14, 30, 5, [0.3, 0.1], payment_scale=15, bandwidth_cap=2.0)
    eq = stackel.solve(capped, "newton")
    assert eq.is_equilibrium
    assert eq.follower_actions.max() <= 2.0 + 1e-9


def test_delay_limit_can_cost_more_than_trade_is_worth() -> None:
    """A follower that has to buy at the cap can lose: individual rationality is reported."""
    game = VehicularTwins(
        [30.0, 25.0],
        30.0,
        5.0,
        [0.3, 0.1],
        payment_scale=15.0,
        utility_scale=100.0,
        twin_size=[4e8, 4e8],
        max_delay=[0.9, 3.5],
    )
    eq = stackel.solve(game, "newton")
    assert not eq.certificate.individually_rational
    assert ("follower", 0) in eq.certificate.losers
    assert "would stay out  follower 0\n" in eq.summary()


@pytest.mark.parametrize("graph", ["karate_club_graph", "les_miserables_graph"])
@pytest.mark.parametrize("backend", ["closed-form", "newton", "admm"])
def test_real_social_graphs(graph: str, backend: str) -> None:
    game = on_graph(getattr(nx, graph)())
    eq = stackel.solve(game, backend)
    assert eq.certificate.verdict in ("proved", "searched")
    assert eq.certificate.uniqueness.spectral_radius == pytest.approx(0.5, rel=1e-3)
    # Who is tied most buys most.
    degree = np.asarray(game.ties.sum(axis=1) if isinstance(game.ties, np.ndarray) else 0)
    if degree.ndim:
        assert np.argmax(degree) == np.argmax(eq.follower_actions.sum(1))


def test_ties_as_graph_sparse_dense_and_number_are_the_same() -> None:
    graph = nx.complete_graph(3)
    nx.set_edge_attributes(graph, 5.0, "weight")
    dense = 5.0 * (1 - np.eye(3))
    answers = [
        stackel.solve(
            VehicularTwins([30, 25, 35], 30, ties, [0.3, 0.1], payment_scale=15), "newton"
        ).leader_actions
        for ties in (graph, dense, sp.csr_array(dense), sp.coo_matrix(dense), 5.0)
    ]
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])


def test_draw_is_reproducible_and_feasible() -> None:
    first, second = draw(5, 6, 4), draw(5, 6, 4)
    np.testing.assert_array_equal(first.satisfaction, second.satisfaction)
    np.testing.assert_array_equal(first.max_delay, second.max_delay)
    assert (first.unit_cost > 0).all()
    assert (first.arrival_rate < first.service_rate).all()
    assert (first.fixed_delay() < first.max_delay).all()
    assert (np.diag(first.ties) == 0).all()
    np.testing.assert_array_equal(first.ties, first.ties.T)


@pytest.mark.parametrize("seed", range(12))
def test_random_draws_quick(seed: int) -> None:
    _check_draw(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 200))
def test_random_draws(seed: int) -> None:
    _check_draw(seed)


def _check_draw(seed: int) -> None:
    """Newton's point is certified (or it says honestly that there is none); ADMM agrees."""
    rng = np.random.default_rng(seed)
    game = draw(rng, int(rng.integers(2, 7)), int(rng.integers(2, 5)))
    eq = stackel.solve(game, "newton", throw=False)
    if not eq.is_equilibrium:
        assert eq.status is not stackel.Status.CONVERGED
        return
    assert eq.certificate.verdict in ("proved", "searched")
    assert eq.certificate.relative_gap < 1e-6
    other = stackel.solve(game, "admm", throw=False)
    np.testing.assert_allclose(other.leader_actions, eq.leader_actions, rtol=1e-4)
    np.testing.assert_allclose(other.follower_actions, eq.follower_actions, rtol=1e-4)


def _market(**changes: object) -> VehicularTwins:
    data: dict = {
        "satisfaction": [30.0, 25.0, 35.0],
        "sensitivity": 30.0,
        "ties": 5.0,
        "unit_cost": [0.3, 0.1],
    }
    return VehicularTwins(**(data | changes))


DELAY = {"twin_size": 4e8, "max_delay": 3.0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"satisfaction": [30.0, np.nan, 35.0]}, ["satisfaction[1]", "nan", "finite"]),
        ({"satisfaction": [30.0, np.inf, 35.0]}, ["satisfaction", "inf"]),
        ({"satisfaction": "many"}, ["satisfaction", "'many'", "not numeric"]),
        ({"satisfaction": np.ones((3, 2))}, ["satisfaction", "(3, 2)", "(I,)"]),
        ({"satisfaction": [30.0, 25.0], "ties": np.zeros((3, 3))}, ["3 followers", "of 2"]),
        ({"sensitivity": [30.0, -1.0, 30.0]}, ["sensitivity = -1", "follower 1", "positive"]),
        ({"sensitivity": 0.0}, ["sensitivity = 0", "positive"]),
        ({"unit_cost": [0.3, -0.1]}, ["unit_cost = -0.1", "leader 1", "positive"]),
        ({"unit_cost": [0.3, 2.0]}, ["unit_cost = 2", "leader 1", "price_cap = 1.5"]),
        ({"unit_cost": []}, ["unit_cost", "empty", "at least one"]),
        ({"satisfaction": [], "ties": np.zeros((0, 0))}, ["satisfaction", "empty"]),
        ({"ties": nx.Graph()}, ["ties", "empty graph"]),
        ({"ties": [[0, 5, 5], [4, 0, 5], [5, 5, 0]]}, ["ties[0, 1] = 5", "mutual", "symmetrise"]),
        ({"ties": np.full((3, 3), 5.0)}, ["ties[0, 0]", "no tie to itself", "diagonal"]),
        ({"ties": -5.0}, ["ties", "negative"]),
        ({"ties": np.zeros((3, 2))}, ["ties", "(3, 2)", "(I, I)"]),
        ({"ties": sp.csr_array(np.triu(np.ones((3, 3)), 1))}, ["mutual"]),
        ({"price_cap": "high"}, ["price_cap", "'high'", "number"]),
        ({"price_cap": float("nan")}, ["price_cap", "nan"]),
        ({"price_cap": -1.0}, ["price_cap = -1", "positive"]),
        ({"bandwidth_cap": 0.0}, ["bandwidth_cap = 0", "positive"]),
        ({"twin_size": 4e8}, ["max_delay is missing", "both"]),
        ({"max_delay": 3.0}, ["twin_size is missing", "both"]),
        (DELAY | {"arrival_rate": [450.0, 510.0]}, ["arrival_rate = 510", "leader 1", "= 500"]),
        (DELAY | {"max_delay": [3.0, 0.2, 3.0]}, ["max_delay = 0.2", "follower 1", "0.35"]),
        (DELAY | {"twin_size": [4e8, -1.0, 4e8]}, ["twin_size = -1", "follower 1"]),
    ],
)
def test_bad_market(changes: dict, words: list[str]) -> None:
    with pytest.raises(stackel.GameError) as found:
        _market(**changes)
    for word in words:
        assert word in str(found.value)


def test_bad_draws() -> None:
    with pytest.raises(stackel.GameError, match="followers=0"):
        draw(0, followers=0)
    with pytest.raises(stackel.GameError, match="leaders=0"):
        draw(0, leaders=0)
    with pytest.raises(stackel.OptionError, match="scale"):
        fig3(scale="loud")  # type: ignore[arg-type]
    with pytest.raises(stackel.GameError, match="no nodes"):
        on_graph(nx.Graph())


def test_trends_of_the_published_figures() -> None:
    """Cost up: price up, demand and utilities down. Satisfaction up: all up."""

    def solve(cost: float, satisfaction: float) -> stackel.Equilibrium:
        game = VehicularTwins(
            [satisfaction] * 4, 30, 5, [cost] * 3, payment_scale=15, utility_scale=100
        )
        return stackel.solve(game, "closed-form")

    costs = [solve(c, 30.0) for c in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert (np.diff([e.leader_actions.mean() for e in costs]) > 0).all()
    assert (np.diff([e.follower_actions.mean() for e in costs]) < 0).all()
    assert (np.diff([e.leader_payoffs.mean() for e in costs]) < 0).all()
    assert (np.diff([e.follower_payoffs.mean() for e in costs]) < 0).all()
    tastes = [solve(0.2, a) for a in (25.0, 30.0, 35.0)]
    for quantity in ("leader_actions", "follower_actions", "leader_payoffs", "follower_payoffs"):
        assert (np.diff([getattr(e, quantity).mean() for e in tastes]) > 0).all()
