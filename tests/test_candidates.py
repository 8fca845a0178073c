"""Moves that somebody else found are tried where a search of one's own overlooks them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

import numpy as np
import pytest

import stackel
from problems import Budget
from stackel import Action, Game
from stackel import backend as registry
from stackel.calculus import trace
from stackel.certificate import measured
from stackel.certificate.certify import certify_further
from stackel.followers import settle
from stackel.formulations.vehicular_twins import fig3
from stackel.functions import exp, over_followers, over_leaders
from stackel.leaders.deviations import search_candidates

# The packages hand on functions of the modules' names.
certifying = importlib.import_module("stackel.certificate.certify")
comparing = importlib.import_module("stackel.tasks.compare")

HILL, SPIKE, WIDTH = 0.3, 0.7123, 1e-4


@dataclass(frozen=True)
class Spike(Game):
    """Every leader has a hill at 0.3, and a spike of a ten-thousandth of its range at 0.7123 that
    is as high as its rivals stand far out."""

    leaders: int = 2
    decisions: int = 1
    followers: int = 2

    @property
    def leader_action(self) -> Action:
        return Action("place", high=1.0, size=self.decisions)

    @property
    def follower_action(self) -> Action:
        return Action("answer", high=1.0, size=1)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return y - y**2

    def leader_payoff(self, x: Any, y: Any) -> Any:
        place = over_followers(x)  # of all decisions together
        spike = exp(-over_followers(((x - SPIKE) / WIDTH) ** 2))
        hill = -over_followers((x - HILL) ** 2)
        return hill + 2 * (over_leaders(place) - place) * spike + 0 * over_followers(y)


def standing(decisions: int, *places: float) -> tuple[Game, np.ndarray, np.ndarray]:
    """The game, leaders at these places in all their decisions, the followers' answer."""
    game = Spike(decisions=decisions)
    x = np.tile(np.array(places), (decisions, 1))
    return game, x, settle(game, x).y


@pytest.mark.parametrize("decisions", [1, 2])
def test_a_candidate_shows_a_peak_that_the_search_overlooks(decisions: int) -> None:
    game, x, y = standing(decisions, HILL, HILL)
    assert stackel.certify(game, x, y, proof=False).holds
    candidate = np.tile([SPIKE, 0.9], (decisions, 1))
    found = stackel.certify(game, x, y, proof=False, candidates=[candidate])
    assert found.verdict == "refuted"
    assert found.deviation.index == 0
    np.testing.assert_allclose(found.deviation.action, SPIKE, atol=WIDTH)
    after = np.array(x)
    after[:, 0] = found.deviation.action  # the rival stays where it was, not where it is advised
    reached = trace(game).leader_values(after, found.deviation.answer)[0][0]
    assert found.deviation.reached == pytest.approx(reached)
    assert reached == pytest.approx(2 * decisions * HILL - decisions * (SPIKE - HILL) ** 2)


@pytest.mark.parametrize("decisions", [1, 2])
def test_candidates_that_do_not_gain_change_no_verdict(decisions: int) -> None:
    game, x, y = standing(decisions, HILL, HILL)
    known = stackel.certify(game, x, y, proof=False)
    moves = np.random.default_rng(0).uniform(0, 0.7, (5, *x.shape))
    found = stackel.certify(game, x, y, proof=False, candidates=moves)
    assert found.verdict == known.verdict
    assert found.trials > known.trials
    none = stackel.certify(game, x, y, proof=False, candidates=np.zeros((0, *x.shape)))
    assert none.trials == known.trials


@pytest.mark.parametrize("decisions", [1, 2])
def test_candidates_of_one_point_and_of_many(decisions: int) -> None:
    """Each point's certificate is its own, whatever the others try."""
    game, x, y = standing(decisions, HILL, HILL)
    points, answers = np.array([x, x, x + 0.01]), np.array([y, y, y])
    tips = np.array([[x], [np.tile([0.5, SPIKE], (decisions, 1))], [x]])  # (B, K, d, J)
    found = stackel.certify_points(game, points, answers, candidates=tips)
    assert [c.verdict == "refuted" for c in found] == [False, True, True]
    assert found[1].deviation.index == 1
    for k, one in enumerate(found):
        alone = stackel.certify(game, points[k], y, proof=False, candidates=tips[k])
        assert (one.verdict, one.trials) == (alone.verdict, alone.trials)
        np.testing.assert_array_equal(one.leader_gaps, alone.leader_gaps)
    everywhere = stackel.certify_points(game, points[:2], answers[:2], candidates=tips[1])
    assert [c.verdict for c in everywhere] == ["refuted", "refuted"]


def test_candidates_alone_are_no_search_of_the_range() -> None:
    game, x, y = standing(1, HILL, HILL)
    found = stackel.certify(game, x, y, points=0, candidates=[[[0.5, 0.5]]], proof=False)
    assert found.verdict == "local"
    assert not found.global_search
    assert found.trials == 2
    assert measured.CANDIDATES_ALONE in found.notes
    assert not (found.leader_gaps > 0).any()
    with pytest.raises(stackel.OptionError, match="points = 0"):
        stackel.certify(game, x, y, points=0)


def test_candidates_come_in_shapes_that_fit() -> None:
    game, x, y = standing(2, HILL, HILL)
    one = np.tile([SPIKE, SPIKE], (2, 1))
    for shape in ((2, 2), (1, 2, 2), (4,)):
        found = stackel.certify(game, x, y, proof=False, candidates=one.reshape(shape))
        assert found.verdict == "refuted"
    with pytest.raises(ValueError, match=r"candidates have shape \(2, 2\); expected \(K, 2, 2\)"):
        stackel.certify_points(game, [x], [y], candidates=one)
    with pytest.raises(ValueError, match="not finite"):
        stackel.certify(game, x, y, candidates=one * np.nan)
    outside = stackel.certify(game, x, y, points=0, proof=False, candidates=10 * one)
    assert outside.verdict == "local"  # moved to the bound


def test_candidates_meet_the_leaders_limits_and_the_followers() -> None:
    """Where the followers cannot meet their limits no leader can go, candidate or not."""
    game = Budget([6.0, 6.0], [3.0, 100.0], [1.0])
    eq = stackel.solve(game, "newton", proof=False)
    known = eq.certificate
    found = certify_further(game, eq.leader_actions, eq.follower_actions, known, [[[1.0]], [[2.0]]])
    assert found.verdict == known.verdict
    assert found.trials == known.trials + 2


def test_best_among_candidates_is_each_leaders_own() -> None:
    game, x, y = standing(1, HILL, HILL)
    moves = np.array([[[[0.2, SPIKE]], [[SPIKE, 0.5]], [[0.3, 0.3]]]])

    def oracle(trials: np.ndarray, element: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.repeat(y[None], len(trials), 0), np.ones(len(trials), dtype=bool)

    found = search_candidates(trace(game), x[None], oracle, moves)
    np.testing.assert_array_equal(found.action, [[[SPIKE, SPIKE]]])
    assert found.tried == 6
    assert (found.payoff > 0).all()


# -- a certificate that there is already -----------------------------------------------------------


def test_neither_search_nor_proof_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    eq = stackel.solve(fig3(), "newton").certify(proof=True)
    known = eq.certificate
    assert known.verdict == "proved"

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("done again")

    for where, name in ((measured, "search_lines"), (certifying, "prove")):
        monkeypatch.setattr(where, name, never)
    x, y = eq.leader_actions, eq.follower_actions
    found = certify_further(eq.game, x, y, known, [0.9 * x, 1.1 * x])
    assert (found.verdict, found.trials) == ("proved", known.trials + 4)
    assert found.proof is known.proof
    late = certify_further(eq.game, x, y, known, [0.9 * x], seconds=0.0)
    assert (late.verdict, late.trials) == ("proved", known.trials)
    assert "the time limit came before the candidates were tried" in late.notes


@pytest.mark.parametrize("decisions", [1, 2])
def test_a_certificate_is_refuted_by_what_comes_later(decisions: int) -> None:
    game, x, y = standing(decisions, HILL, HILL)
    known = stackel.certify(game, x, y, proof=False)
    found = certify_further(game, x, y, known, [np.full(x.shape, SPIKE)])
    assert found.verdict == "refuted"
    assert found.deviation.player == "leader"
    assert found.trials == known.trials + 2
    assert (found.leader_gaps >= known.leader_gaps).all()
    assert found.notes == known.notes
    np.testing.assert_array_equal(found.resolution, known.resolution)


# -- several backends ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hill(stackel.Backend):
    """Stands on the hill."""

    name: ClassVar[str] = "hill"
    places: ClassVar[tuple[float, float]] = (HILL, HILL)

    def accepts(self, game: Game) -> list[str]:
        return []

    def solve(self, game: Game, run: stackel.Run) -> stackel.Point:
        x = np.tile(np.array(self.places), (game.leader_shape[0], 1))
        run.step(x, settle(game, x).y)
        return stackel.Point(x, settle(game, x).y)


@dataclass(frozen=True)
class Tip(Hill):
    """Leader 0 stands on the spike."""

    name: ClassVar[str] = "tip"
    places: ClassVar[tuple[float, float]] = (SPIKE, HILL)


@dataclass(frozen=True)
class Astray(Hill):
    """Stands beside the hill."""

    name: ClassVar[str] = "astray"
    places: ClassVar[tuple[float, float]] = (0.5, 0.5)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {
        kind.name: metadata.EntryPoint(kind.name, f"{__name__}:{kind.__name__}", registry.GROUP)
        for kind in (Hill, Tip)
    }
    monkeypatch.setattr("stackel.plugins.entry_points", lambda group: entries)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("decisions", [1, 2])
@pytest.mark.parametrize("order", [("hill", "tip"), ("tip", "hill")])
def test_backends_refute_each_other(decisions: int, order: tuple[str, str]) -> None:
    game = Spike(decisions=decisions)
    for name in order:
        assert stackel.solve(game, name, proof=False).is_equilibrium  # each by its own search
    found = stackel.compare(game, order, proof=False)
    assert found.holding == ["tip"]
    assert not found.agree
    hill = found.answers["hill"]
    assert hill.status is stackel.Status.CONVERGED
    assert hill.certificate.verdict == "refuted"
    assert hill.certificate.deviation.index == 0
    np.testing.assert_array_equal(hill.certificate.deviation.action, SPIKE)
    assert "tip alone finds an equilibrium; hill is" in found.verdict
    assert "refuted: leader 0 gains" in found.verdict


@pytest.mark.usefixtures("registered")
def test_answers_that_agree_are_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def asks(game: Game, x: Any, y: Any, known: Any, moves: list[Any], seconds: Any) -> Any:
        asked.append(f"{x.tolist()} tries {len(moves)}")
        return known

    monkeypatch.setattr(comparing, "certify_further", asks)
    assert stackel.compare(Spike(), ["hill", "hill"], proof=False).agree
    assert not asked
    found = stackel.compare(Spike(), ["hill", "hill", Astray()], proof=False)
    assert found.answers["astray"].certificate.verdict == "refuted"  # and needs no other word
    assert asked == [f"{[[HILL, HILL]]} tries 1"] * 2


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of cheese")])
def test_nothing_is_lost_while_answers_are_compared(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(comparing, "certify_further", stop)
    found = stackel.compare(Spike(), ["hill", "tip"], proof=False)
    assert found.holding == ["hill", "tip"]
    for eq in found.answers.values():
        assert any("came before the candidates were tried" in n for n in eq.certificate.notes)


@pytest.mark.usefixtures("registered")
def test_an_interrupted_solve_ends_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Tip, game: Game) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Tip, "accepts", interrupted)
    found = stackel.compare(Spike(), ["hill", "tip", "newton"], proof=False)
    assert list(found.answers) == ["hill"]
    assert found.failed == {"tip": "an interrupt"}
    with pytest.raises(KeyboardInterrupt):
        stackel.compare(Spike(), ["tip", "hill"], proof=False)


@pytest.mark.usefixtures("registered")
def test_what_a_time_limit_leaves_is_for_the_others_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: list[float | None] = []
    real = certifying.certify_further

    def watched(*arguments: Any, **options: Any) -> Any:
        seconds.append(options["seconds"])
        return real(*arguments, **options)

    monkeypatch.setattr(comparing, "certify_further", watched)
    stackel.compare(Spike(), ["hill", "tip"], proof=False)
    stackel.compare(Spike(), ["hill", "tip"], proof=False, time_limit=1000.0)
    assert seconds[:2] == [None, None]
    assert all(0 < s < 1000.0 + comparing.grace(1000.0) for s in seconds[2:])
