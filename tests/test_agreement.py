"""Five independent methods on random markets: one answer, or the certificate says who is wrong."""

from __future__ import annotations

import numpy as np
import pytest

import stackel
from stackel import backend as registry
from stackel.formulations.vehicular_twins import draw

AGREE = 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_backends_agree_quick(seed: int) -> None:
    _check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 100))
def test_backends_agree(seed: int) -> None:
    _check(seed)


def _check(seed: int) -> None:
    """Prices and purchases within 1e-4 relative; every third market without delay limits.

    A market with delay limits can have several equilibria: one where a limit is slack and one where
    it binds and prices are higher. Then every one that a backend ends at must be certified, and
    Newton's method, started there, must stay there.
    """
    rng = np.random.default_rng(1000 + seed)
    game = draw(rng, int(rng.integers(2, 5)), int(rng.integers(2, 4)), delay=seed % 3 != 0)
    names = [n for n in registry.BUILT_IN if not registry.find(n)().missing()]
    found = stackel.compare(game, names)
    assert not found.failed, found.failed
    assert set(found.declined) <= {"closed-form"}
    assert found.holding == list(found.answers), found.verdict
    if not game.has_delay_limit:
        assert len(found.groups) == 1, found.verdict
    for group in found.groups:
        start = found.answers[group[0]].leader_actions
        reference = stackel.solve(game, "newton", start=start)
        assert reference.certificate.verdict in ("proved", "searched")
        for name in group:
            eq = found.answers[name]
            assert eq.certificate.relative_gap < 1e-6
            np.testing.assert_allclose(eq.leader_actions, reference.leader_actions, rtol=AGREE)
            np.testing.assert_allclose(eq.follower_actions, reference.follower_actions, rtol=AGREE)


def test_a_delay_limit_can_make_two_equilibria() -> None:
    """Both certified: with all limits slack, and at higher prices with one that binds."""
    rng = np.random.default_rng(1049)
    game = draw(rng, int(rng.integers(2, 5)), int(rng.integers(2, 4)))
    eq = stackel.solve(game, "newton", starts=8, seed=0)
    both = sorted([eq, *eq.others], key=lambda e: e.leader_actions[0, 0])
    assert len(both) == 2
    assert all(e.certificate.verdict in ("proved", "searched") for e in both)
    slack, tight = (e.multipliers["delay"].max() for e in both)
    assert slack == 0
    assert tight > 0.1
    np.testing.assert_allclose(both[0].leader_actions, [[0.7287638, 0.85443105]], rtol=1e-6)
    np.testing.assert_allclose(both[1].leader_actions, [[1.0057644, 1.1205152]], rtol=1e-6)
