"""Forty of the games that ``python -m benchmarks.prover`` certifies two thousand of."""

from __future__ import annotations

import pytest

from benchmarks.prover.__main__ import Tally, judge
from benchmarks.prover.games import KINDS

pytestmark = pytest.mark.proofs

EACH = 6
"""Games of a kind."""


@pytest.mark.parametrize("kind", KINDS)
def test_brute_force_contradicts_nothing(kind: str) -> None:
    tally = Tally()
    for index in range(EACH - (kind in ("limited", "ratio"))):  # forty in all
        judge(kind, 1, index, tally)
    assert not tally.wrong
    assert tally.games >= EACH - 3
    # Of so few games shares say little: that something is proved, and what is far off is refuted.
    assert tally.true["proved"] > 0
    assert tally.true["refuted"] == 0
    assert tally.far["refuted"] >= 0.9 * tally.far.total()
