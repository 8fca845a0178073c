"""What is proved is true, and what is true of small markets is proved."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import stackel
from stackel import Action, Follower, Game, Leader
from stackel.calculus import trace
from stackel.certificate.boxes import MarketBoxes
from stackel.certificate.enclosure import Enclosure
from stackel.followers import settle
from stackel.formulations.cournot_stackelberg import equal_firms
from stackel.formulations.vehicular_twins import draw, fig3
from stackel.functions import exp, log, over_followers, over_leaders


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


MARKETS = {
    "fig3": fig3(),
    "fig3 with delay limits": fig3(delay=True),
    "fig3 as printed": fig3("literal"),
    "edge": EdgeComputing(value=[3.0, 2.0, 5.0], unit_cost=[0.5, 0.8]),
    "cournot": equal_firms(2, 6),
    "cournot with 20 followers": equal_firms(3, 20),
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
    assert proof.assumes


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


@pytest.mark.parametrize("name", ["fig3", "fig3 with delay limits", "edge", "cournot"])
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
