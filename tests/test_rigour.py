"""Where a verdict once promised more than was known, each case with what is true of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import stackel
from stackel import Action, Follower, Game
from stackel.calculus import trace
from stackel.calculus.curvature import Curvature
from stackel.calculus.enclosing import compile_boxes
from stackel.calculus.expression import symbol
from stackel.calculus.intervals import Interval, point_matmul
from stackel.calculus.program import compile_program
from stackel.certificate.proof import prove
from stackel.followers.replies import best_replies
from stackel.formulations.bilevel import Bard1
from stackel.functions import exp, over_followers, tanh


@dataclass(frozen=True)
class Stated(Game):
    """A market of one leader, its formulas given one by one."""

    value: Follower
    payoff: Callable[[Any, Any, Any, Any], Any]
    leads: Callable[[Any, Any], Any] = lambda x, y: -((x[..., :1, :] - 0.5) ** 2)
    limits: dict[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    own_limits: dict[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    high: float = 1.0
    size: int = 1

    @property
    def leader_action(self) -> Action:
        return Action("x", low=0.0, high=1.0, size=self.size)

    @property
    def follower_action(self) -> Action:
        return Action("y", low=0.0, high=self.high)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return self.payoff(y, over_followers(rivals) - rivals, x[..., :1, :], self.value)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return self.leads(x, y)

    def leader_limits(self, x: Any, y: Any) -> dict[str, Any]:
        return {name: limit(x, y) for name, limit in self.limits.items()}

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        return {name: limit(x, y) for name, limit in self.own_limits.items()}


def test_terms_that_stand_twice_stay_twice() -> None:
    r = symbol("r", (3, 1))
    total = r.sum(axis=-2, keepdims=True)
    for formula in ((total + total) - r, total - (r + r), total - r - r, (total - r) + r):
        at = np.array([[1.0], [2.0], [4.0]])
        (value,) = compile_program([r], [formula])(at)
        (box,) = compile_boxes([r], [formula])(Interval(at))
        np.testing.assert_allclose(box.lo, value, rtol=1e-12)
        np.testing.assert_allclose(box.hi, value, rtol=1e-12)


def test_what_has_no_value_is_the_whole_line() -> None:
    with np.errstate(all="ignore"):  # as wherever formulas are run
        nothing = Interval(np.zeros(1)) / Interval(np.zeros(1))
        lost = Interval(np.full(1, np.nan)) * Interval(np.ones(1), np.full(1, 2.0))
    assert (nothing.lo[0], nothing.hi[0]) == (-np.inf, np.inf)
    assert (lost.lo[0], lost.hi[0]) == (-np.inf, np.inf)


def test_a_sum_of_products_may_underflow() -> None:
    found = point_matmul(np.full((1, 1), 1e-200), Interval(np.full((1, 1), 1e-200)))
    assert found.hi.item() > 0


def test_a_contest_that_nobody_enters_is_unknown() -> None:
    """Nobody's share has a value, and whoever enters takes all."""
    game = Stated([0.1, 0.1], lambda y, others, x, c: y / (y + others) - c * y, high=2.0)
    found = stackel.certify(game, [[0.5]], [[0.0], [0.0]], proof=True)
    assert found.verdict == "unknown"
    assert "the payoff of follower 0 is nan at the point" in found.reasons


def test_a_small_convex_payoff_beside_a_large_concave_one() -> None:
    game = Stated([-1.0, 1e-13], lambda y, others, x, size: size * (y - 0.5) ** 2)
    found = stackel.certify(game, [[0.5]], [[0.5], [0.5]], proof=False)
    assert found.verdict == "refuted"
    assert not found.exact_replies


def test_a_range_is_proved_concave_part_by_part() -> None:
    """Each part of the own range shows it, the whole range at once does not; where it does not hold
    in the last part it is not said, whatever was proved of other rivals before."""
    demand = Stated(
        [0.3, 0.4], lambda y, others, x, v: y * (y + others + 0.05) ** -0.9 - (v + x) * y
    )
    calculus, x = trace(demand), np.full((1, 1, 1), 0.2)
    y = np.full((1, 2, 1), 0.3)
    at_once = calculus.formulas.once(Curvature).concave(
        Interval(*calculus.follower_bounds), Interval(y), Interval(x)
    )
    assert not at_once.any()
    assert calculus.prove_concave(y, x)[0].all()
    assert best_replies(calculus, x, y).concave.all()

    bends = trace(Stated([1.0, 1.0], lambda y, others, x, v: -(y**2) + 0.06 * others * y**9))
    none, all_in = np.zeros((1, 2, 1)), np.ones((1, 2, 1))
    assert bends.prove_concave(none, x)[0].all()
    assert not bends.prove_concave(all_in, x)[0].any()
    both = bends.prove_concave(np.concatenate([none, all_in]), np.concatenate([x, x]))[0]
    assert both.tolist() == [True, False]


def test_where_there_was_no_proof_over_a_box_there_still_is_trial_by_trial() -> None:
    """Of many trials the box around all proves nothing, once; each alone does wherever it holds."""
    bends = trace(Stated([1.0, 1.0], lambda y, others, x, v: -(y**2) + 0.06 * others * y**9))
    y = np.linspace(0.0, 1.0, 50)[:, None, None] * np.ones((1, 2, 1))
    x = np.zeros((50, 1, 1))
    first, again = (bends.prove_concave(y, x)[0] for _ in range(2))
    assert first[:20].all()
    assert not first[-1]
    assert np.array_equal(first, again)
    assert bends.prove_concave(y[:20], x[:20])[0].all()


def test_followers_are_bounded_from_where_they_are() -> None:
    """Beyond a cliff the payoff is flat: it is concave where the best replies are, not on the way
    there."""

    def cliff(y: Any, others: Any, x: Any, value: Any) -> Any:
        z = y * 35e3
        return -4 * exp(-z) - tanh(z - 40) - 1e-12 * z + value * 0

    game, one = Stated([1.0], cliff, high=np.inf), np.ones(1)
    x, y, best = np.array([[0.5]]), np.array([[1.0]]), np.array([[8e-4]])
    assert (game.follower_payoff(best, y, x) - game.follower_payoff(y, y, x)).item() > 1.9
    assert not prove(trace(game), x, y, (one, one), tolerance=1e-6).proved


def test_a_move_that_followers_have_no_answer_to_gains_nothing() -> None:
    room = {"room": lambda x, y: 2 * x + y - 1}
    game = Stated(
        [1.0], lambda y, others, x, value: -value * (y - 1) ** 2, lambda x, y: 1.0 * x, {}, room
    )
    for proof in (False, True):
        found = stackel.certify(game, [[0.5]], [[0.0]], proof=proof)
        assert found.verdict != "refuted", str(found)


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e-10, 1e10])
def test_leaders_of_two_decisions_keep_limits_in_any_unit(unit: float) -> None:
    game = Stated(
        [0.5],
        lambda y, others, x, value: value * y - 0.5 * y**2,
        lambda x, y: x[..., :1, :] + x[..., 1:, :] + 0 * over_followers(y),
        {"cap": lambda x, y: unit * (x[..., :1, :] ** 2 + x[..., 1:, :] ** 2 - 0.5)},
        size=2,
    )
    assert stackel.certify(game, [[0.5], [0.5]], [[0.5]], proof=False).verdict == "local"


def test_a_search_that_fails_closes_no_move() -> None:
    """The limit can be met beyond a hump, where the leader has far more."""
    hump = {"hump": lambda x, y: (x - 0.5) + (y - 1) ** 2 - 0.25 * (y - 1) ** 3}
    game = Stated(
        [1.0],
        lambda y, others, x, value: -value * (y - 1) ** 2,
        lambda x, y: over_followers(y) - 0.01 * (x - 0.5) ** 2,
        {},
        hump,
        high=10.0,
    )
    found = stackel.certify(game, [[0.5]], [[1.0]], proof=False)
    assert found.verdict in ("unknown", "refuted")


def test_batches_of_affine_limits_are_solved() -> None:
    alone = stackel.solve(Bard1(), "newton")
    many = stackel.solve_many([Bard1(), Bard1()], "newton")
    for k in range(2):
        np.testing.assert_allclose(many[k].leader_actions, alone.leader_actions, atol=1e-6)


def test_ties_that_fade_at_some_prices_leave_an_equilibrium_there() -> None:
    def tied(y: Any, others: Any, x: Any, value: Any) -> Any:
        tie = 1.2 * (1 - 16 * x * (1 - x) * (1 - 2 * x) ** 2) ** 2
        return value * y - 0.5 * y**2 + tie * y * others

    game = Stated(
        [1.0, 1.0], tied, lambda x, y: over_followers(y) - over_followers(y) ** 2, high=np.inf
    )
    answer = stackel.solve(game, "newton", throw=False, proof=False)  # no NoEquilibriumError
    assert answer.certificate is not None
