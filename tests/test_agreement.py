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
    """Prices and purchases within 1e-4 relative, delay limits on; every third market without."""
    rng = np.random.default_rng(1000 + seed)
    game = draw(rng, int(rng.integers(2, 5)), int(rng.integers(2, 4)), delay=seed % 3 != 0)
    names = [n for n in registry.BUILT_IN if not registry.find(n)().missing()]
    found = stackel.compare(game, names)
    assert not found.failed, found.failed
    assert set(found.declined) <= {"closed-form"}
    # Whoever differs is refuted, with the deviation; whoever holds is at the same point.
    assert len(found.groups) == 1, found.verdict
    reference = found.answers["newton"]
    for name in found.holding:
        eq = found.answers[name]
        np.testing.assert_allclose(eq.leader_actions, reference.leader_actions, rtol=AGREE)
        np.testing.assert_allclose(eq.follower_actions, reference.follower_actions, rtol=AGREE)
    refuted = [n for n in found.answers if n not in found.holding]
    assert not refuted, found.verdict
