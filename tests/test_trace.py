"""A market's calculus is made once and lives exactly as long as the market."""

import copy
import gc
import pickle
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import stackel
from problems import LogPricing
from stackel.calculus import trace
from stackel.calculus.batch import together
from stackel.calculus.calculus import Calculus
from stackel.calculus.expression import Expression
from stackel.followers import settle
from stackel.formulations.vehicular_twins import draw, fig3
from stackel.game.grids import middle


def census() -> Counter[type]:
    gc.collect()
    kinds = (stackel.Game, Calculus, Expression)
    return Counter(type(o) for o in gc.get_objects() if issubclass(type(o), kinds))


def test_it_is_made_once_and_is_its_own_calculus() -> None:
    game = fig3()
    calculus = trace(game)
    assert trace(game) is calculus
    assert trace(calculus) is calculus


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, replace, pickle.dumps])
def test_it_is_neither_copied_nor_pickled(how) -> None:
    game = fig3()
    untraced = pickle.dumps(game)
    calculus = trace(game)
    twin = how(game)
    twin = pickle.loads(twin) if isinstance(twin, bytes) else twin
    assert pickle.dumps(game) == untraced
    assert trace(twin) is not calculus
    x = np.array([[0.9, 0.8]])
    assert np.array_equal(settle(twin, x).y, settle(game, x).y)


def test_numbers_of_one_formula_never_stand_in_for_anothers() -> None:
    """Constants of programs that are no longer there, whose places in memory are used again."""
    whole = together([draw(k) for k in range(40)])
    assert whole is not None
    some = np.arange(5, 25)
    part, x, y = whole.at(some), middle(*whole.leader_bounds)[some], whole.first_guess[some]
    proved, modulus = whole.prove_concave(whole.first_guess, middle(*whole.leader_bounds))
    for _ in range(60):
        part.leader_values(x, y)
        found = part.prove_concave(y, x)
        assert np.array_equal(found[0], proved[some])
        assert np.array_equal(found[1], modulus[some])


def test_elements_of_elements() -> None:
    whole = together([draw(k) for k in range(6)])
    assert whole is not None
    x, y = middle(*whole.leader_bounds), whole.first_guess
    expected = whole.leader_values(x, y)[0]
    mask = np.array([True, False, True, True, False])
    for first, second in (([1, 2, 4], [2, 0]), (slice(1, 6), mask), (slice(0, 6, 2), slice(1, 3))):
        places = np.arange(6)[first][second]
        part = whole.at(first).at(second)
        assert np.array_equal(part.leader_values(x[places], y[places])[0], expected[places])


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_games_that_were_traced_and_dropped_leave_nothing_behind(count: int) -> None:
    game = LogPricing(value=[2.0, 3.0], unit_cost=0.2)
    settle(game, np.ones((1, 1)))
    before = census()
    for k in range(count):
        one = replace(game, value=game.value + k * 1e-6)
        trace(one).leader_values(np.ones((1, 1)), np.ones((2, 1)))
        settle(one, np.ones((1, 1)))
    del one
    assert census() == before


def test_threads_that_share_a_game_agree() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        game, alone = fig3(delay=True), fig3(delay=True)
        x = 0.7 + 0.5 * rng.random((40, 1, 2))
        found: list[tuple[Calculus, np.ndarray, np.ndarray]] = []
        gate = threading.Barrier(2)

        def work(game=game, x=x, found=found, gate=gate) -> None:
            gate.wait()
            calculus = trace(game)
            found.append((calculus, settle(game, x).y, calculus.leader_values(x, x.mT)[0]))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 2
        assert found[0][0] is found[1][0] is trace(game)
        for _, y, payoffs in found:
            assert np.array_equal(y, settle(alone, x).y)
            assert np.array_equal(payoffs, trace(alone).leader_values(x, x.mT)[0])


def test_a_game_solved_in_two_threads_has_one_answer() -> None:
    game = LogPricing(value=[2.0, 3.0, 2.5], unit_cost=0.2)
    found: list[stackel.Equilibrium] = []
    threads = [
        threading.Thread(target=lambda: found.append(stackel.solve(game, backend="newton")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = found
    assert np.array_equal(first.leader_actions, second.leader_actions)
    assert first.certificate is not None
    assert second.certificate is not None
    assert np.array_equal(first.certificate.leader_gaps, second.certificate.leader_gaps)
    assert first.certificate.trials == second.certificate.trials
