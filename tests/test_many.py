"""solve_many gives what one-by-one solves give, in the order asked, whatever is in the list."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stackel
from problems import PersonalPrices
from stackel import Action, Follower, Game, Leader
from stackel.calculus import trace
from stackel.calculus.batch import agreeing, kind_of, together
from stackel.errors import GameError, InfeasibleError, NoEquilibriumError, OptionError, Refusal
from stackel.formulations.carbon_tax import simple_verde
from stackel.formulations.cournot_stackelberg import CournotStackelberg
from stackel.formulations.murphy_sherali_soyster import five_firms
from stackel.formulations.substitutes import Substitutes
from stackel.formulations.vehicular_twins import VehicularTwins, draw
from stackel.functions import log, over_followers, over_leaders
from stackel.results.equilibrium import NotConverged
from stackel.run import Status
from stackel.solvers.newton import Newton

ACTIONS = ("leader_actions", "follower_actions", "leader_payoffs", "follower_payoffs")
SAME = ("holds", "exact_replies", "global_search", "trials", "unsettled", "losers", "notes")
CLOSE = ("follower_gaps", "leader_gaps", "resolution")
SCALES = ("follower_scales", "leader_scales")


def in_a_batch(answer):
    return "batch" in getattr(answer, "stats", {})


def assert_same(answer, alone, within=1e-9):
    for name in ACTIONS:
        found, expected = getattr(answer, name), getattr(alone, name)
        np.testing.assert_allclose(found, expected, rtol=within, atol=within, err_msg=name)
    assert answer.status is alone.status
    assert answer.game is alone.game
    assert answer.backend == alone.backend
    assert (answer.certificate is None) == (alone.certificate is None)
    for name, expected in alone.multipliers.items():
        np.testing.assert_allclose(answer.multipliers[name], expected, rtol=1e-8, atol=1e-8)


def assert_same_certificate(found, expected):
    for name in SAME:
        assert getattr(found, name) == getattr(expected, name), name
    for name in CLOSE:
        scale = max(expected.leader_scales.max(), expected.follower_scales.max())
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-9 * scale
        )
    for name in SCALES:  # taken where a payoff is flat: at the best move that was found
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6)
    assert found.violation == pytest.approx(expected.violation, abs=1e-12)
    for name, value in expected.violations.items():
        assert found.violations[name] == pytest.approx(value, abs=1e-9), name
    first, second = found.uniqueness, expected.uniqueness
    assert first.everywhere == second.everywhere
    assert first.smallest_eigenvalue == pytest.approx(second.smallest_eigenvalue, rel=1e-7)
    assert first.spectral_radius == pytest.approx(second.spectral_radius, rel=1e-7)


def substitutes(count):
    """Markets whose single numbers differ too."""
    rng = np.random.default_rng(5)
    return [
        Substitutes(
            rng.uniform(5, 6, (4, 2)),
            rng.uniform(0.5, 1.5, 2),
            substitution=rng.uniform(0.1, 0.4),
            price_cap=rng.uniform(3, 8),
        )
        for _ in range(count)
    ]


def cournot(count):
    rng = np.random.default_rng(6)
    return [
        CournotStackelberg(
            rng.uniform(1, 2, 3), rng.uniform(1, 2, 2), rng.uniform(9, 12), rng.uniform(0.4, 0.6)
        )
        for _ in range(count)
    ]


def firms(count):
    rng = np.random.default_rng(7)
    return [
        replace(
            five_firms(gamma=rng.uniform(1.0, 1.3)),
            cost=rng.uniform(2, 9, 4),
            elasticity=rng.uniform(0.8, 1.2, 4),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("backend", ["closed-form", "newton", "auto"])
def test_fifty_vehicular_markets_without_delay_are_as_one_by_one(backend):
    games = [draw(k, delay=False) for k in range(50)]
    answers = stackel.solve_many(games, backend, certificate=False)
    assert all(map(in_a_batch, answers))
    for game, answer in zip(games, answers, strict=True):
        assert_same(answer, stackel.solve(game, backend, certificate=False))


def test_delay_limits_that_bind_are_as_one_by_one():
    games = [draw(k, delay=True) for k in range(40)]
    answers = stackel.solve_many(games, "newton", certificate=False)
    assert all(map(in_a_batch, answers))
    bound = [answer.multipliers["delay"].any() for answer in answers]
    assert 10 < sum(bound) < 30
    assert any(answer.stats["sweeps"] > 0 for answer in answers)  # best prices on a kink
    for game, answer in zip(games, answers, strict=True):
        assert_same(answer, stackel.solve(game, "newton", certificate=False))


@pytest.mark.parametrize(
    ("games", "backend"),
    [
        (substitutes(12), "closed-form"),
        (substitutes(12), "newton"),
        (cournot(12), "auto"),
        (cournot(12), "newton"),
        (firms(8), "newton"),
    ],
    ids=["substitutes-closed", "substitutes-newton", "cournot-auto", "cournot-newton", "firms"],
)
def test_other_markets_and_their_certificates_are_as_one_by_one(games, backend):
    answers = stackel.solve_many(games, backend)
    assert sum(map(in_a_batch, answers)) == len(games)
    for game, answer in zip(games, answers, strict=True):
        alone = stackel.solve(game, backend)
        assert_same(answer, alone)
        assert_same_certificate(answer.certificate, alone.certificate)


@pytest.mark.parametrize("delay", [False, True])
def test_certificates_are_as_one_by_one(delay):
    games = [draw(k, delay=delay) for k in range(12)]
    answers = stackel.solve_many(games, "newton")
    assert all(map(in_a_batch, answers))
    for game, answer in zip(games, answers, strict=True):
        assert_same_certificate(answer.certificate, stackel.solve(game, "newton").certificate)


def test_a_refuted_point_is_left_for_the_better_deviation_in_the_batch_too():
    games = [draw(k, delay=True) for k in (68, 69, 70, 72, 73)]
    answers = stackel.solve_many(games, "newton")
    restarts = []
    for game, answer in zip(games, answers, strict=True):
        alone = stackel.solve(game, "newton")
        assert_same(answer, alone, within=1e-8)
        assert in_a_batch(answer)
        assert answer.stats["restarts"] == alone.stats["restarts"]
        restarts.append(alone.stats["restarts"])
    assert 1 in restarts


def test_closed_form_in_a_batch_refuses_where_it_does_alone():
    games = [draw(k, delay=True) for k in range(8)]
    answers = stackel.solve_many(games, "closed-form", certificate=False)
    refused = [isinstance(answer, Refusal) for answer in answers]
    assert any(refused)
    assert not all(refused)
    for game, answer, no in zip(games, answers, refused, strict=True):
        if no:
            with pytest.raises(Refusal, match="delay"):
                stackel.solve(game, "closed-form", certificate=False)
        else:
            assert_same(answer, stackel.solve(game, "closed-form", certificate=False))


@pytest.mark.proofs
def test_leaders_with_several_decisions_are_certified_alone():
    games = [PersonalPrices([12.0, 14.0 + 0.1 * k], 0.2 + 0.01 * k) for k in range(4)]
    answers = stackel.solve_many(games, "newton")
    assert all(map(in_a_batch, answers))
    for game, answer in zip(games, answers, strict=True):
        alone = stackel.solve(game, "newton")
        assert_same(answer, alone)
        assert answer.certificate.verdict == "local"
        assert alone.certificate.verdict == "proved"


def mixed():
    """Shapes, classes and kinds of data in turn, one market that takes no batch."""
    twins = [draw(k, delay=False) for k in range(4)]
    delayed = [draw(k, delay=True) for k in range(4)]
    larger = [draw(k, followers=4, leaders=3, delay=False) for k in range(4)]
    rows = zip(twins, substitutes(4), delayed, larger, cournot(4), strict=True)
    return [*(game for row in rows for game in row), simple_verde()]


def test_mixed_markets_keep_their_order():
    games = mixed()
    answers = stackel.solve_many(games)
    assert [answer.game for answer in answers] == games
    assert [in_a_batch(answer) for answer in answers] == [True] * 20 + [False]
    for game, answer in zip(games, answers, strict=True):
        assert_same(answer, stackel.solve(game), within=1e-8)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.permutations(range(16)))
def test_permuting_the_games_permutes_the_answers(order):
    games = [game for k, game in enumerate(mixed()[:20]) if k % 5 != 2]  # no delays: quick
    answers = stackel.solve_many(games, certificate=False)
    permuted = stackel.solve_many([games[k] for k in order], certificate=False)
    for k, answer in zip(order, permuted, strict=True):
        assert_same(answer, answers[k])


def spoilt():
    games = [draw(k, delay=True) for k in range(9)]
    games[3] = replace(games[3], ties=40.0)  # best replies reinforce each other without end
    games[5] = replace(games[5], bandwidth_cap=1e-3)  # no purchase meets the delay
    return games


def test_an_impossible_market_has_its_error_in_its_place():
    games = spoilt()
    answers = stackel.solve_many(games, "newton")
    assert isinstance(answers[3], NoEquilibriumError)
    assert isinstance(answers[5], InfeasibleError)
    for k in (0, 1, 2, 4, 6, 7, 8):
        assert_same(answers[k], stackel.solve(games[k], "newton"))


def test_throw_raises_it_and_says_which():
    with pytest.raises(NoEquilibriumError) as caught:
        stackel.solve_many(spoilt(), "newton", throw=True)
    assert caught.value.__notes__ == ["This is games[3] of the 9 given to solve_many."]


def test_a_market_that_does_not_converge_has_its_error_in_its_place():
    games = [draw(k, delay=False) for k in range(6)]
    answers = stackel.solve_many(games, "closed-form", max_sweeps=1, certificate=False)
    for answer in answers:
        assert isinstance(answer, NotConverged)
        assert answer.result.status is Status.ITERATION_LIMIT


def test_few_markets_and_none():
    assert stackel.solve_many([]) == []
    games = [draw(k, delay=False) for k in range(2)]
    for game, answer in zip(games, stackel.solve_many(iter(games)), strict=True):
        assert_same(answer, stackel.solve(game))


def test_what_leaders_foresee_is_passed_on():
    games = [draw(k, delay=False) for k in range(4)]
    answers = stackel.solve_many(games, "newton", anticipation="own_response")
    for game, answer in zip(games, answers, strict=True):
        assert_same(answer, stackel.solve(game, "newton", anticipation="own_response"))


def test_an_answer_of_a_batch_is_like_any_other(tmp_path):
    answers = stackel.solve_many([draw(k, delay=True) for k in range(4)], "newton")
    loaded = stackel.Equilibrium.load(answers[2].save(tmp_path / "eq.json"))
    for name in ACTIONS:
        assert (getattr(loaded, name) == getattr(answers[2], name)).all()
    assert loaded.certificate.verdict == answers[2].certificate.verdict
    assert len(answers[2].history) == 0
    assert "searched" in answers[2].summary()


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((draw(0),), {}, "expected a list of stackel.Game objects"),
        ((3,), {}, "expected a list of stackel.Game objects"),
        (("fig3",), {}, "expected a list of stackel.Game objects"),
        (([draw(0), "fig3"],), {}, r"games\[1\] = 'fig3'"),
        (([draw(0)], "newtn"), {}, "did you mean 'newton'"),
        (([draw(0)], "newton"), {"pionts": 9}, "did you mean 'points'"),
        (([draw(0)],), {"points": 9}, "name the backend"),
        (([draw(0)],), {"tolerance": 2.0}, "tolerance = 2.0"),
        (([draw(0)],), {"time_limit": -1}, "time_limit = -1"),
        (([draw(0)],), {"restarts": -1}, "restarts = -1"),
        (([draw(0)],), {"anticipation": "all"}, "anticipation = 'all'"),
    ],
)
def test_bad_input_is_refused_before_any_work(arguments, options, said):
    with pytest.raises(OptionError, match=said):
        stackel.solve_many(*arguments, **options)


def test_the_time_limit_is_for_all_together():
    games = [draw(k, delay=True) for k in range(6)]
    answers = stackel.solve_many(games, "newton", time_limit=1e-9)
    for answer in answers:
        assert isinstance(answer, NotConverged)
        assert answer.result.status is Status.TIME_LIMIT
    with pytest.raises(NotConverged):
        stackel.solve_many(games, "newton", time_limit=1e-9, throw=True)


def test_an_interrupted_call_keeps_what_it_has(monkeypatch):
    calls = []
    solve_batch = Newton.solve_batch

    def once(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return solve_batch(self, *arguments)

    monkeypatch.setattr(Newton, "solve_batch", once)
    games = [*(draw(k, delay=False) for k in range(4)), *substitutes(4)]
    answers = stackel.solve_many(games, "newton", certificate=False)
    assert all(map(in_a_batch, answers[:4]))
    for answer in answers[4:]:
        assert answer.result.status is Status.INTERRUPTED


def test_progress_goes_to_stderr(capsys):
    stackel.solve_many([draw(k, delay=False) for k in range(4)], progress=True)
    assert capsys.readouterr().out == ""


# -- batches -------------------------------------------------------------------------------------


def test_a_batch_gives_each_games_own_numbers():
    games = [draw(k, delay=True) for k in range(5)]
    whole = together(games)
    assert agreeing(whole, games).all()
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.5, 1.4, (5, 1, 2)), rng.uniform(0.2, 0.9, (5, 3, 2))
    lam, mu = rng.random((5, 3, 1)), np.zeros((5, 0))
    order = np.array([3, 0, 3, 1])
    part = whole.at(order).at(np.array([0, 1, 3]))  # games 3, 0 and 1
    for row, k in enumerate((3, 0, 1)):
        point = y[k], y[k], x[k], lam[k], mu[k]
        batch = [np.stack([a[k]] * 3) for a in (y, y, x, lam, mu)]
        for one, many in zip(trace(games[k]).system(*point), part.system(*batch), strict=True):
            np.testing.assert_allclose(many[row], one, rtol=1e-13)
        blocks = trace(games[k]).own_blocks(*point)[0], part.own_blocks(*batch)[0][row]
        np.testing.assert_allclose(*blocks, rtol=1e-13)


def test_kinds_tell_apart_what_changes_the_formulas():
    first = draw(0, delay=False)
    assert kind_of(first) == kind_of(draw(1, delay=False))
    assert kind_of(first) == kind_of(replace(first, price_cap=2.0))
    assert kind_of(first, apart=True) != kind_of(replace(first, price_cap=2.0), apart=True)
    others = [
        draw(0, delay=True),
        draw(0, followers=4, delay=False),
        replace(first, bandwidth_cap=2.0),
        replace(first, radio=replace(first.radio, distance=400.0)),
        substitutes(1)[0],
    ]
    kinds = [kind_of(first), *map(kind_of, others)]
    assert len(set(kinds)) == len(kinds)
    ties = np.zeros((200, 200))
    ties[0, 1] = ties[1, 0] = 1.0
    large = VehicularTwins(satisfaction=30.0, sensitivity=30.0, ties=ties, unit_cost=[0.1])
    assert kind_of(large) is None


@dataclass(frozen=True)
class Plain(Game):
    """A market with a formula that has to be told apart in some way; see its subclasses."""

    value: Follower
    unit_cost: Leader
    bend: float = 1.0

    @property
    def leader_action(self):
        return Action("price", low=self.unit_cost, high=4.0)

    @property
    def follower_action(self):
        return Action("purchase", low=0.0, high=50.0)

    def weight(self):
        return 1.0

    def follower_payoff(self, y, rivals, x):
        return over_leaders(self.weight() * self.value * log(1 + y) - x * y)

    def leader_payoff(self, x, y):
        return over_followers((x - self.unit_cost) * y)


class Mixing(Plain):
    def weight(self):
        return self.value.max() / 4.0  # on a batch: of all games' values


class Branching(Plain):
    def weight(self):
        return 1.0 if self.bend < 1.5 else 0.9  # needs a plain number


class Counting(Plain):
    def weight(self):
        return 1.0 + 0.01 * len(self.value)  # on a batch: the number of games


class MixingASmallLimit(Plain):
    """Leaders count in millions, the limit in thousandths."""

    def leader_payoff(self, x, y):
        return 1e6 * super().leader_payoff(x, y)

    def leader_limits(self, x, y):
        return {"fair": 1e-3 * (x - self.value.max() / 2.0)}


@pytest.mark.parametrize(
    ("kind", "batched"),
    [(Plain, 12), (Mixing, 2), (MixingASmallLimit, 2), (Branching, 12), (Counting, 0)],
)
def test_formulas_that_take_no_batch_are_found_out(kind, batched):
    rng = np.random.default_rng(8)
    games = [
        kind(rng.uniform(2, 4, 3), rng.uniform(0.5, 1, 2), bend=1.0 + k % 2) for k in range(12)
    ]
    if kind in (
        Mixing,
        MixingASmallLimit,
    ):  # the two with the largest value of all are right by chance
        games[4] = games[9] = kind([3.0, 4.5, 2.0], [0.5, 0.8])
    assert [f.name for f in fields(kind)] == ["value", "unit_cost", "bend"]
    answers = stackel.solve_many(games, "newton", certificate=False)
    assert sum(map(in_a_batch, answers)) == batched
    for game, answer in zip(games, answers, strict=True):
        assert_same(answer, stackel.solve(game, "newton", certificate=False))


def test_a_market_whose_formula_fails_says_so_in_its_place():
    games = [Plain([2.0, 3.0], [0.5, 0.8]) for _ in range(5)]
    games[2] = Plain([2.0, 3.0], [0.5, 0.8], bend=2.0)
    object.__setattr__(games[2], "value", np.full((2, 1), np.nan))
    answers = stackel.solve_many(games, "newton", certificate=False)
    assert isinstance(answers[2], GameError)
    assert all(in_a_batch(answers[k]) for k in (0, 1, 3, 4))
