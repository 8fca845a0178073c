"""What is proved is true, and what is true of small markets is proved."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import stackel
from benchmarks.ordinary.quantities import Isoelastic
from stackel import Action, Follower, Game, Leader
from stackel.calculus import trace
from stackel.calculus.intervals import Interval
from stackel.calculus.program import compile_program
from stackel.calculus.rewriting import by_totals
from stackel.calculus.shares import by_shares
from stackel.certificate.boxes import MarketBoxes
from stackel.certificate.enclosure import Enclosure
from stackel.certificate.totals import Totals
from stackel.followers import settle
from stackel.formulations.cournot_stackelberg import equal_firms
from stackel.formulations.murphy_sherali_soyster import five_firms, gnash
from stackel.formulations.vehicular_twins import draw, fig3
from stackel.functions import exp, log, over_followers, over_leaders

pytestmark = pytest.mark.proofs


@dataclass(frozen=True)
class EdgeComputing(Game):
    """Processor time sold to buyers with logarithmic value."""

    value: Follower
    unit_cost: Leader
    cap: float = 4.0

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.unit_cost, high=self.cap)

    @property
    def follower_action(self) -> Action:
        return Action("cpu time")

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(self.value * log(1 + y) - x * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers((x - self.unit_cost) * y)


FIRMS = {"first_cost": [1.0, 1.5], "second_cost": [0.8, 1.2, 2.0], "choke": 9.0}

MARKETS = {
    "fig3": fig3(),
    "fig3 with delay limits": fig3(delay=True),
    "fig3 as printed": fig3("literal"),
    "edge": EdgeComputing(value=[3.0, 2.0, 5.0], unit_cost=[0.5, 0.8]),
    "cournot": equal_firms(2, 6),
    "cournot with 20 followers": equal_firms(3, 20),
    "a price that is a power": Isoelastic(**FIRMS),
    "a price with a pole": five_firms(1.1),
    "a price with a pole, quadratic costs": gnash("gnash19"),
    "a draw with delay limits": draw(3, 4, 2, delay=True),
}


@pytest.mark.parametrize("name", MARKETS)
def test_solve_proves_small_markets(name: str) -> None:
    eq = stackel.solve(MARKETS[name])
    assert eq.certificate is not None
    assert eq.certificate.verdict == "proved"
    proof = eq.certificate.proof
    assert proof is not None
    assert proof.proved
    assert len(proof.sides) == eq.game.n_followers + eq.game.n_leaders
    assert all(side.bound <= 1e-6 * side.scale for side in proof.sides)
    assert any("multipliers" in text for text in proof.assumes) == ("delay" in name)


@pytest.mark.parametrize("name", ["fig3 with delay limits", "edge", "cournot"])
@pytest.mark.parametrize("off", [1e-2, -1e-2])
@pytest.mark.parametrize("favour", [0.0, 1e-4, -1e-3])
def test_a_point_that_is_off_is_never_proved(name: str, off: float, favour: float) -> None:
    """A leader away from its best action, the followers moved for it and against it."""
    game = MARKETS[name]
    x = np.array(stackel.solve(game, proof=False).leader_actions)
    x[0, 0] *= 1 + off
    y = settle(game, x).y * (1 + favour)
    found = stackel.certify(game, x, y, proof=True)
    assert found.verdict not in ("proved", "searched")
    if found.verdict == "refuted" and found.deviation.player == "leader":
        move = found.deviation
        moved = np.array(x)
        moved[:, move.index] = move.action
        values = game.leader_payoff(moved, move.answer)
        assert values[0, move.index] == pytest.approx(move.reached, rel=1e-6)
        np.testing.assert_allclose(settle(game, moved).y, move.answer, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "name", ["fig3", "fig3 with delay limits", "edge", "cournot", "a price that is a power"]
)
def test_enclosures_contain_the_followers_answers(name: str) -> None:
    game = MARKETS[name]
    eq = stackel.solve(game, proof=False)
    calculus, rng = trace(game), np.random.default_rng(0)
    enclosure = Enclosure(MarketBoxes(calculus), 0, eq.leader_actions, eq.follower_actions)
    low, high = (b[:, 0] for b in game.leader_bounds)
    cuts = np.linspace(low, high, 33)
    found = enclosure.enclose(cuts[:-1], cuts[1:], (cuts[:-1] + cuts[1:]) / 2)
    known = found.known
    assert known.sum() > 16
    for share in rng.random(8):
        own = cuts[:-1] + (cuts[1:] - cuts[:-1]) * share
        y = settle(game, enclosure.profiles(own, own).lo).y.reshape(len(own), -1)
        assert (y >= found.over.lo - 1e-10)[known].all()
        assert (y <= found.over.hi + 1e-10)[known].all()


def test_slices_of_a_total_hold_every_equilibrium() -> None:
    """Boxes of a leader's quantity, from a point to a quarter of its range."""
    game = Isoelastic(**FIRMS)
    calculus, rng = trace(game), np.random.default_rng(0)
    totals = Totals(calculus)
    assert totals.applies
    low, high = (b[0] for b in game.leader_bounds)
    for width in (0.0, 1e-9, 1e-4, 0.02, 0.25):
        first = low + (high - low) * rng.random((30, 1, 2)) * (1 - width)
        last = first + (high - low) * width
        wide = Interval(np.zeros((30, 3, 1)), np.full((30, 3, 1), 60.0))
        found = totals.narrowed(wide, Interval(first, last))
        assert ((found.hi - found.lo).sum((1, 2)) < 60.0).all()
        for share in (0.0, 0.5, 1.0):
            y = game.answer(first + (last - first) * share)
            assert (y >= found.lo - 1e-12).all()
            assert (y <= found.hi + 1e-12).all()


@pytest.mark.parametrize("game", [five_firms(1.1), five_firms(1.3), gnash(), Isoelastic(**FIRMS)])
def test_a_pole_is_multiplied_out(game: Game) -> None:
    """In shares of the total, a formula is itself times a power of the total."""
    formulas = trace(game).formulas
    (field,), others = by_totals(MarketBoxes(trace(game)).conditions.values[:1], formulas.R)
    found = by_shares(field, formulas.Y, others)
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 5.0, (20, *game.leader_shape))
    y = rng.uniform(0.1, 5.0, (20, *game.follower_shape))
    y *= 10.0 ** rng.uniform(-6, 0, (20, 1, 1))
    (rest,) = compile_program([formulas.X], [found.rest])(x)
    W = y.sum(-2, keepdims=True) + rest
    theirs = y.sum(-2, keepdims=True) - y
    (plain,) = compile_program([formulas.Y, others, formulas.X], [field])(y, theirs, x)
    (same,) = compile_program([formulas.Y, others, formulas.X, found.total], [found.formula])(
        y, theirs, x, W
    )
    (scaled,) = compile_program([found.share, found.total, formulas.X], [found.scaled])(y / W, W, x)
    np.testing.assert_allclose(same, plain, rtol=1e-9)
    power = np.log(scaled / plain) / np.log(W)
    np.testing.assert_allclose(power, power.mean(), rtol=1e-6)
    assert power.mean() > 0.5


def test_no_equilibrium_has_a_total_at_a_pole() -> None:
    game = five_firms()
    totals, rng = Totals(trace(game)), np.random.default_rng(0)
    wide = Interval(np.zeros((20, 4, 1)), np.full((20, 4, 1), 150.0))
    for width in (0.0, 1e-3, 10.0):
        first = rng.uniform(0.0, 100.0, (20, 1, 1)) * (rng.random((20, 1, 1)) < 0.7)
        found = totals.narrowed(wide, Interval(first, first + width))
        assert (found.lo.sum((1, 2)) + first.ravel() > 0).all()
        for share in (0.0, 0.5, 1.0):
            y = settle(game, first + width * share).y
            assert (y >= found.lo - 1e-9).all()
            assert (y <= found.hi + 1e-9).all()


@dataclass(frozen=True)
class Spike(Game):
    """A follower with a narrow second peak."""

    height: Follower

    @property
    def leader_action(self) -> Action:
        return Action("price", low=0.0, high=1.0)

    @property
    def follower_action(self) -> Action:
        return Action("y", low=0.0, high=10.0, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return -0.5 * (y - 1) ** 2 + self.height * exp(-(((y - 8) * 100) ** 2))

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return -((x - 0.3) ** 2) + 0 * over_followers(y)


def test_a_follower_that_is_not_concave_is_searched_by_boxes() -> None:
    for height, holds in ((200.0, False), (10.0, True)):
        found = stackel.certify(Spike(height=[height]), [[0.3]], [[1.0]], proof=True)
        assert bool(found) is holds, height


def test_boxes_that_are_spent_leave_the_search_and_a_reason() -> None:
    game = fig3()
    eq = stackel.solve(game, proof=False)
    found = stackel.certify(game, eq.leader_actions, eq.follower_actions, boxes=70)
    assert found.verdict == "searched"
    assert found.proof is not None
    assert found.proof.stuck is not None
    assert "boxes spent" in found.proof.stuck.why


def test_an_interrupt_keeps_what_the_search_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["stackel.certificate.certify"], "prove", interrupted)
    eq = stackel.solve(fig3(), "newton")
    assert eq.certificate is not None
    assert eq.certificate.verdict == "searched"
    assert any("interrupt" in note for note in eq.certificate.notes)
