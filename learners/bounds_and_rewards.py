"""A market played in rounds, thousands of copies at once: bounds, scaling and rewards.

A round: the leaders act, the followers see what was announced and act, everybody is rewarded.
Nothing carries over from one round to the next but what the players remember, so a copy of the
market is one batch element, and a round of all copies is one evaluation of the game's formulas:
compiled NumPy on the CPU, the formulas themselves on tensors elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from stackel.backend import check_range
from stackel.calculus.calculus import trace
from stackel.calculus.program import compile_program
from stackel.errors import GameError, OptionError
from stackel.followers.response import settle
from stackel.game.game import Game
from stackel.game.grids import SparseOperator
from stackel.memo import Memo
from stackel.types import Array

ROOM = 1.5
"""How far beyond the largest equilibrium reply found a follower without a bound may explore."""

SLACK = 1e-9
"""A limit counts as broken when exceeded by more than this."""


class Market(Memo):
    """Many copies of one game.

    Attributes:
        game: the market.
        leader_low, leader_high: bounds of the leaders' actions (d, J).
        follower_low, follower_high: bounds of the followers' actions (I, n), finite.
    """

    def __init__(self, game: Game, follower_high: Any = None) -> None:
        """
        Args:
            game: the market; its leaders' actions must be bounded.
            follower_high: the most that followers may choose, anything that broadcasts to (I, n).
                By default a follower without a bound gets 1.5 times the most it chooses when the
                leaders act at their bounds.

        Raises:
            OptionError: an action without a bound, or a ``follower_high`` that is no bound.
        """
        self.game = game
        self.leader_low, self.leader_high = game.leader_bounds
        low, high = game.follower_bounds
        for players, action, bounds, kind in (
            ("leaders", game.leader_action, game.leader_bounds, "finite"),
            ("followers", game.follower_action, low, "lower"),
        ):
            if not np.isfinite(bounds).all():
                raise OptionError(
                    f"{game}: the {players}' action {action.name!r} has no {kind} bound; a learner "
                    "explores between two finite bounds: give low and high in its Action"
                )
        if follower_high is not None:
            high = np.minimum(high, _given(follower_high, low, game))
        elif not np.isfinite(high).all():
            high = np.where(np.isfinite(high), high, low + ROOM * self._most_chosen(low))
        self.follower_low, self.follower_high = low, high

    def _most_chosen(self, low: Array) -> Array:
        """The largest replies (I, n), above their lower bound, to extreme leader actions.

        Raises:
            OptionError: the followers do not settle at some of them.
        """
        ends = np.stack([self.leader_low, self.leader_high])
        one = np.eye(self.game.n_leaders, dtype=bool)[:, None, None]  # (J, 1, 1, J): who differs
        apart = np.where(one, ends[::-1], ends).reshape(-1, *self.leader_low.shape)
        corners = np.concatenate([ends, apart])
        answers = settle(self.game, corners)
        if not (answers.converged.all() and np.isfinite(answers.y).all()):
            at = corners[int(np.argmin(answers.converged))].tolist()
            raise OptionError(
                f"{self.game}: the followers' action {self.game.follower_action.name!r} has no "
                f"upper bound, and none can be found, since the followers do not settle at "
                f"{self.game.leader_action.name} {at}; give high in its Action, or the option "
                "follower_high"
            )
        most = (answers.y - low).max(axis=0)
        return np.where(most > 0, most, max(float(most.max()), 1.0))

    # -- scaling: every action is seen and chosen in [-1, 1] ------------------------------------

    def leader_actions(self, u: Array) -> Array:
        """Scaled leader actions u (..., d, J), clipped to [-1, 1], in the game's units."""
        return unscaled(u, self.leader_low, self.leader_high)

    def follower_actions(self, u: Array) -> Array:
        """Scaled follower actions u (..., I, n), clipped to [-1, 1], in the game's units."""
        return unscaled(u, self.follower_low, self.follower_high)

    # -- rewards -------------------------------------------------------------------------------

    def rewards(self, x: Array, y: Array) -> tuple[Array, Array]:
        """What a round pays, by (19) and (20) of the vehicular-twins paper.

        A leader earns its payoff; a follower its payoff too, but nothing in a round in which one
        of its limits (or a shared one) is broken, and neither does a leader that breaks its own.

        Args:
            x, y: actions (..., d, J) and (..., I, n).

        Returns:
            leaders' rewards (..., J) and followers' (..., I).

        Raises:
            GameError: a reward that is not a number.
        """
        followers, leaders, owned = self._programs
        with np.errstate(all="ignore"):
            mine, *own = followers(y, y, x)
            theirs, *limits = leaders(x, y)
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        mine = np.broadcast_to(mine, (*batch, *mine.shape[-2:]))
        theirs = np.broadcast_to(theirs, (*batch, *theirs.shape[-2:]))
        return self._paid(np.where, (x, y), (theirs, mine), (limits, own[:owned], own[owned:]))

    def tensor_rewards(self, x: Any, y: Any) -> tuple[Any, Any]:
        """:meth:`rewards` on torch tensors, where they are.

        Args:
            x, y: actions (..., d, J) and (..., I, n).

        Raises:
            GameError: a reward that is not a number.
        """
        import torch

        game = self.once(_on_tensors, x.device, x.dtype)
        payoffs = game.leader_payoff(x, y), game.follower_payoff(y, y, x)
        limits = game.leader_limits(x, y), game.follower_limits(y, y, x), game.shared_limits(y, x)
        return self._paid(torch.where, (x, y), payoffs, [some.values() for some in limits])

    @cached_property
    def _programs(self) -> tuple[Any, Any, int]:
        """Followers' payoffs and limits, leaders', and how many of the former's are own limits."""
        c = trace(self.game).formulas
        limits = [*c.own_limits.values(), *c.shared_limits.values()]
        return (
            compile_program([c.Y, c.R, c.X], [c.follower_payoff, *limits]),
            compile_program([c.X, c.Y], [c.leader_payoff, *c.leader_limits.values()]),
            len(c.own_limits),
        )

    def _paid(
        self, where: Any, actions: tuple[Any, Any], payoffs: tuple[Any, Any], limits: Sequence[Any]
    ) -> tuple[Any, Any]:
        """Rewards (..., J) and (..., I): payoffs, or nothing where a limit is broken.

        Args:
            where: NumPy's, or torch's if all are tensors.
            actions: of leaders and followers.
            payoffs: the same sides', (..., 1, J) and (..., I, 1).
            limits: the leaders', the followers' own ones, and shared ones.
        """
        theirs, mine = payoffs[0][..., 0, :], payoffs[1][..., 0]
        of_leaders, own, shared = limits
        for limit in of_leaders:
            theirs = where((limit <= SLACK).all(-2), theirs, 0.0)
        for limit in own:
            mine = where((limit <= SLACK).all(-1), mine, 0.0)
        for limit in shared:
            mine = where((limit <= SLACK).all(-1).all(-1)[..., None], mine, 0.0)
        self._check(theirs, "leader", *actions)
        self._check(mine, "follower", *actions)
        return theirs, mine

    def _check(self, rewards: Any, kind: str, x: Any, y: Any) -> None:
        # One sum instead of a scan of booleans: any infinity or NaN spoils it.
        if np.isfinite(float(rewards.sum())):
            return
        rewards, x, y = (np.array(a.tolist()) for a in (rewards, x, y))  # tensors too
        index = tuple(int(k) for k in np.argwhere(~np.isfinite(rewards))[0])
        batch, at = rewards.shape[:-1], index[:-1]
        x, y = (np.broadcast_to(a, (*batch, *a.shape[-2:]))[at] for a in (x, y))
        raise GameError(
            f"{type(self.game).__name__}.{kind}_payoff = {rewards[index]} for {kind} {index[-1]} "
            f"(counted from 0) at {self.game.leader_action.name} {x.tolist()} and "
            f"{self.game.follower_action.name} {y.tolist()}; expected a number wherever the "
            "actions may go: raise the bound at which the formula blows up (low=1e-3, say)"
        )


def _on_tensors(market: Market, device: Any, dtype: Any) -> Game:
    import torch

    def convert(data: Any) -> Any:
        dense = data.toarray() if isinstance(data, SparseOperator) else data
        return torch.as_tensor(dense, dtype=dtype, device=device)

    return market.game.on(convert)


def _given(follower_high: Any, low: Array, game: Game) -> Array:
    try:
        high = np.broadcast_to(np.asarray(follower_high, dtype=float), low.shape)
    except (TypeError, ValueError):
        high = np.full(low.shape, np.nan)
    above = f"numbers above the lower bound of {game.follower_action.name!r}"
    good = bool((np.isfinite(high) & (high > low)).all())
    check_range("follower_high", follower_high, f"{above} that broadcast to {low.shape}", good)
    return high


def scaled(actions: Array, low: Array, high: Array) -> Array:
    """Actions in the game's units as numbers in [-1, 1].

    Args:
        actions: between the bounds.
        low, high: bounds that broadcast to them; where they are equal the number is -1.
    """
    return 2.0 * (actions - low) / np.where(high > low, high - low, 1.0) - 1.0


def unscaled(u: Any, low: Any, high: Any) -> Any:
    """Numbers, clipped to [-1, 1], as actions in the game's units.

    Args:
        u: what a policy chose.
        low, high: bounds that broadcast to them; all three are arrays, or all are tensors.
    """
    share = u.clip(-1.0, 1.0)
    share += 1.0
    actions = share * ((high - low) / 2.0)
    actions += low
    return actions
