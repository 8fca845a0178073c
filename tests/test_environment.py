"""The market as an environment for outside agents, and what policies are worth in it."""

import copy
import dataclasses
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from pettingzoo.utils.conversions import aec_to_parallel

import stackel
from problems import Congestion, Duopoly, LinearCournot, LogPricing, PersonalPrices
from stackel import Action, GameError, OptionError, StackelError, learners
from stackel.formulations.vehicular_twins import fig3
from stackel.game.grids import grid_of
from stackel.learners import (
    BestReply,
    Fixed,
    MarketEnv,
    Seat,
    best_replies,
    evaluate,
    parallel_env,
)

GAMES: dict[str, Callable[[], stackel.Game]] = {
    "fig3": fig3,
    "fig3-delay": lambda: fig3(delay=True),
    "personal-prices": lambda: PersonalPrices([3.0, 2.0, 1.0]),  # d = 3
    "cournot": lambda: LinearCournot(3, 4),  # n = 1, three leaders
}
OBSERVE = ("announced", "history")
# Followers see more than leaders: what is announced. PettingZoo keeps a list of its own
# environments that may differ so.
EXPECTED = {"Observations are different shapes", "Agents have different observation space sizes"}


def unexpected(caught: list[warnings.WarningMessage], expected: set[str]) -> list[str]:
    return [str(w.message) for w in caught if not any(e in str(w.message) for e in expected)]


def actions_of(env: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
    spaces = {agent: env.action_space(agent) for agent in env.possible_agents}
    return {agent: rng.uniform(s.low, s.high) for agent, s in spaces.items()}


def play(env: MarketEnv, actions: dict[str, Any]) -> dict[str, np.ndarray]:
    """Play one round; what everybody saw in their turn."""
    seen = {}
    for agent in env.possible_agents:
        assert env.agent_selection == agent
        seen[agent] = env.last()[0]
        env.step(actions[agent])
    return seen


# -- conformance -------------------------------------------------------------------------------


@pytest.mark.parametrize("own_data", [False, True])
@pytest.mark.parametrize("observe", OBSERVE)
@pytest.mark.parametrize("name", GAMES)
def test_pettingzoo_accepts_it(name: str, observe: Any, own_data: bool) -> None:
    game = GAMES[name]()
    options = {"observe": observe, "own_data": own_data, "rounds": 20}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        api_test(MarketEnv(game, **options), num_cycles=30)
        parallel_api_test(parallel_env(game, **options), num_cycles=60)
    same = observe == "history" and not own_data
    assert not unexpected(caught, set() if same else EXPECTED)


@pytest.mark.parametrize("observe", OBSERVE)
@pytest.mark.parametrize("name", GAMES)
def test_seeds_reproduce(name: str, observe: Any) -> None:
    game = GAMES[name]()
    seed_test(lambda: MarketEnv(game, observe=observe), num_cycles=10)
    parallel_seed_test(lambda: parallel_env(game, observe=observe), num_cycles=10)


def test_seeds_differ_and_episodes_go_on() -> None:
    env = MarketEnv(fig3())
    first = []
    for seed in (1, None, 1, None, 2):
        env.reset(seed=seed)
        first.append(env.observe("leader_0"))
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(first[1], first[3])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], first[4])


def test_an_episode_ends_by_truncation() -> None:
    env = MarketEnv(fig3(), rounds=3)
    env.reset(seed=0)
    actions = actions_of(env, np.random.default_rng(0))
    for _ in range(3):
        assert not any(env.truncations.values())
        play(env, actions)
    assert all(env.truncations.values())
    assert not any(env.terminations.values())
    earned = dict(env.rewards)
    for agent in list(env.agents):
        assert env.last()[1:4] == (earned[agent], False, True)
        env.step(None)
    assert not env.agents


# -- rules of the round ------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
def test_rewards_are_the_payoffs(name: str) -> None:
    game = GAMES[name]()
    env = MarketEnv(game)
    env.reset(seed=0)
    rng = np.random.default_rng(1)
    for _ in range(5):
        actions = actions_of(env, rng)
        play(env, actions)
        x = np.stack([actions[a] for a in env.core.leaders], axis=1)
        y = np.stack([actions[a] for a in env.core.followers])
        payoffs = np.asarray(game.follower_payoff(y, y, x))[:, 0]
        for limit in game.follower_limits(y, y, x).values():
            payoffs = np.where((limit <= 0).all(axis=1), payoffs, 0.0)
        assert [env.rewards[a] for a in env.core.leaders] == pytest.approx(
            np.asarray(game.leader_payoff(x, y))[0], rel=1e-12
        )
        assert [env.rewards[a] for a in env.core.followers] == pytest.approx(payoffs, rel=1e-12)


def test_a_follower_that_breaks_its_limit_earns_nothing() -> None:
    env = MarketEnv(fig3(delay=True))
    env.reset(seed=0)
    actions = {a: [0.5] for a in env.core.leaders} | {a: [0.6, 0.6] for a in env.core.followers}
    play(env, actions)
    assert env.rewards["follower_0"] > 0
    env.step([0.5])
    assert not any(env.rewards.values())  # last round's are not given twice
    env.step([0.5])
    for action in ([0.1, 0.1], [0.6, 0.6], [0.6, 0.6]):
        env.step(action)
    assert env.rewards["follower_0"] == 0.0
    assert env.rewards["follower_1"] > 0


@pytest.mark.parametrize("observe", OBSERVE)
def test_who_sees_what_when(observe: Any) -> None:
    env = MarketEnv(fig3(), observe=observe, memory=2)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    before, last, now = (actions_of(env, rng) for _ in range(3))
    for actions in (before, last):
        play(env, actions)
    seen = play(env, now)
    past = [np.concatenate(list(a.values())) for a in (before, last)]  # d = 1: agents in order
    for agent, observation in seen.items():
        expected = list(past)
        if observe == "announced" and agent in env.core.followers:
            expected.append(np.concatenate([now[a] for a in env.core.leaders]))
        assert np.array_equal(observation, np.concatenate(expected)), agent
        assert len(env.layout(agent)) == len(observation)
        assert env.observation_space(agent).contains(observation)


def test_layout_names_every_entry() -> None:
    game = PersonalPrices([3.0, 2.0, 1.0])
    env = MarketEnv(game, memory=1, own_data=True)
    env.reset(seed=0)
    prices = [0.5, 0.6, 0.7]
    bought = {f"follower_{i}": [0.1 * (i + 1)] for i in range(3)}
    play(env, {"leader_0": prices, **bought})
    named = dict(zip(env.layout("follower_1"), env.observe("follower_1"), strict=True))
    expected = {f"leader_0 price[{c}], 1 round ago": p for c, p in enumerate(prices)}
    expected |= {f"{a} purchase, 1 round ago": v[0] for a, v in bought.items()}
    expected |= {f"leader_0 price[{c}], announced": p for c, p in enumerate(prices)}
    assert named == {**expected, "own value": 2.0}


def test_parallel_announces_in_half_rounds() -> None:
    env = parallel_env(fig3(), memory=1)
    observations, infos = env.reset(seed=0)
    nan = np.full(2, np.nan)
    assert {a: i["turn"] for a, i in infos.items()} == {a: "leader" in a for a in env.agents}
    before = observations["leader_0"]
    # The followers' actions do not count yet, and are not looked at.
    actions = {"leader_0": [0.9], "leader_1": [0.8], "follower_0": nan}
    observations, rewards, _, _, infos = env.step(actions)
    assert np.array_equal(observations["leader_0"], before)
    assert observations["follower_2"][-2:].tolist() == [0.9, 0.8]
    assert not any(rewards.values())
    assert [infos[a]["turn"] for a in env.agents] == [False, False, True, True, True]
    bought = {f"follower_{i}": [0.3, 0.4] for i in range(3)}
    with pytest.raises(OptionError, match="no action of follower_1"):
        env.step({"follower_0": [0.3, 0.4]})
    observations, rewards, *_ = env.step(bought)
    turns = MarketEnv(fig3(), memory=1)
    turns.reset(seed=0)
    play(turns, {"leader_0": [0.9], "leader_1": [0.8], **bought})
    assert rewards == turns.rewards
    assert np.array_equal(observations["leader_1"], turns.observe("leader_1"))


def test_history_is_a_simultaneous_game_in_all_three_forms() -> None:
    game, rng = fig3(), np.random.default_rng(0)
    forms = [
        parallel_env(game, observe="history"),
        aec_to_parallel(MarketEnv(game, observe="history")),
    ]
    for env in forms:
        env.reset(seed=3)
    for _ in range(4):
        actions = actions_of(forms[0], rng)
        one, other = (env.step(actions) for env in forms)
        assert dict(one[1]) == dict(other[1])
        for agent in actions:
            assert np.array_equal(one[0][agent], other[0][agent])
    assert not MarketEnv(game).metadata["is_parallelizable"]  # it would hide what is announced


def test_render_is_text() -> None:
    env = MarketEnv(fig3(), render_mode="ansi")
    env.reset(seed=0)
    assert "no round played" in str(env.render())
    play(env, actions_of(env, np.random.default_rng(0)))
    assert "follower_2: bandwidth" in str(env.render())
    assert MarketEnv(fig3()).render() is None
    with pytest.raises(OptionError, match="render_mode = 'human'"):
        MarketEnv(fig3(), render_mode="human")


# -- privacy -----------------------------------------------------------------------------------

PRIVATE = [
    f.name
    for f in dataclasses.fields(fig3())
    if grid_of(get_type_hints(type(fig3()), include_extras=True)[f.name])
]


def perturbed(game: Any, agent: str, *, own: bool) -> list[Any]:
    """The game with the data of others (or the agent's own) changed, a field at a time."""
    side, _, number = agent.partition("_")
    k, out = int(number), []
    for name in PRIVATE:
        value = np.array(getattr(game, name))
        mask = np.zeros(value.shape, dtype=bool)
        if name == "ties":
            if side == "follower":
                mask[k] = mask[:, k] = True
        elif value.shape[1] == 1 and side == "follower":
            mask[k] = True
        elif value.shape[0] == 1 and side == "leader":
            mask[:, k] = True
        mask = mask if own else ~mask
        if name == "ties":
            np.fill_diagonal(mask, False)
        if mask.any():
            out.append(dataclasses.replace(game, **{name: np.where(mask, 1.01 * value, value)}))
    return out


def observations(game: Any, agent: str, own_data: bool) -> np.ndarray:
    """Everything the agent sees in six rounds, at every turn, below its observation space."""
    env = MarketEnv(game, own_data=own_data, follower_high=2.0)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    space = env.observation_space(agent)
    seen = [space.low, space.high, env.observe(agent)]
    for _ in range(6):
        for other in env.possible_agents:
            size = env.action_space(other).shape
            env.step(rng.uniform(0.5, 0.7, size))
            seen.append(env.observe(agent))
    return np.array(seen)


@pytest.mark.parametrize("agent", ["leader_0", "leader_1", "follower_0", "follower_2"])
def test_nobody_sees_the_private_data_of_others(agent: str) -> None:
    game = fig3(delay=True)
    for own_data in (False, True):
        before = observations(game, agent, own_data)
        others = perturbed(game, agent, own=False)
        assert len(others) == len(PRIVATE) == 10
        for other in others:
            assert np.array_equal(observations(other, agent, own_data), before)
    first = MarketEnv(game, follower_high=2.0), MarketEnv(others[0], follower_high=2.0)
    actions = {a: [0.6] if "leader" in a else [0.6, 0.6] for a in first[0].possible_agents}
    for env in first:
        env.reset(seed=0)
        play(env, actions)
    assert first[0].rewards != first[1].rewards  # what changed does matter


@pytest.mark.parametrize("agent", ["leader_0", "follower_2"])
def test_own_data_is_seen_when_asked_for(agent: str) -> None:
    game = fig3(delay=True)
    kept, shown = (observations(game, agent, own_data) for own_data in (False, True))
    assert np.array_equal(shown[:, : kept.shape[1]], kept)
    own = perturbed(game, agent, own=True)
    assert len(own) == (4 if "leader" in agent else 6)  # every field on the agent's side
    for changed in own:
        assert np.array_equal(observations(changed, agent, False), kept)
        after = observations(changed, agent, True)
        assert np.array_equal(after[:, : kept.shape[1]], kept)
        assert not np.array_equal(after, shown)
    names = MarketEnv(game, own_data=True).layout(agent)[kept.shape[1] :]
    fields = {n.removeprefix("own ").partition("[")[0] for n in names}
    assert len(fields) == len(own)


def test_an_agents_own_upper_bound_is_not_told_to_others() -> None:
    env = MarketEnv(Congestion([4.0, 6.0], [0.9, 1.9]))
    assert env.action_space("follower_0").high.tolist() == [0.9]
    assert env.observation_space("leader_0").high.tolist() == [5.0, 2.0, 2.0] * 3


# -- bad input ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Unbounded(Duopoly):
    @property
    def leader_action(self) -> Action:
        return Action("quantity")


@pytest.mark.parametrize(
    ("game", "options", "message"),
    [
        (Unbounded(), {}, "leaders' action 'quantity' has no finite bound"),
        (Duopoly(), {"observe": "everything"}, "observe = 'everything'; expected one of announced"),
        (Duopoly(), {"memory": 0}, "memory = 0; expected a whole number of at least 1"),
        (Duopoly(), {"rounds": 2.5}, "rounds = 2.5"),
        (Duopoly(), {"follower_high": -1.0}, "follower_high = -1.0"),
        (Duopoly(), {"out_of_bounds": "wrap"}, "out_of_bounds = 'wrap'"),
    ],
)
def test_bad_options(game: stackel.Game, options: dict[str, Any], message: str) -> None:
    for make in (MarketEnv, parallel_env, Seat):
        with pytest.raises(OptionError, match=message):
            make(game, **options)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([np.nan], r"price of leader_0 = \[nan\]; expected finite"),
        ([np.inf], "expected finite"),
        ([0.5, 0.5], r"expected the shape \(1,\)"),
        (0.5, "expected the shape"),
        ("high", "expected numbers"),
        (None, "price of leader_0 = None"),
    ],
)
def test_bad_actions(action: Any, message: str) -> None:
    env, seat = MarketEnv(fig3()), Seat(fig3(), "leader_0")
    env.reset(seed=0)
    seat.reset(seed=0)
    for table in (env, seat):
        with pytest.raises(OptionError, match=message):
            table.step(action)


def test_out_of_bounds_is_clipped_or_refused() -> None:
    env = MarketEnv(fig3())
    env.reset(seed=0)
    env.step([7.0])
    assert env.core.x[0, 0] == 1.5
    strict = MarketEnv(fig3(), out_of_bounds="error")
    strict.reset(seed=0)
    with pytest.raises(OptionError, match=r"leader_0 = \[7.0\]; expected \[0.3\] to \[1.5\]"):
        strict.step([7.0])
    strict.step([np.nextafter(np.float32(0.3), np.float32(0.0))])  # only rounded
    assert strict.core.x[0, 0] == 0.3


def test_a_payoff_that_blows_up_is_named() -> None:
    env = MarketEnv(Congestion([4.0, 6.0], [1.0, 2.0]))
    env.reset(seed=0)
    env.step([1.0])
    env.step([1.0])  # its service rate: the queue has no end
    with pytest.raises(GameError, match="follower 0"):
        env.step([1.0])


def test_bad_policies() -> None:
    game = Duopoly()
    fixed = {"leader_0": Fixed([0.5]), "follower_0": Fixed([0.25])}
    for bad, message in (
        ({"leader_0": Fixed([0.5])}, "policies have none for follower_0"),
        ({**fixed, "follower_7": Fixed([0.1])}, "unknown agent 'follower_7'"),
        ({**fixed, "leader_0": 0.5}, "policy of leader_0 = 0.5"),
        ({**fixed, "leader_0": Fixed([np.nan])}, "expected finite"),
        ((0.5, [0.25, 0.1]), r"follower actions = \[0.25, 0.1\]"),
        ("best", "policies = 'best'"),
    ):
        with pytest.raises(OptionError, match=message):
            evaluate(game, bad)
    with pytest.raises(OptionError, match="seed = -1"):
        evaluate(game, fixed, seed=-1)
    with pytest.raises(OptionError, match="unknown agent 'leader_2'"):
        Seat(fig3(), "leader_2")
    with pytest.raises(OptionError, match="none for leader_1"):
        Seat(fig3(), "leader_0", {f"follower_{i}": Fixed([0.3, 0.3]) for i in range(3)})
    with pytest.raises(OptionError, match="others = 'nash'"):
        Seat(fig3(), "leader_0", "nash")


def test_names_load_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, stackel.learners; stackel.learners.evaluate\n"
        "print(*{'torch', 'pettingzoo', 'gymnasium'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stdout.strip()
    assert set(learners.__all__) <= set(dir(learners))
    monkeypatch.setattr("stackel.plugins.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pettingzoo: pip install "stackel\[learn\]"'):
        learners.__getattr__("MarketEnv")
    with pytest.raises(AttributeError, match="no attribute 'Market_env'"):
        learners.__getattr__("Market_env")


# -- a single seat -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "agent"),
    [
        ("fig3", "leader_0"),
        ("fig3-delay", "follower_1"),
        ("personal-prices", "leader_0"),
        ("cournot", "follower_3"),
    ],
)
def test_gymnasium_accepts_a_seat(name: str, agent: str) -> None:
    seat = Seat(GAMES[name](), agent, own_data=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(seat)
    units = {"symmetric and normalized", "having a spec"}  # actions are in the game's units
    assert not unexpected(caught, units)


def test_the_others_at_a_seat_play_the_equilibrium() -> None:
    game = fig3(delay=True)
    eq = stackel.solve(game)
    leader, follower = Seat(game, "leader_1"), Seat(game, "follower_2", rounds=2)
    leader.reset(seed=0)
    reward = leader.step(eq.leader_actions[:, 1])[1]
    assert reward == pytest.approx(eq.leader_payoffs[1], rel=1e-8)
    cheaper = leader.step(eq.leader_actions[:, 1] - 0.1)[1]  # the followers answer it
    assert reward - 0.1 * eq.leader_payoffs[1] < cheaper < reward

    seen, _ = follower.reset(seed=0)
    assert seen[-2:] == pytest.approx(eq.leader_actions[0])  # announced before it acts
    seen, reward, terminated, truncated, _ = follower.step(eq.follower_actions[2])
    assert reward == pytest.approx(eq.follower_payoffs[2], rel=1e-8)
    assert (terminated, truncated) == (False, False)
    assert follower.step(eq.follower_actions[2])[3]


def test_the_others_act_once_a_round() -> None:
    acted = []

    def other(agent: str, observation: np.ndarray) -> list[float]:
        acted.append(agent)
        return [0.9] if "leader" in agent else [0.3, 0.3]

    for agent in ("leader_1", "follower_1"):
        seat = Seat(fig3(), agent, other, rounds=3)
        acted.clear()
        seat.reset(seed=0)
        for _ in range(3):
            seat.step(seat.action_space.sample())
        assert acted == [a for a in seat.core.agents if a != agent] * 3


def test_best_replies_to_what_is_seen() -> None:
    def replies(observe: Any) -> np.ndarray:
        env = MarketEnv(LogPricing([3.0], [0.5]), observe=observe)
        env.reset(seed=0)
        env.step([1.0])
        env.step([0.0])
        env.step([2.0])
        return BestReply(env.core, 0)(env.observe("follower_0"))

    assert replies("announced") == pytest.approx([3.0 / 2.0 - 1.0])
    assert replies("history") == pytest.approx([3.0 / 1.0 - 1.0])


def test_followers_that_do_not_settle_are_reported() -> None:
    game = fig3()
    env = MarketEnv(dataclasses.replace(game, ties=40.0), follower_high=5.0)
    with pytest.raises(StackelError, match="do not settle"):
        best_replies(env.core)["follower_0"](env.observe("follower_0"))


# -- what policies are worth -------------------------------------------------------------------


@pytest.mark.parametrize("name", [*GAMES, "duopoly"])
def test_an_equilibrium_cannot_be_exploited(name: str) -> None:
    game = {**GAMES, "duopoly": Duopoly}[name]()
    eq = stackel.solve(game)
    env = MarketEnv(game)
    leading = {a: Fixed(eq.leader_actions[:, j]) for j, a in enumerate(env.core.leaders)}
    result = evaluate(game, {**leading, **best_replies(env.core)}, rounds=10)
    assert result.certificate.holds
    assert result.exploitability < 1e-6 * result.certificate.leader_scales.max()
    assert result.x == pytest.approx(eq.leader_actions)
    assert result.y == pytest.approx(eq.follower_actions, abs=1e-8)
    assert result.leader_payoffs == pytest.approx(eq.leader_payoffs)
    assert result.policy_regrets == pytest.approx(
        0, abs=1e-6 * result.certificate.leader_scales.max()
    )
    assert result.off_path_regrets == pytest.approx(0, abs=1e-8)
    assert (result.off_path_broken, result.spread) == (0.0, 0.0)
    # Followers that buy the same at any price are worth no less there, but can be exploited.
    constant = evaluate(game, eq, rounds=3)
    assert constant.exploitability == pytest.approx(result.exploitability, abs=1e-6)
    if name.startswith("fig3"):
        assert (constant.policy_regrets > 1).all()
        assert (constant.off_path_regrets > 0.01).all()


def log_pricing(p: float, q: float) -> tuple[float, float]:
    """Payoffs of leader and follower, a = 3 and c = 1/2."""
    return (p - 0.5) * q, 3.0 * np.log(1 + q) - p * q


def best_purchase(p: float) -> float:
    return max(3.0 / p - 1.0, 0.0)


def test_gains_at_a_bad_price_are_the_known_ones() -> None:
    game = LogPricing([3.0], [0.5])  # prices in [0.5, 10]
    result = evaluate(game, (2.0, 0.7), rounds=5)
    follower = log_pricing(2.0, best_purchase(2.0))[1] - log_pricing(2.0, 0.7)[1]
    # The best price is sqrt(a c), which earns (sqrt(a) - sqrt(c))^2; 2 earns 3/4.
    leader = (np.sqrt(3.0) - np.sqrt(0.5)) ** 2 - 0.75
    assert result.follower_regrets == pytest.approx([follower], rel=1e-6)
    assert result.leader_regrets == pytest.approx([leader], rel=1e-6)
    assert result.exploitability == pytest.approx(follower + leader, rel=1e-6)
    # The follower buys 0.7 whatever the price: at the cap that earns the leader most.
    assert result.policy_regrets == pytest.approx([(10.0 - 2.0) * 0.7])
    off = [
        log_pricing(p, best_purchase(p))[1] - log_pricing(p, 0.7)[1]
        for p in np.linspace(0.5, 10.0, 65)
    ]
    assert result.off_path_regrets == pytest.approx([np.mean(off)], rel=1e-6)
    assert result.leader_payoffs == pytest.approx([1.5 * 0.7])
    frame, text = result.to_frame(), result.summary()
    assert frame.loc[("leader", 0), "regret"] == pytest.approx(leader, rel=1e-6)
    assert f"exploitability {result.exploitability:.6g}" in text


def test_a_follower_that_punishes_shows() -> None:
    """It buys its best reply up to a price of 1, and nothing above."""
    game = LogPricing([3.0], [0.5])

    def punish(observation: np.ndarray) -> list[float]:
        return [best_purchase(observation[-1]) if observation[-1] <= 1.0 else 0.0]

    result = evaluate(game, {"leader_0": Fixed([1.0]), "follower_0": punish}, rounds=5)
    gain = (np.sqrt(3.0) - np.sqrt(0.5)) ** 2 - log_pricing(1.0, 2.0)[0]
    assert result.leader_regrets == pytest.approx([gain], rel=1e-6)  # best replies would pay it
    assert result.policy_regrets == pytest.approx([0.0], abs=1e-12)  # this follower does not
    refused = [p for p in np.linspace(0.5, 10.0, 65) if p > 1.0]
    off = sum(log_pricing(p, best_purchase(p))[1] for p in refused) / 65
    assert result.off_path_regrets == pytest.approx([off], rel=1e-6)


def test_history_leaves_deviations_unanswered() -> None:
    game = LogPricing([3.0], [0.5])
    eq = stackel.solve(game)
    price, bought = eq.leader_actions[0, 0], eq.follower_actions[0, 0]
    env = MarketEnv(game, observe="history")
    policies = {"leader_0": Fixed([price]), **best_replies(env.core)}
    result = evaluate(game, policies, observe="history", rounds=5)
    assert result.exploitability < 1e-6
    assert result.policy_regrets == pytest.approx([(10.0 - price) * bought])


def test_limits_broken_off_the_path_are_counted() -> None:
    game = fig3(delay=True)
    eq = stackel.solve(game)
    # The first follower's limit binds, so its purchases break it at some of the other prices.
    result = evaluate(game, eq, rounds=2)
    assert 0.0 < result.off_path_broken < 0.5
    generous = evaluate(game, (eq.leader_actions, eq.follower_actions + 0.5), rounds=2)
    assert generous.off_path_broken == 0.0


def test_play_that_does_not_come_to_rest_shows() -> None:
    def swing(observation: np.ndarray) -> list[float]:
        return [0.6 if observation[-2] < 0.5 else 0.4]  # the other price than last round

    fixed = Fixed([0.25])
    result = evaluate(Duopoly(), {"leader_0": swing, "follower_0": fixed}, rounds=50)
    assert result.spread == pytest.approx(0.2)
    assert result.x == pytest.approx(0.5)
    shared = evaluate(Duopoly(), lambda agent, seen: [0.5] if "leader" in agent else [0.25])
    assert shared.spread == 0.0
    assert shared.exploitability == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("how", ["deepcopy", "cloudpickle"])
def test_a_copied_environment_acts_on_its_own(how: str) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    seat = learners.Seat(fig3(), "leader_0")
    twin = copy.deepcopy(seat) if how == "deepcopy" else None
    twin = twin or cloudpickle.loads(cloudpickle.dumps(seat))
    for one in (seat, twin):
        one.reset(seed=1)
    action = seat.action_space.low + 0.4
    rewards = [one.step(action)[1] for one in (seat, twin)]
    assert rewards[0] == rewards[1] > 0.0
