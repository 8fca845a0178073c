"""Conformance kits that users run on their own work: a market, a backend.

>>> from stackel.testing import check_game
>>> from stackel.formulations.vehicular_twins import fig3
>>> check_game(fig3())
"""

from __future__ import annotations

import numpy as np

from stackel import backend as registry
from stackel.backend import Backend
from stackel.calculus.batch import together
from stackel.calculus.calculus import trace
from stackel.errors import Refusal, StackelError
from stackel.followers import response
from stackel.game.game import Action, Game
from stackel.game.grids import middle
from stackel.results.equilibrium import NotConverged
from stackel.run import Point, Run, Status
from stackel.tasks.attempts import APART
from stackel.tasks.checks import check
from stackel.tasks.solve import solve
from stackel.types import Array

TRIALS = 8
"""Random profiles at which a market's formulas are compared."""


def check_game(game: Game, *, seed: int = 0) -> None:
    """Check that a market keeps the rules that every backend relies on.

    Formulas run on symbols and on plain NumPy arrays alike, with the right shapes, with batch
    axes in front; a follower's payoff and limits depend on its own action only through its own
    row of ``y`` (the others' actions come through ``rivals``); derivatives agree with differences;
    payoffs are finite inside the bounds; the limits can be met; an equilibrium of the followers
    exists in the middle of the leaders' range.

    Args:
        game: the market.
        seed: of the random profiles.

    Raises:
        GameError: a formula that does not differentiate or run, infeasible limits, ...
        AssertionError: a rule that is broken, and how to mend it.
    """
    for method in ("leader_action", "follower_action"):
        action = getattr(game, method)
        _expect(isinstance(action, Action), f"{method} returns {action!r}; return an Action")
    check(game)
    rng = np.random.default_rng(seed)
    for _ in range(TRIALS):
        trial = _trial(game, rng)
        _check_plain(game, *trial)
        _check_slopes(game, *trial, rng)
    _check_batches(game, rng)
    settled = response.settle(game, middle(*game.leader_bounds))
    _expect(
        bool(settled.converged),
        "the followers cannot be settled in the middle of the leaders' range; are their payoffs "
        "concave in their own action, and is there an equilibrium?",
    )


def _expect(good: bool, otherwise: str) -> None:
    if not good:
        raise AssertionError(otherwise)


def _inside(low: Array, high: Array, rng: np.random.Generator) -> Array:
    centre = middle(low, high)
    low = np.where(np.isfinite(low), low, centre - 1.0)
    high = np.where(np.isfinite(high), high, centre + 1.0)
    return low + (high - low) * rng.uniform(0.2, 0.8, low.shape)


def _trial(game: Game, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Leader actions (d, J), follower actions and rivals' actions (I, n) inside the bounds."""
    x = _inside(*game.leader_bounds, rng)
    y, rivals = (_inside(*game.follower_bounds, rng) for _ in range(2))
    return x, y, rivals


def _formulas(game: Game, x: Array, y: Array, rivals: Array) -> dict[str, Array]:
    """Every formula on plain arrays."""
    values = {
        "follower_payoff": game.follower_payoff(y, rivals, x),
        "leader_payoff": game.leader_payoff(x, y),
    }
    for formula, limits in (
        ("follower_limits", game.follower_limits(y, rivals, x)),
        ("shared_limits", game.shared_limits(y, x)),
        ("leader_limits", game.leader_limits(x, y)),
    ):
        values |= {f"{formula}[{key!r}]": value for key, value in limits.items()}
    name = type(game).__name__
    return {f"{name}.{key}": np.asarray(value, dtype=float) for key, value in values.items()}


def _check_plain(game: Game, x: Array, y: Array, rivals: Array) -> None:
    """On NumPy arrays the formulas must say what their traced twins say."""
    values = _formulas(game, x, y, rivals)
    name = type(game).__name__
    traced = {
        f"{name}.follower_payoff": trace(game).follower_payoffs(y, rivals, x)[:, None],
        f"{name}.leader_payoff": trace(game).leader_values(x, y)[0][None],
    }
    for formula, twin in traced.items():
        _expect(
            np.isfinite(twin).all(),
            f"{formula} is not finite at leader actions {x.tolist()}, follower actions "
            f"{y.tolist()}, inside the bounds; narrow the bounds or mend the formula",
        )
        _expect(
            np.allclose(np.broadcast_to(values[formula], twin.shape), twin, rtol=1e-10, atol=1e-12),
            f"{formula} gives one value on NumPy arrays and another on symbols; does it change "
            "its data, or draw random numbers?",
        )


def _check_slopes(game: Game, x: Array, y: Array, rivals: Array, rng: np.random.Generator) -> None:
    """The traced derivative against a central difference, along a random direction."""
    calculus = trace(game)
    direction = rng.normal(size=y.shape)
    step = 1e-6 * (1 + np.abs(y).max())
    ends = (y + s * step * direction for s in (1, -1))
    ahead, behind = (calculus.follower_payoffs(end, rivals, x) for end in ends)
    slope = -(calculus.system(y, rivals, x, *calculus.zeros(()))[0] * direction).sum(-1)
    difference = (ahead - behind) / (2 * step)
    scale = np.abs(slope).max() + np.abs(ahead).max() + 1e-12
    _expect(
        bool((np.abs(difference - slope) <= 1e-4 * scale).all()),
        f"{type(game).__name__}.follower_payoff: its derivative {slope} differs from its "
        f"differences {difference}; is the formula smooth?",
    )


def _check_batches(game: Game, rng: np.random.Generator) -> None:
    """Batch axes in front must change nothing."""
    some = [_trial(game, rng) for _ in range(3)]
    x, y, rivals = (np.stack(part) for part in zip(*some, strict=True))
    batched = _formulas(game, x, y, rivals)
    for k, one in enumerate(some):
        for formula, value in _formulas(game, *one).items():
            batch = np.broadcast_to(batched[formula], (3, *batched[formula].shape[-2:]))[k]
            _expect(
                np.allclose(batch, value, rtol=1e-10, atol=1e-12),
                f"{formula} changes when batch axes go in front; count axes from the end "
                "(axis=-1 leaders, axis=-2 followers) and keep sums with keepdims=True",
            )


def check_backend(backend: Backend | str, game: Game, *, seed: int = 0) -> None:
    """Check that a backend keeps its side of the contract on a game.

    It states its reasons in sentences; it does not change the game; it returns a finite profile of
    the right shape within the bounds; it converges to a point that the core certifies (or
    refuses); it records history; it stops when its time is up and keeps its point; the same seed
    gives the same answer, and so does a batch of markets like this one.

    Args:
        backend: a backend or a registered name.
        game: a market to try it on.
        seed: of the run.

    Raises:
        OptionError: there is no backend of that name.
        AssertionError: a rule that is broken.
    """
    one = registry.make(backend, {})
    reasons = one.accepts(game)
    _expect(
        isinstance(reasons, list) and all(isinstance(r, str) and r for r in reasons),
        f"{one.name}.accepts returns {reasons!r}; return a list of sentences, empty if it can",
    )
    if reasons:
        try:
            solve(game, one)
        except Refusal as refusal:
            _expect(refusal.reasons == reasons, "the refusal must give the reasons of accepts")
            return
        raise AssertionError(f"{one.name} states reasons against the game and solves it")
    data = {k: np.array(v) for k, v in vars(game).items() if isinstance(v, np.ndarray)}
    answers = []
    for _ in range(2):
        run = Run(seed=seed)
        try:
            point = one.solve(game, run)
        except Refusal as refusal:  # a condition that shows only at the answer
            _expect(bool(refusal.reasons), f"{one.name} refuses at its answer without a reason")
            return
        answers.append(point)
        for what, actions, shape, (low, high) in (
            ("x", point.x, game.leader_shape, game.leader_bounds),
            ("y", point.y, game.follower_shape, game.follower_bounds),
        ):
            value = np.asarray(actions)
            _expect(value.shape == shape, f"{what} has shape {value.shape}, not {shape}")
            slack = 1e-9 * (1 + np.abs(value))
            inside = np.isfinite(value) & (value >= low - slack) & (value <= high + slack)
            _expect(bool(inside.all()), f"{what} is not finite or leaves its bounds: {value}")
        _expect(isinstance(point.status, Status), f"status is {point.status!r}; return a Status")
        _expect(len(run.history) > 0, "no history: call run.step once an iteration")
    for name, before in data.items():
        _expect(np.array_equal(before, vars(game)[name]), f"{one.name} changes the game's {name}")
    first, second = answers
    _expect(
        np.array_equal(first.x, second.x) and np.array_equal(first.y, second.y),
        f"{one.name} gives two answers for one seed; draw random numbers from run.rng only",
    )
    eq = solve(game, one, seed=seed, throw=False)
    _expect(
        eq.status is not Status.CONVERGED or eq.is_equilibrium,
        f"{one.name} says converged, but its point is {eq.certificate}",
    )
    _check_stopping(one, game)
    _check_solve_batch(one, game, first, seed)


def _check_solve_batch(backend: Backend, game: Game, alone: Point, seed: int) -> None:
    whole = together([game] * 3)
    if whole is None:
        return
    points = backend.solve_batch(whole, Run(seed=seed), middle(*whole.leader_bounds))
    if points is None:
        return
    for k in np.flatnonzero(points.solved):
        for what, found, expected in (
            ("x", points.x[k], alone.x),
            ("y", points.y[k], alone.y),
        ):
            _expect(
                np.allclose(found, expected, rtol=APART, atol=APART),
                f"{backend.name}.solve_batch finds {what} = {found.tolist()} where solve finds "
                f"{expected.tolist()}",
            )


def _check_stopping(backend: Backend, game: Game) -> None:
    try:
        eq = solve(game, backend, time_limit=1e-9, throw=False, certificate=False)
    except NotConverged as error:
        eq = error.result
    except StackelError as error:
        raise AssertionError(f"{backend.name} with no time left raises {error!r}") from error
    _expect(
        eq.status in (Status.TIME_LIMIT, Status.CONVERGED),
        f"{backend.name} with no time left ends as {eq.status.name}; call run.step or run.check "
        "in every loop and let stackel.run.Stop pass",
    )
