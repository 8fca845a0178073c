"""One ordinary market of each family of ``benchmarks.ordinary``: what is said of it is true."""

from __future__ import annotations

import numpy as np
import pytest

import stackel
from benchmarks.ordinary.families import FAMILIES
from benchmarks.ordinary.truth import Ordinary, truth
from stackel.followers import settle

PROVED = ("ratio", "entropy", "cournot, isoelastic", "prosumers", "saturation")
"""Families whose markets take formulas rewritten for boxes, totals, or concavity by intervals."""


def drawn(name: str, seed: int) -> Ordinary:
    return FAMILIES[name](np.random.default_rng([7, list(FAMILIES).index(name), seed]))


@pytest.mark.parametrize("name", FAMILIES)
def test_followers_answer_as_worked_out_by_hand(name: str) -> None:
    for seed in range(2):
        game = drawn(name, seed)
        low, high = game.leader_bounds
        share = np.random.default_rng(seed).random((20, *low.shape))
        x = np.concatenate([low[None], high[None], low + (high - low) * share])
        found, expected = settle(game, x), game.answer(x)
        assert found.converged.all()
        np.testing.assert_allclose(found.y, expected, rtol=1e-7, atol=1e-7 * expected.max())


@pytest.mark.parametrize("name", FAMILIES)
def test_what_passes_is_an_equilibrium(name: str) -> None:
    game = drawn(name, 0)
    eq = stackel.solve(game, proof=False)
    assert truth(game, eq.leader_actions, eq.follower_actions).worst <= 2e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_a_leader_off_by_five_per_cent_is_refuted(name: str) -> None:
    """Where brute force says that it loses by it."""
    game = drawn(name, 0)
    x = np.array(stackel.solve(game, proof=False).leader_actions)
    low, high = game.leader_bounds
    x[0, 0] += 0.05 * (high - low)[0, 0] * (1 if x[0, 0] < (low + high)[0, 0] / 2 else -1)
    y = game.answer(x[None])[0]
    assert truth(game, x, y).worst > 1e-4
    assert stackel.certify(game, x, y, proof=False).verdict == "refuted"


def test_a_few_trials_that_newton_loses_are_settled_from_their_neighbours() -> None:
    """Where both sellers ask the most that they may; from afar Newton's method ends astray."""
    game = FAMILIES["log, delay"](np.random.default_rng([0, 959]))
    x = game.leader_bounds[1]
    found = stackel.certify(game, x, game.answer(x[None])[0], proof=False)
    assert (found.verdict, found.unsettled) == ("searched", 0)


@pytest.mark.parametrize("name", PROVED)
def test_what_takes_more_than_plain_intervals_is_proved(name: str) -> None:
    eq = stackel.solve(drawn(name, 0), proof=True)
    assert eq.certificate is not None
    assert eq.certificate.verdict == "proved"
