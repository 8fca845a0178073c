"""Asking: options, restarts, time limits, interruption, refusals, third-party backends."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

import numpy as np
import pytest

import stackel
from problems import DropOut, LogPricing, PersonalPrices
from stackel import Status
from stackel import backend as registry
from stackel.formulations.vehicular_twins import draw, fig3
from stackel.solvers.admm.backend import ADMM
from stackel.solvers.newton import Newton


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "newtn"}, ["unknown backend 'newtn'", "did you mean 'newton'", "admm"]),
        ({"backend": 3}, ["backend = 3", "expected a name"]),
        ({"backend": "admm", "penalti": 2}, ["option", "'penalti'", "did you mean 'penalty'"]),
        ({"backend": "admm", "penalty": -1}, ["penalty = -1", "positive"]),
        ({"backend": "newton", "points": 2}, ["points = 2", "at least 5"]),
        ({"backend": Newton(), "points": 9}, ["points", "Newton(points=...)"]),
        ({"backend": "auto", "penalty": 2}, ["penalty", "'auto'", "name the backend"]),
        ({"anticipation": "some"}, ["anticipation = 'some'", "own_response"]),
        ({"time_limit": 0}, ["time_limit = 0", "positive"]),
        ({"tolerance": 2}, ["tolerance = 2", "between 0 and 1"]),
        ({"restarts": -1}, ["restarts = -1"]),
        ({"start": [0.5]}, ["start", "(1,)", "(1, 2)"]),
        ({"start": [[0.5, 9.0]]}, ["outside the bounds of price"]),
        ({"start": [[0.5, np.nan]]}, ["finite"]),
    ],
)
def test_bad_options(options: dict, words: list[str]) -> None:
    with pytest.raises(stackel.OptionError) as found:
        stackel.solve(fig3(), **options)
    for word in words:
        assert word in str(found.value)


def test_not_a_game() -> None:
    with pytest.raises(stackel.GameError, match=r"expected a stackel\.Game"):
        stackel.solve({"price": 1})  # type: ignore[arg-type]


def test_a_backend_object_is_the_same_as_its_name_and_options() -> None:
    one = stackel.solve(fig3(), ADMM(penalty=5.0))
    other = stackel.solve(fig3(), "admm", penalty=5.0)
    np.testing.assert_array_equal(one.leader_actions, other.leader_actions)
    assert one.stats["options"]["penalty"] == 5.0


def test_start_is_used() -> None:
    eq = stackel.solve(fig3(), "newton", start=[0.95618652, 0.81081216])
    assert eq.stats["newton_steps"] <= 2


def test_local_optima_are_left_for_better_ones() -> None:
    """From a start in the wrong basin the certificate's deviation leads to the global optimum."""
    for start in (1.5, 3.2, 10.0, 25.0):
        eq = stackel.solve(DropOut([20.0, 6.0, 3.0]), "newton", start=[start])
        assert eq.leader_actions[0, 0] == pytest.approx(np.sqrt(13.0), rel=1e-8)
    stuck = stackel.solve(PersonalPrices([3.0, 2.0, 1.0]), "newton", restarts=0, throw=False)
    assert not stuck.is_equilibrium  # it starts where nobody buys: flat, and found out
    assert stackel.solve(PersonalPrices([3.0, 2.0, 1.0]), "newton").stats["restarts"] == 1


def test_certificate_can_be_left_out_and_made_later() -> None:
    eq = stackel.solve(fig3(), "newton", certificate=False)
    assert eq.certificate is None
    assert not eq.is_equilibrium
    assert "verdict  not certified" in eq.summary()
    assert eq.certify().certificate.verdict in ("proved", "searched")


@pytest.mark.parametrize("backend", ["newton", "admm"])
def test_history_is_a_table(backend: str) -> None:
    seen: list[tuple[int, Mapping[str, Any]]] = []
    eq = stackel.solve(fig3(delay=True), backend, callback=lambda k, row: seen.append((k, row)))
    assert len(eq.history) == len(seen) == eq.stats["iterations"]
    assert [k for k, _ in seen] == list(range(1, len(seen) + 1))
    outer = eq.history[eq.history.stage == "outer"]
    np.testing.assert_allclose(outer[["price[0]", "price[1]"]].iloc[-1], eq.leader_actions[0], 1e-6)
    assert (np.diff(eq.history.seconds) >= 0).all()


def test_admm_history_shows_both_residuals_vanish() -> None:
    eq = stackel.solve(fig3(delay=True), "admm")
    inner = eq.history[eq.history.stage == "inner"]
    for residual in ("primal", "dual"):
        assert inner[residual].iloc[-1] < 1e-9
        assert inner[residual].max() > 1e-3
    assert (inner.penalty > 0).all()


@pytest.mark.parametrize("backend", ["newton", "admm", "closed-form"])
def test_time_limit_keeps_the_best_point(backend: str) -> None:
    game = draw(1, 6, 4, delay=backend != "closed-form")
    eq = stackel.solve(game, backend, time_limit=1e-6, throw=False)
    assert eq.status is Status.TIME_LIMIT
    assert np.isfinite(eq.leader_actions).all()
    assert eq.certificate is not None
    with pytest.raises(stackel.NotConverged, match="time limit") as caught:
        stackel.solve(game, backend, time_limit=1e-6)
    assert caught.value.result.status is Status.TIME_LIMIT
    assert np.isfinite(caught.value.result.follower_actions).all()


@pytest.mark.parametrize("backend", ["newton", "admm"])
def test_interruption_keeps_the_best_point(backend: str) -> None:
    """Ctrl-C after the third iteration, from the callback and as a real signal."""

    def interrupt(iteration: int, row: Mapping[str, Any]) -> None:
        if iteration == 3:
            raise KeyboardInterrupt

    eq = stackel.solve(fig3(delay=True), backend, callback=interrupt, throw=False)
    assert eq.status is Status.INTERRUPTED
    assert len(eq.history) == 3
    np.testing.assert_array_equal(eq.leader_actions[0], eq.history.filter(like="price").iloc[-1])
    with pytest.raises(stackel.NotConverged, match="interrupted") as caught:
        stackel.solve(fig3(delay=True), backend, callback=interrupt)
    assert caught.value.result.status is Status.INTERRUPTED
    # What was kept can go on.
    start = caught.value.result.leader_actions
    assert stackel.solve(fig3(delay=True), backend, start=start).is_equilibrium


@pytest.mark.parametrize("backend", ["newton", "auto"])
def test_an_interrupted_restart_ends_the_call(backend: str) -> None:
    """At every callback: of the first attempt, and of those that start from a better deviation."""
    game = PersonalPrices([3.0, 2.0, 1.0])
    rows: list[int] = []
    whole = stackel.solve(game, "newton", callback=lambda k, _: rows.append(k))
    assert whole.stats["restarts"] == 1
    for last in range(1, len(rows) + 1):
        seen: list[int] = []

        def stop(
            iteration: int, row: Mapping[str, Any], seen: Any = seen, last: Any = last
        ) -> None:
            seen.append(iteration)
            if len(seen) == last:
                raise KeyboardInterrupt

        eq = stackel.solve(game, backend, callback=stop, throw=False)
        assert eq.status is Status.INTERRUPTED
        assert len(seen) == last


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals need the main thread"
)
def test_a_real_signal() -> None:
    def kill(iteration: int, row: Mapping[str, Any]) -> None:
        if iteration == 2:
            os.kill(os.getpid(), signal.SIGINT)

    eq = stackel.solve(fig3(delay=True), "admm", callback=kill, throw=False)
    assert eq.status is Status.INTERRUPTED


def test_interrupting_the_certificate_keeps_the_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stackel.results.equilibrium.certify", interrupted)
    eq = stackel.solve(fig3(), "newton", throw=False)
    assert eq.status is Status.INTERRUPTED
    assert "certified" in eq.detail
    np.testing.assert_allclose(eq.leader_actions, [[0.95618652, 0.81081216]], rtol=1e-7)


def test_a_certificate_that_breaks_down_keeps_the_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise np.linalg.LinAlgError("no eigenvalues today")

    monkeypatch.setattr("stackel.results.equilibrium.certify", broken)
    monkeypatch.setattr("stackel.tasks.many.certify_points", broken)
    with pytest.raises(stackel.NotConverged, match="no eigenvalues today") as caught:
        stackel.solve(fig3(), "newton")
    answers = [caught.value.result]
    answers += [error.result for error in stackel.solve_many([fig3()] * 4, "newton")]
    for eq in answers:
        assert eq.status is Status.FAILED
        np.testing.assert_allclose(eq.leader_actions, [[0.95618652, 0.81081216]], rtol=1e-7)


def test_exceptions_survive_pickling() -> None:
    with pytest.raises(stackel.NotConverged) as caught:
        stackel.solve(fig3(), "newton", time_limit=1e-6)
    again = pickle.loads(pickle.dumps(caught.value))
    np.testing.assert_array_equal(again.result.leader_actions, caught.value.result.leader_actions)
    with pytest.raises(stackel.Refusal) as refused:
        stackel.solve(LogPricing([3.0], [0.5]), "closed-form")
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_refusal_reads_well() -> None:
    with pytest.raises(stackel.Refusal) as refused:
        stackel.solve(LogPricing([3.0], [0.5]), "closed-form")
    text = str(refused.value)
    assert text.startswith("backend 'closed-form' cannot solve LogPricing (1 follower, 1 leader):")
    assert "\n  - " in text
    assert "backends that can: newton, admm" in text


# -- backends of third parties ---------------------------------------------------------------------


@dataclass(frozen=True)
class Guess(stackel.Backend):
    """Returns a price that it is told; a stubborn third party."""

    price: float = 1.0
    fail: bool = False

    name: ClassVar[str] = "guess"

    def accepts(self, game: stackel.Game) -> list[str]:
        return [] if game.n_leaders == 1 else ["it knows one leader only"]

    def solve(self, game: stackel.Game, run: stackel.Run) -> stackel.Point:
        from stackel.followers import response

        x = np.full(game.leader_shape, self.price)
        y = response.settle(game, x).y
        run.step(x, y)
        if self.fail:
            raise RuntimeError("out of luck")
        return stackel.Point(x, y)


@dataclass(frozen=True)
class Lacking(stackel.Backend):
    """Needs a package that nobody has."""

    name: ClassVar[str] = "lacking"
    requires: ClassVar[Mapping[str, str]] = {"no_such_package": "quantum"}

    def accepts(self, game: stackel.Game) -> list[str]:
        return []

    def solve(self, game: stackel.Game, run: stackel.Run) -> stackel.Point:
        raise AssertionError("never called")


@pytest.fixture
def third_parties(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {
        name: metadata.EntryPoint(name, f"{__name__}:{kind}", registry.GROUP)
        for name, kind in (("guess", "Guess"), ("lacking", "Lacking"), ("gone", "Gone"))
    }
    monkeypatch.setattr("stackel.plugins.entry_points", lambda group: entries)


@pytest.mark.usefixtures("third_parties")
def test_entry_points_are_found() -> None:
    game = LogPricing([3.0], [0.5])
    eq = stackel.solve(game, "guess", price=np.sqrt(1.5))
    assert eq.certificate.verdict in ("proved", "searched")
    with pytest.raises(stackel.Refusal, match="one leader only"):
        stackel.solve(fig3(), "guess")
    with pytest.raises(stackel.Refusal, match=r'pip install "stackel\[quantum\]"'):
        stackel.solve(game, "lacking")
    with pytest.raises(stackel.StackelError, match="does not load"):
        stackel.solve(game, "gone")
    table = stackel.backends(game)
    assert list(table.index) == [*registry.BUILT_IN, *registry.LEARNERS, "guess", "lacking", "gone"]
    assert table.loc["guess", "can"]
    assert "no_such_package" in table.loc["lacking", "reasons"]
    assert "does not load" in table.loc["gone", "reasons"]


@pytest.mark.usefixtures("third_parties")
def test_nobody_certifies_himself() -> None:
    """A backend that says converged at a bad price is found out; and it is no cycle."""
    with pytest.raises(stackel.NotConverged, match="refuted") as caught:
        stackel.solve(LogPricing([3.0], [0.5]), "guess", price=2.0)
    assert caught.value.result.status is Status.CONVERGED
    assert caught.value.result.certificate.deviation.action[0] == pytest.approx(1.2247, abs=1e-3)


@pytest.mark.usefixtures("third_parties")
def test_a_backend_that_breaks_keeps_its_point() -> None:
    eq = stackel.solve(LogPricing([3.0], [0.5]), "guess", price=2.0, fail=True, throw=False)
    assert eq.status is Status.FAILED
    assert "out of luck" in eq.detail
    assert eq.leader_actions[0, 0] == 2.0
