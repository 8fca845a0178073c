"""The learners: what they are made of, how they are asked, and what bad input says.

Whether they reach the equilibrium takes minutes: tests/test_learning.py, marked slow.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import stackel
from problems import PROBLEMS, Duopoly, LogPricing, PersonalPrices
from stackel import Action, Game
from stackel import backend as registry
from stackel.calculus import trace
from stackel.followers import settle
from stackel.formulations.vehicular_twins import fig3
from stackel.functions import log, over_followers, over_leaders

torch = pytest.importorskip("torch", reason='needs torch: pip install "stackel[learn]"')

from stackel.learners import load_policies, solve_seeds  # noqa: E402
from stackel.learners.backends import MALPPO  # noqa: E402
from stackel.learners.bounds_and_rewards import Market  # noqa: E402
from stackel.learners.malppo import Side, Training, bounded, log_density  # noqa: E402
from stackel.learners.networks import Networks, clip_gradients  # noqa: E402
from stackel.learners.noise import Mirrored  # noqa: E402
from stackel.learners.options import PAPER  # noqa: E402
from stackel.run import Run, Stop  # noqa: E402

QUICK: dict[str, Any] = {
    "episodes": 3,
    "rounds": 6,
    "markets": 4,
    "minibatches": 2,
    "hidden": 16,
    "cells": 8,
}
LEARNERS = list(registry.LEARNERS)


def quick(game: Game, backend: str = "malppo", **options: Any) -> stackel.Equilibrium:
    return stackel.solve(game, backend, **{"seed": 0, **QUICK, **options})


def rows(eq: stackel.Equilibrium) -> Any:
    return eq.history.drop(columns="seconds")


# -- as backends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", LEARNERS)
def test_solve_returns_a_measured_point(backend: str) -> None:
    eq = quick(fig3(delay=True), backend)
    assert eq.status is stackel.Status.TRAINED
    assert eq.certificate is not None
    low, high = eq.game.leader_bounds
    assert ((low <= eq.leader_actions) & (eq.leader_actions <= high)).all()
    assert len(eq.history) == QUICK["episodes"]
    for side in ("leader", "follower"):
        learns = getattr(registry.find(backend)(), f"{side}s") == "learn"
        assert (f"{side}_kl" in eq.history) == learns
        assert (f"{side}_spread" in eq.history) == learns
    per_player = [c for c in eq.history if c.startswith(("leader_rewards", "follower_rewards"))]
    assert len(per_player) == 5
    np.testing.assert_allclose(eq.history[per_player].sum(axis=1), eq.history["total_reward"])


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_every_bounded_problem_trains(problem: Any) -> None:
    game = problem.make()
    if not np.isfinite(game.leader_bounds).all():
        with pytest.raises(stackel.Refusal, match="give low and high in its Action"):
            quick(game)
        return
    eq = quick(game, episodes=1)
    assert eq.leader_actions.shape == game.leader_shape
    assert np.isfinite(eq.follower_actions).all()


def test_followers_that_know_their_best_replies() -> None:
    eq = quick(fig3(), followers="best")
    settled = settle(eq.game, eq.leader_actions)
    np.testing.assert_allclose(eq.follower_actions, settled.y, atol=1e-5)


def test_asked_to_throw_it_throws() -> None:
    with pytest.raises(stackel.NotConverged) as error:
        quick(fig3(), throw=True)
    assert error.value.result.status is stackel.Status.TRAINED


def test_auto_and_compare_leave_learners_alone() -> None:
    eq = stackel.solve(fig3())
    assert eq.backend not in LEARNERS
    assert not set(LEARNERS) & {row.split(":")[0] for row in eq.stats["tried"]}


def test_listing_backends_does_not_load_torch() -> None:
    code = """
        import sys, stackel
        from stackel.formulations.vehicular_twins import fig3
        table = stackel.backends(fig3())
        assert table.loc["malppo", "can"], table
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_a_seed_repeats_and_another_differs() -> None:
    first, again, other = (quick(fig3(), seed=s) for s in (1, 1, 2))
    assert rows(first).equals(rows(again))
    assert (first.leader_actions == again.leader_actions).all()
    assert (first.leader_actions != other.leader_actions).all()


def test_start_is_where_leaders_begin() -> None:
    eq = quick(fig3(), start=[1.2, 0.5], episodes=1, leader_rate=1e-9)
    np.testing.assert_allclose(eq.leader_actions, [[1.2, 0.5]], atol=0.02)


def test_the_reference_gives_distances() -> None:
    eq = quick(fig3(), reference="newton", followers="random")
    target = stackel.solve(fig3(), "newton")
    x = eq.history.filter(like="leader_actions").iloc[-1].to_numpy().reshape(1, 2)
    y = eq.history.filter(like="follower_actions").iloc[-1].to_numpy().reshape(3, 2)
    # Purchases of an unbounded range are measured by each follower's own, prices by their range.
    low, high = target.game.leader_bounds
    size = np.maximum(target.follower_actions, y).max(1, keepdims=True)
    leaders = np.maximum(target.leader_actions - low, x - low)
    apart = max(
        (np.abs(target.leader_actions - x) / np.minimum(leaders, high - low)).max(),
        (np.abs(target.follower_actions - y) / size).max(),
    )
    assert eq.history["distance"].iloc[-1] == pytest.approx(apart)


def test_a_preset_is_a_set_of_options() -> None:
    eq = stackel.solve(fig3(), "malppo", preset="paper", episodes=1, hidden=16, cells=8, seed=0)
    used = eq.stats["options"]
    assert {k: used[k] for k in PAPER if k != "episodes"} == {
        k: v for k, v in PAPER.items() if k != "episodes"
    }
    assert used["episodes"] == 1  # what is given goes before the preset
    assert len(eq.history) == 5  # an update every 20 of 100 rounds


def test_time_limit_and_interruption_keep_the_point(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[float] = []  # the clock moves on with each episode, by 0.4 s
    monkeypatch.setattr("stackel.run.time", SimpleNamespace(perf_counter=lambda: sum(passed)))
    late = quick(
        fig3(), episodes=10_000, time_limit=1.0, callback=lambda k, row: passed.append(0.4)
    )
    assert late.status is stackel.Status.TIME_LIMIT
    assert len(late.history) == 3

    def stop(iteration: int, row: Any) -> None:
        if iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(stackel.NotConverged) as error:
        quick(fig3(), callback=stop)
    assert error.value.result.status is stackel.Status.INTERRUPTED
    assert len(error.value.result.history) == 2


def test_time_limits_are_looked_at_within_an_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learner's first episode with many players can take minutes: the clock is looked at in every
    round, in every minibatch and at every step of a recurrence."""
    looked: list[str] = []
    for module in ("malppo", "many_copies", "networks", "recurrence"):
        monkeypatch.setattr(
            f"stackel.learners.{module}.check_time", lambda m=module: looked.append(m)
        )
    quick(fig3(), episodes=1, window=3)
    counts = {module: looked.count(module) for module in set(looked)}
    assert min(counts[m] for m in ("malppo", "many_copies", "networks", "recurrence")) > 3

    def up() -> None:
        raise Stop(stackel.Status.TIME_LIMIT)

    for module in counts:
        with monkeypatch.context() as patch:
            patch.setattr(f"stackel.learners.{module}.check_time", up)
            assert quick(fig3(), episodes=1, window=3).status is stackel.Status.TIME_LIMIT


# -- what it is made of ----------------------------------------------------------------------------


def networks(players: int = 3, inputs: int = 4, outputs: int = 2) -> Networks:
    rng = torch.Generator().manual_seed(0)
    return Networks(players, inputs, outputs, hidden=16, cells=8, rng=rng)


def test_a_sequence_is_its_steps() -> None:
    nets = networks()
    seen = torch.randn(7, 5, 4, generator=torch.Generator().manual_seed(1))
    whole = nets(seen, nets.start(5))
    state = nets.start(5)
    for t in range(7):
        out, state = nets.step(seen[t], state)
        torch.testing.assert_close(out, whole[:, t])


def test_players_do_not_mix() -> None:
    nets = networks()
    out = nets(torch.randn(3, 5, 4), nets.start(5))
    out[1].square().sum().backward()
    for name, p in nets.named_parameters():
        assert p.grad is not None
        assert not p.grad[[0, 2]].any(), name
        assert p.grad[1].any(), name


def test_gradients_are_clipped_player_by_player() -> None:
    p = torch.nn.Parameter(torch.zeros(2, 3))
    p.grad = torch.tensor([[3.0, 0.0, 4.0], [0.1, 0.0, 0.0]])
    clip_gradients([p], 1.0)
    torch.testing.assert_close(p.grad.norm(dim=1), torch.tensor([1.0, 0.1]))


def test_log_density_is_the_gaussian_of_the_unclipped_action() -> None:
    mean, spread = torch.randn(3, 4, 5, 2), torch.rand(3, 1, 2) + 0.1
    action = mean + 3 * torch.randn_like(mean)
    normal = torch.distributions.Normal(mean, spread.unsqueeze(1))
    constant = np.log(2 * np.pi)  # two decisions
    torch.testing.assert_close(
        log_density(action, mean, spread) - constant, normal.log_prob(action).sum(-1)
    )


@pytest.mark.parametrize(("decisions", "copies"), [(8, 64), (8, 16), (3, 1), (20, 8), (5, 12)])
def test_noise_is_normal_and_mirrored(decisions: int, copies: int) -> None:
    rng = torch.Generator().manual_seed(0)
    mirrored = Mirrored(decisions, copies, rng)
    draws = torch.stack([mirrored.draw() for _ in range(4000)]).numpy()
    assert draws.shape == (4000, decisions, copies)
    some = draws[:, :, -1]
    np.testing.assert_allclose(some.mean(axis=0), 0.0, atol=0.08)
    np.testing.assert_allclose(some.var(axis=0), 1.0, atol=0.12)
    np.testing.assert_allclose((some**4).mean(axis=0), 3.0, atol=0.7)  # the normal's
    np.testing.assert_allclose(np.corrcoef(some.T) - np.eye(decisions), 0.0, atol=0.08)
    if copies & (copies - 1) == 0 and decisions < copies:
        signs = np.sign(draws[0])
        np.testing.assert_allclose(signs @ signs.T, copies * np.eye(decisions))
        np.testing.assert_allclose(signs.sum(axis=1), 0.0)


def test_means_can_reach_corners() -> None:
    out = bounded(torch.tensor([-100.0, 0.0, 0.1, 100.0]))
    assert out[0] < -1 < 1 < out[3]
    assert abs(float(out[2]) - 0.1) < 1e-3


@pytest.mark.parametrize("window", [0, 3])
def test_advantages_are_gae(window: int) -> None:
    settings = MALPPO(**{**QUICK, "window": window, "gamma": 0.9, "trace": 0.8})
    training = Training(settings, fig3(), Run(seed=0))
    side = training.followers
    training.table.reset(training.leaders, side)
    _, e = training.table.play(training.leaders, side, settings.rounds)
    side._learn_scale(e.rewards, 1.0)
    values = (side.values(e.seen) * side.size + side.mean).detach().numpy()
    rewards = e.rewards.numpy()
    T = settings.rounds
    expected = np.zeros_like(rewards)
    for t in range(T):  # Schulman et al. (16), term by term
        for s in range(t, T):
            delta = rewards[:, s] + 0.9 * values[:, s + 1] - values[:, s]
            expected[:, t] += (0.9 * 0.8) ** (s - t) * delta
    expected -= expected.mean(axis=(1, 2), keepdims=True)
    expected /= expected.std(axis=(1, 2), keepdims=True, ddof=1)
    advantages, _ = side.advantages(e)
    np.testing.assert_allclose(advantages.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("window", [0, 3])
def test_what_was_played_is_what_is_learned_from(window: int) -> None:
    """Log-probabilities recomputed from the experience are those of the actions when taken."""
    settings = MALPPO(**{**QUICK, "window": window})
    training = Training(settings, fig3(), Run(seed=0))
    training.table.reset(training.leaders, training.followers)
    for _ in range(2 if window else 1):
        played = training.table.play(training.leaders, training.followers, 6)
        for side, e in zip((training.leaders, training.followers), played, strict=True):
            mean = bounded(side.outputs(side.actor, e.seen[:-1]))
            log = log_density(e.actions, mean, side.spread)
            torch.testing.assert_close(log, e.log_probability, atol=1e-4, rtol=1e-4)


def test_followers_see_the_announced_prices_or_not() -> None:
    for observe in ("announced", "history"):
        training = Training(MALPPO(**{**QUICK, "observe": observe}), fig3(), Run(seed=0))
        training.table.reset(training.leaders, training.followers)
        leading, following = training.table.play(training.leaders, training.followers, 6)
        prices = leading.actions.clamp(-1, 1)[..., 0].permute(1, 2, 0)
        shown = following.seen[:-1, :, :2]
        assert torch.equal(prices, shown) == (observe == "announced")
        torch.testing.assert_close(leading.seen[1:-1, :, :2], 0.1 * prices[:-1])


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_rewards_on_tensors_are_the_same(problem: Any) -> None:
    game = problem.make()
    if not np.isfinite(game.leader_bounds).all():
        pytest.skip("the leaders' actions are unbounded")
    market = Market(game)
    rng = np.random.default_rng(0)
    x = market.leader_actions(rng.uniform(-0.9, 0.9, (50, *game.leader_shape)))
    y = market.follower_actions(rng.uniform(-0.9, 0.9, (50, *game.follower_shape)))
    theirs, mine = market.rewards(x, y)
    for ours, tensor in zip(
        (theirs, mine), market.tensor_rewards(torch.as_tensor(x), torch.as_tensor(y)), strict=True
    ):
        np.testing.assert_allclose(tensor.numpy(), ours, rtol=1e-9, atol=1e-12)


def test_a_broken_limit_pays_nothing() -> None:
    game = fig3(delay=True)
    market = Market(game)
    x = np.array([[0.9, 0.8]])
    y = np.array([[0.1, 0.1], [0.3, 0.3], [0.4, 0.4]])  # too little for the first one's delay
    _, mine = market.rewards(x, y)
    payoffs = trace(game).follower_payoffs(y, y, x)
    assert mine[0] == 0.0
    assert payoffs[0] != 0.0
    np.testing.assert_allclose(mine[1:], payoffs[1:])


# -- checkpoints -----------------------------------------------------------------------------------


class Killed(Exception):
    pass


@pytest.mark.parametrize("options", [{}, {"window": 3, "update_every": 3, "gamma": 0.9}])
def test_resuming_is_exact(tmp_path: Path, options: dict[str, Any]) -> None:
    def die(iteration: int, row: Any) -> None:
        if iteration == 3:
            raise Killed

    whole = quick(fig3(), episodes=5, **options)
    kept = {"checkpoint": str(tmp_path / "training.pt"), "checkpoint_every": 1, **options}
    with pytest.raises(Killed):
        quick(fig3(), episodes=5, callback=die, **kept)
    resumed = quick(fig3(), episodes=5, **kept)
    assert rows(resumed).equals(rows(whole))
    assert (resumed.leader_actions == whole.leader_actions).all()
    assert (resumed.follower_actions == whole.follower_actions).all()


def test_killed_and_resumed_is_bit_identical(tmp_path: Path) -> None:
    code = f"""
        import os, signal, sys, stackel
        from stackel.formulations.vehicular_twins import fig3
        def die(iteration, row):
            if iteration == 7:
                os.kill(os.getpid(), signal.SIGKILL)
        stackel.solve(fig3(), "malppo", seed=3, episodes=12, rounds=6, markets=4, minibatches=2,
            hidden=16, cells=8, checkpoint={str(tmp_path / "t.pt")!r}, checkpoint_every=2,
            callback=die)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    options = {"seed": 3, "episodes": 12}
    resumed = quick(fig3(), checkpoint=str(tmp_path / "t.pt"), checkpoint_every=2, **options)
    whole = quick(fig3(), **options)
    assert rows(resumed).equals(rows(whole))
    assert (resumed.leader_actions == whole.leader_actions).all()


def test_wrong_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.pt"
    quick(fig3(), checkpoint=str(path))
    with pytest.raises(stackel.OptionError, match="another market"):
        quick(fig3(delay=True), checkpoint=str(path))
    with pytest.raises(stackel.OptionError, match=r"gamma = 0\.0, not 0\.5"):
        quick(fig3(), checkpoint=str(path), gamma=0.5)
    with pytest.raises(stackel.OptionError, match="another market"):
        load_policies(path, fig3(delay=True))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(stackel.OptionError, match="not a checkpoint"):
        quick(fig3(), checkpoint=str(path))
    path.write_text("hello")
    with pytest.raises(stackel.OptionError, match="not a checkpoint"):
        quick(fig3(), checkpoint=str(path))
    with pytest.raises(stackel.OptionError, match="folder that exists"):
        quick(fig3(), checkpoint=str(tmp_path / "nowhere" / "training.pt"))
    with pytest.raises(stackel.OptionError, match="no checkpoint"):
        load_policies(tmp_path / "none.pt", fig3())


def test_more_episodes_go_on_from_a_finished_training(tmp_path: Path) -> None:
    path = str(tmp_path / "training.pt")
    first = quick(fig3(), checkpoint=path)
    more = quick(fig3(), checkpoint=path, episodes=5)
    assert len(more.history) == 5
    assert rows(more).iloc[:3].equals(rows(first))


@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("observe", ["announced", "history"])
def test_policies_from_a_checkpoint_play_the_answer(
    tmp_path: Path, window: int, observe: str
) -> None:
    pytest.importorskip("pettingzoo")
    from stackel.learners import evaluate

    path = tmp_path / "training.pt"
    eq = quick(fig3(), checkpoint=str(path), window=window, observe=observe)
    policies = load_policies(path, fig3())
    assert list(policies) == ["leader_0", "leader_1", "follower_0", "follower_1", "follower_2"]
    found = evaluate(fig3(), policies, rounds=40, memory=10, observe=observe)
    np.testing.assert_allclose(found.x, eq.leader_actions, rtol=1e-3)
    np.testing.assert_allclose(found.y, eq.follower_actions, rtol=1e-3)


def test_policies_want_the_environment_they_were_trained_in(tmp_path: Path) -> None:
    path = tmp_path / "training.pt"
    quick(fig3(), checkpoint=str(path))
    with pytest.raises(stackel.OptionError, match="own_data=False"):
        load_policies(path, fig3())["leader_0"](np.zeros(7))


# -- around it -------------------------------------------------------------------------------------


def test_seeds_in_parallel_are_the_seeds_alone(tmp_path: Path) -> None:
    found = solve_seeds(fig3(), seeds=[5, 2], workers=2, checkpoints=tmp_path / "runs", **QUICK)
    for seed, eq in zip([5, 2], found, strict=True):
        alone = quick(fig3(), seed=seed)
        assert (eq.leader_actions == alone.leader_actions).all()
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["seed-2.pt", "seed-5.pt"]


def test_tensorboard(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    eq = quick(fig3(), tensorboard=str(tmp_path))
    log = events.EventAccumulator(str(tmp_path))
    log.Reload()
    logged = [e.value for e in log.Scalars("total_reward")]
    np.testing.assert_allclose(logged, eq.history["total_reward"], rtol=1e-6)


# -- bad input -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Odd(Game):
    """Followers whose payoff can be made to break down."""

    price_cap: float = 1.0
    shift: float = 1.0
    most: float = 1.0

    @property
    def leader_action(self) -> Action:
        return Action("price", high=self.price_cap)

    @property
    def follower_action(self) -> Action:
        return Action("purchase", high=self.most)

    def follower_payoff(self, y: Any, rivals: Any, x: Any) -> Any:
        return over_leaders(log(self.shift + y) - x * y)

    def leader_payoff(self, x: Any, y: Any) -> Any:
        return over_followers(x * y)


def test_unbounded_actions_are_refused() -> None:
    with pytest.raises(stackel.Refusal, match="leaders' action 'price' has no finite bound"):
        quick(Odd(price_cap=np.inf))
    with pytest.raises(stackel.Refusal, match="no upper bound"):  # free goods: no end to demand
        quick(Odd(most=np.inf))
    assert quick(Odd(most=np.inf), follower_high=2.0).follower_actions <= 2.0


def test_rewards_that_are_no_numbers_name_player_and_actions() -> None:
    with pytest.raises(stackel.GameError, match=r"follower_payoff = -?(inf|nan) for follower 0"):
        quick(Odd(shift=-0.4))


def test_cuda_must_be_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(stackel.OptionError, match="no CUDA device"):
        quick(fig3(), device="cuda")
    with pytest.raises(stackel.OptionError, match='expected "cpu" or "cuda"'):
        quick(fig3(), device="quantum")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("episodes", 0),
        ("rounds", 2.5),
        ("markets", -1),
        ("gamma", 1.0),
        ("rate", 0.0),
        ("observe", "everything"),
        ("followers", "clever"),
        ("minibatches", 0),
        ("update_every", 4),
        ("update_every", 3),
        ("follower_high", [-1.0]),
    ],
)
def test_options_are_checked(option: str, value: Any) -> None:
    with pytest.raises((stackel.OptionError, stackel.Refusal), match=option):
        quick(fig3(), **{option: value})


def test_unknown_names() -> None:
    with pytest.raises(stackel.OptionError, match="malppo"):
        stackel.solve(fig3(), "malpo")
    with pytest.raises(stackel.OptionError, match="paper"):
        stackel.solve(fig3(), "malppo", preset="papers")
    with pytest.raises(stackel.OptionError, match="seeds"):
        solve_seeds(fig3(), seeds=[-1])
    with pytest.raises(stackel.OptionError, match="episodes"):
        solve_seeds(fig3(), episode=3)
    with pytest.raises(stackel.Refusal, match="own_response"):
        quick(fig3(), anticipation="own_response")


def test_several_decisions_a_player() -> None:
    game = next(p.make() for p in PROBLEMS if p.name == "personal-prices")
    assert isinstance(game, PersonalPrices)
    side = Training(MALPPO(**QUICK), game, Run(seed=0)).leaders
    assert isinstance(side, Side)
    assert side.spread.shape == (game.n_leaders, 1, game.leader_shape[0])


def test_a_fixed_action_trains() -> None:
    eq = quick(LogPricing([3.0], [2.0], cap=2.0))
    assert eq.leader_actions.item() == 2.0


def test_learned_slopes_are_the_policies(tmp_path: Path) -> None:
    """The recorded slope is the change of the trained followers' answers with the price."""
    eq = quick(Duopoly(), episodes=30)
    assert eq.history.filter(like="follower_slope").abs().to_numpy().max() > 0


def test_options_may_be_numpys_and_paths(tmp_path: Path) -> None:
    options: dict[str, Any] = {"markets": np.int64(16), "checkpoint": tmp_path / "training.pt"}
    first = quick(fig3(), **options)
    again = quick(fig3(), **options)  # read back: there is nothing left to do
    assert np.array_equal(first.leader_actions, again.leader_actions)
    with pytest.raises(stackel.OptionError, match="checkpoint = 3; expected a path"):
        quick(fig3(), checkpoint=3)
