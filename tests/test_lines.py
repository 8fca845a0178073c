"""The search along each leader's own decision ends where no interval could hold a gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel import Action, Game
from stackel.calculus import trace
from stackel.functions import exp, over_followers
from stackel.leaders.deviations import Search
from stackel.leaders.lines import ENOUGH, search_lines

HILL, SECOND = 0.3, 0.7


@dataclass(frozen=True)
class Hills(Game):
    """Every leader has a hill, and beside it another one as high as stated."""

    height: float = 0.0
    leaders: int = 2
    followers: int = 1

    @property
    def leader_action(self) -> Action:
        return Action("place", high=1.0)

    @property
    def follower_action(self) -> Action:
        return Action("answer", high=1.0, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return y - y**2

    def leader_payoff(self, x: Any, y: Any) -> Any:
        second = self.height * exp(-(((x - SECOND) / 0.02) ** 2))
        return second - (x - HILL) ** 2 + 0 * over_followers(y)


def searched(game: Game, places: list[list[float]], enough: float) -> Search:
    def oracle(trials: np.ndarray, element: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full((len(trials), 1, 1), 0.5), np.ones(len(trials), dtype=bool)

    return search_lines(trace(game), np.array(places)[:, None], oracle, enough=enough)


def test_where_everybody_stands_on_top_one_look_tells() -> None:
    short, long = (searched(Hills(), [[HILL, HILL]], enough) for enough in (ENOUGH, 0.0))
    assert short.tried < 0.8 * long.tried
    np.testing.assert_allclose(short.payoff, 0.0, atol=1e-12)
    np.testing.assert_allclose(short.action, HILL, atol=1e-6)


def test_whoever_stands_off_is_led_to_the_top() -> None:
    found = searched(Hills(), [[HILL, 0.45]], ENOUGH)
    np.testing.assert_allclose(found.action, HILL, atol=1e-5)
    np.testing.assert_allclose(found.payoff, 0.0, atol=1e-10)


def test_a_second_hill_that_may_be_higher_is_looked_at() -> None:
    """By less than any grid step shows; the top of the hill is known long before where it is."""
    first = searched(Hills(height=0.1601), [[HILL, HILL]], ENOUGH)
    assert (first.payoff > 5e-5).all()
    np.testing.assert_allclose(first.action, SECOND, atol=1e-3)


def test_elements_end_on_their_own() -> None:
    """Each is searched as far as it would be alone, whatever the others need."""
    places = [[HILL, HILL], [0.1, HILL], [HILL, 0.8], [HILL, HILL]]
    together = searched(Hills(), places, ENOUGH)
    assert len(set(together.tried.tolist())) > 1
    for k, one in enumerate(places):
        alone = searched(Hills(), [one], ENOUGH)
        for name in ("action", "payoff", "tried"):
            assert np.array_equal(getattr(together, name)[k], getattr(alone, name)[0])
