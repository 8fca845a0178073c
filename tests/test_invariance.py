"""A verdict has no unit: payoffs multiplied or shifted, actions and limits in other units, players
in another order; the same is said, and gaps are the same shares of what is at stake."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stackel
from stackel import Action, Follower, Game, Leader, Pairs, Peers
from stackel.followers import settle
from stackel.functions import log, over_followers, over_leaders

Kind = Literal["capped", "quadratic", "limited"]
Point = tuple["Market", np.ndarray, np.ndarray]

CLOSE = 1e-6
"""How far apart gaps may be, as shares of a player's scale."""

SHIFT = 1e6
"""Most that is added to a payoff, in payoffs: doubles carry 1e-10 of one beside that."""


@dataclass(frozen=True, kw_only=True)
class Market(Game):
    """Buyers whose own purchases are capped, who know each other, or whose sellers have a capacity;
    everything in units of its own."""

    kind: Kind
    value: Pairs
    unit_cost: Leader
    ties: Peers
    cap: Follower
    capacity: Leader
    x_unit: Leader = 1.0
    y_unit: Pairs = 1.0
    cap_unit: Follower = 1.0
    capacity_unit: Leader = 1.0
    follower_size: Follower = 1.0
    leader_size: Leader = 1.0
    follower_shift: Follower = 0.0
    leader_shift: Leader = 0.0

    @property
    def leader_action(self) -> Action:
        return Action("price", low=self.unit_cost * self.x_unit, high=4.0 * self.x_unit)

    @property
    def follower_action(self) -> Action:
        return Action("amount", high=8.0 * self.y_unit if self.kind == "quadratic" else np.inf)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        z, p = y / self.y_unit, x / self.x_unit
        if self.kind == "quadratic":
            known = self.ties @ (rivals / self.y_unit)
            own = over_leaders((self.value + known - p) * z - 0.5 * z * z)
        else:
            own = over_leaders(self.value * log(1 + z) - p * z)
        return own * self.follower_size + self.follower_shift

    def follower_limits(self, y: Any, rivals: Any, x: Any) -> dict[str, Any]:
        if self.kind != "capped":
            return {}
        return {"cap": (over_leaders(y / self.y_unit) - self.cap) * self.cap_unit}

    def leader_limits(self, x: Any, y: Any) -> dict[str, Any]:
        if self.kind != "limited":
            return {}
        return {"capacity": (over_followers(y / self.y_unit) - self.capacity) * self.capacity_unit}

    def leader_payoff(self, x: Any, y: Any) -> Any:
        margin = x / self.x_unit - self.unit_cost
        return over_followers(margin * (y / self.y_unit)) * self.leader_size + self.leader_shift


def drawn(rng: np.random.Generator, kind: Kind) -> Market:
    I, J = int(rng.integers(2, 4)), int(rng.integers(1, 4))
    return Market(
        kind=kind,
        value=rng.uniform(1.5, 6, (I, J)),
        unit_cost=rng.uniform(0.2, 1.0, J),
        ties=rng.uniform(0, 0.3, (I, I)) * (1 - np.eye(I)),
        cap=rng.uniform(0.5, 4, I),
        capacity=rng.uniform(0.5, 3, J),
    )


def point(rng: np.random.Generator, game: Market, off: str) -> Point:
    """The equilibrium; or a leader off it, the followers settled; or the followers off."""
    eq = stackel.solve(game, backend="newton", proof=False, throw=False)
    x, y = np.array(eq.leader_actions), eq.follower_actions
    if off == "a leader":
        j, (low, high) = rng.integers(x.shape[1]), game.leader_bounds
        x[0, j] = np.clip(x[0, j] * rng.uniform(0.7, 1.3), low[0, j], high[0, j])
        y = settle(game, x).y
    elif off == "followers":
        y = y * rng.uniform(0.7, 1.3, y.shape)
    return game, x, y


def changed(rng: np.random.Generator, at: Point, what: str) -> Point:
    """The same point of the same market, stated otherwise."""
    game, x, y = at
    I, J = y.shape[0], x.shape[1]
    factor = 10.0 ** rng.uniform(-12, 12)

    def one(*shape: int) -> np.ndarray:
        out = np.ones(shape)
        out.flat[rng.integers(out.size)] = factor
        return out

    def by(**units: Any) -> Market:
        return replace(game, **{name: getattr(game, name) * v for name, v in units.items()})

    if what == "payoffs":
        return by(follower_size=factor, leader_size=1 / factor), x, y
    if what == "one payoff":
        return by(follower_size=one(I, 1), leader_size=one(1, J)), x, y
    if what == "shift":
        share = SHIFT ** rng.uniform(-0.5, 1.0) * rng.choice([-1, 1])
        here = np.abs(game.follower_payoff(y, y, x)), np.abs(game.leader_payoff(x, y))
        return replace(game, follower_shift=share * here[0], leader_shift=share * here[1]), x, y
    if what == "x":
        unit = factor if rng.random() < 0.5 else one(1, J)
        return by(x_unit=unit), x * unit, y
    if what == "y":
        units = (factor, one(I, 1), one(I, J))
        unit = units[rng.integers(3)]
        return by(y_unit=unit), x, y * unit
    if what == "limits":
        return by(cap_unit=factor, capacity_unit=1 / factor), x, y
    rows, columns = rng.permutation(I), rng.permutation(J)
    moved = replace(
        game,
        value=game.value[np.ix_(rows, columns)],
        unit_cost=game.unit_cost[:, columns],
        ties=np.asarray(game.ties)[np.ix_(rows, rows)],
        cap=game.cap[rows],
        capacity=game.capacity[:, columns],
    )
    return moved, x[:, columns], y[np.ix_(rows, columns)]


def same(seed: int, kind: Kind, off: str, what: str, proof: Any) -> None:
    rng = np.random.default_rng(seed)
    at = point(rng, drawn(rng, kind), off)
    then, now = (stackel.certify(*p, proof=proof) for p in (at, changed(rng, at, what)))
    assert now.verdict == then.verdict, (then.reasons, now.reasons)
    for name in ("relative_leader_gap", "relative_follower_gap", "violation"):
        assert getattr(now, name) == pytest.approx(getattr(then, name), abs=CLOSE), name


CASES = {
    "seed": st.integers(0, 2**32 - 1),
    "kind": st.sampled_from(["capped", "quadratic", "limited"]),
    "off": st.sampled_from(["nobody", "a leader", "followers"]),
    "what": st.sampled_from(["payoffs", "one payoff", "shift", "x", "y", "limits", "order"]),
}


@settings(max_examples=60, derandomize=True, deadline=None)
@given(**CASES)
def test_what_a_search_says_has_no_unit(seed: int, kind: Kind, off: str, what: str) -> None:
    same(seed, kind, off, what, proof=False)


@pytest.mark.parametrize("what", ["payoffs", "one payoff", "shift", "x", "y", "limits", "order"])
@pytest.mark.parametrize(("kind", "seed"), [("capped", 18), ("quadratic", 1), ("limited", 2)])
def test_what_is_proved_has_no_unit(kind: Kind, seed: int, what: str) -> None:
    same(seed, kind, "nobody", what, proof=True)


@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1e6, 1e12])
@pytest.mark.parametrize("what", ["follower_size", "cap_unit"])
def test_answers_are_enclosed_in_any_unit(what: str, factor: float) -> None:
    """A follower at its bound, a cap that binds: multipliers far larger or smaller than actions."""
    rng = np.random.default_rng(18)
    game, x, y = point(rng, drawn(rng, "capped"), "nobody")
    there = replace(game, **{what: getattr(game, what) * factor})
    assert stackel.certify(there, x, y, proof=True).verdict == "proved"
