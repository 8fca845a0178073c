"""What policies are worth, whoever learned them: the profile they play, measured."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel.backend import check_range
from stackel.calculus.calculus import trace
from stackel.certificate.certificate import Certificate
from stackel.certificate.certify import certify
from stackel.followers.response import reply
from stackel.game.game import Game
from stackel.learners.bounds_and_rewards import SLACK
from stackel.learners.one_copy import Observe, Rounds, numbered
from stackel.learners.players import Policy, policies_of
from stackel.types import Array

if TYPE_CHECKING:
    import pandas as pd


LAST = 0.2
"""The share of the rounds, at the end, whose mean is the profile."""

POINTS = 65
"""Actions that each leader tries against the followers' policies, for each of its decisions."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What policies are worth. Players are counted from 0, payoffs are in the game's units.

    *At the profile*, from its certificate: ``follower_regrets`` is what each follower would gain by
    its best reply at the prices played, the others' actions held; ``leader_regrets`` what each
    leader would gain by its best own action, the others held *and the followers re-settled*. Their
    sum, ``exploitability``, is NashConv (Lanctot et al., A unified game-theoretic approach to
    multiagent reinforcement learning, NeurIPS 2017) of the Stackelberg game: 0 exactly at an
    equilibrium.

    *Against the policies*: a profile can be an equilibrium although the policies that play it are
    not. ``policy_regrets`` is the most that each leader would earn more in the round after play
    ended if it acted otherwise in it, over a grid of its own action, the other leaders acting by
    their policies and the followers answering by theirs. Large values show followers that do not
    defend themselves (that buy on whatever the price, say); smaller ones than ``leader_regrets``,
    followers that punish where best replies would not. With ``observe="history"`` followers cannot
    answer the deviation in its round: it is then a gain in the simultaneous game.

    *Off the path*: ``off_path_regrets`` is each follower's regret as above, at the prices of that
    grid and the purchases that the policies answer with, on average; ``off_path_broken`` the share
    of these answers that break a limit.

    Attributes:
        game: the market.
        x, y: the profile: leader actions (d, J) and follower actions (I, n), the mean of the last
            fifth of the rounds.
        leader_payoffs, follower_payoffs: of the profile, (J,) and (I,).
        certificate: of the profile.
        policy_regrets: (J,)
        off_path_regrets: (I,), NaN for a follower whose best replies could not be solved.
        off_path_broken: between 0 and 1.
        spread: most that any action varied over those last rounds, in its own unit; where it is
            large, the profile is an average over play that did not come to rest.
        rounds: how many were played.
    """

    game: Game
    x: Array
    y: Array
    leader_payoffs: Array
    follower_payoffs: Array
    certificate: Certificate
    policy_regrets: Array
    off_path_regrets: Array
    off_path_broken: float
    spread: float
    rounds: int

    @property
    def leader_regrets(self) -> Array:
        """(J,), with the followers re-settled."""
        return self.certificate.leader_gaps

    @property
    def follower_regrets(self) -> Array:
        """(I,), with everybody else held."""
        return self.certificate.follower_gaps

    @property
    def exploitability(self) -> float:
        """The sum of all players' unilateral gains at the profile, at least 0."""
        return float(self.leader_regrets.sum() + self.follower_regrets.sum())

    def to_frame(self) -> pd.DataFrame:
        """One row a player: actions, payoff, regret, and regret against or off the policies.

        Payoffs and regrets are in units of payoff, actions in the unit of the market's action.
        """
        import pandas as pd  # slow to import, and few calls need it

        leaders = numbered(self.game.leader_action.name, self.x)
        leaders |= {"payoff": self.leader_payoffs, "regret": self.leader_regrets}
        leaders |= {"regret against policies": self.policy_regrets}
        followers = numbered(self.game.follower_action.name, self.y.T)
        followers |= {"payoff": self.follower_payoffs, "regret": self.follower_regrets}
        followers |= {"regret off path": self.off_path_regrets}
        sides = {"leader": pd.DataFrame(leaders), "follower": pd.DataFrame(followers)}
        return pd.concat(sides, names=["player", "index"])

    def summary(self) -> str:
        """Everything as text, for a terminal."""
        table = self.to_frame().to_string(float_format=lambda v: f"{v:.6g}", na_rep="")
        return (
            f"{self.game}: {self.rounds} rounds played\n\n{table}\n\n"
            f"exploitability {self.exploitability:.6g}, the sum of all regrets\n"
            f"certificate: {self.certificate}\n"
            f"off the path {self.off_path_broken:.1%} of the followers' answers break a limit\n"
            f"actions varied by up to {self.spread:.3g} over the last rounds"
        )

    def __repr__(self) -> str:
        return f"<Evaluation of {self.game}: exploitability {self.exploitability:.6g}>"


def evaluate(
    game: Game,
    policies: Any,
    *,
    observe: Observe = "announced",
    memory: int = 3,
    rounds: int = 50,
    own_data: bool = False,
    seed: int = 0,
    follower_high: Any = None,
) -> Evaluation:
    """Play deterministic policies and measure what they play.

    Args:
        game: the market; its leaders' actions must be bounded.
        policies: a mapping from every agent (``"leader_0"``, ..., ``"follower_0"``, ...) to a
            callable from its observation to its action, both as in
            :class:`~stackel.learners.MarketEnv`; or one callable ``(agent, observation) ->
            action``; or an :class:`~stackel.Equilibrium` or a pair ``(x, y)`` of leader and
            follower actions, played constantly (followers that never answer: regrets against such
            policies are large even at an equilibrium).
        observe, memory, own_data, follower_high: as for :class:`~stackel.learners.MarketEnv`; what
            the policies expect to see.
        rounds: how many to play.
        seed: of the rounds before the first, which are drawn at random.

    Raises:
        OptionError: a bad option, an agent without a policy, an action that is not numbers, of a
            wrong shape or NaN. Finite actions out of bounds are clipped, as the environment does.
        GameError: a payoff that is not a number.
        StackelError: a policy's own, as of best replies that do not exist.
    """
    core = Rounds(
        game,
        observe=observe,
        memory=memory,
        rounds=rounds,
        own_data=own_data,
        follower_high=follower_high,
    )
    whole = isinstance(seed, Integral) and seed >= 0
    check_range("seed", seed, "a whole number of at least 0", whole)
    players = policies_of(core, policies, core.agents)
    core.reset(np.random.default_rng(seed))
    played = []
    for _ in range(rounds):
        played.append(_acts(core, players))
        core.finish()
    last = played[-max(1, round(LAST * rounds)) :]
    xs, ys = (np.stack(part) for part in zip(*last, strict=True))
    x, y = xs.mean(axis=0), ys.mean(axis=0)
    policy_regrets, off_path, broken = _against_policies(core, players)
    return Evaluation(
        game=game,
        x=x,
        y=y,
        leader_payoffs=np.array(trace(game).leader_values(x, y)[0]),
        follower_payoffs=np.array(trace(game).follower_payoffs(y, y, x)),
        certificate=certify(game, x, y),
        policy_regrets=policy_regrets,
        off_path_regrets=off_path,
        off_path_broken=broken,
        spread=float(max(np.ptp(xs, axis=0).max(), np.ptp(ys, axis=0).max())),
        rounds=rounds,
    )


def _acts(core: Rounds, players: dict[str, Policy]) -> tuple[Array, Array]:
    """What everybody does in a round (d, J) and (I, n), which is not over yet."""
    core.lead(players)
    core.follow(players)
    return core.x.copy(), core.y.copy()


def _against_policies(core: Rounds, players: dict[str, Policy]) -> tuple[Array, Array, float]:
    """Leaders' regrets in one more round, followers' mean regrets in it, and broken answers."""
    market, game = core.market, core.market.game
    calculus = trace(game)
    x, y = _acts(core, players)
    trials = _trials(core, x)
    answers = np.empty((len(trials), *y.shape))
    for k, trial in enumerate(trials):
        core.x[...] = trial
        core.announce()
        core.follow(players)
        answers[k] = core.y
    usual = market.rewards(x, y)[0]
    by_mover = market.rewards(trials, answers)[0].reshape(-1, game.n_leaders, game.n_leaders)
    best = np.diagonal(by_mover, axis1=1, axis2=2).max(axis=0)

    now = calculus.follower_payoffs(answers, answers, trials)
    replies = reply(game, trials, answers)
    could = calculus.follower_payoffs(replies.y, answers, trials)
    solved = replies.converged
    regrets = np.where(solved, np.maximum(could - now, 0.0), 0.0).sum(axis=0)
    with np.errstate(invalid="ignore"):  # NaN for a follower whose replies are nowhere solved
        off_path = regrets / solved.sum(axis=0)
    lam, mu = calculus.zeros((len(trials),))
    _, own, shared = calculus.system(answers, answers, trials, lam, mu)
    broken = (own > SLACK).any(axis=-1) | (shared > SLACK).any(axis=-1, keepdims=True)
    return np.maximum(best - usual, 0.0), off_path, float(broken.mean())


def _trials(core: Rounds, x: Array) -> Array:
    """Leader profiles (T, d, J) in which one leader moves one decision, leaders innermost."""
    market, (d, J) = core.market, x.shape
    low, high = market.leader_low, market.leader_high
    grid = low + (high - low) * np.linspace(0.0, 1.0, POINTS)[:, None, None]
    out = np.broadcast_to(x, (POINTS, d, J, d, J)).copy()
    c, j = np.indices((d, J))
    out[:, c, j, c, j] = grid
    return out.reshape(-1, d, J)
