"""A market played in rounds, thousands of copies at once: bounds, scaling and rewards.

A round: the leaders act, the followers see what was announced and act, everybody is rewarded.
Nothing carries over from one round to the next but what the players remember, so a copy of the
market is one batch element, and a round of all copies is one evaluation of the game's formulas:
compiled NumPy on the CPU, the formulas themselves on tensors elsewhere.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from stackel.calculus.calculus import trace
from stackel.calculus.program import compile_program
from stackel.errors import GameError, OptionError
from stackel.followers.response import settle
from stackel.game.game import Game
from stackel.game.grids import SparseOperator
from stackel.types import Array

ROOM = 1.5
"""How far beyond the largest equilibrium reply found a follower without a bound may explore."""

SLACK = 1e-9
"""A limit counts as broken when exceeded by more than this."""


class Market:
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
        for players, action, bounds in (
            ("leaders", game.leader_action, (self.leader_low, self.leader_high)),
            ("followers", game.follower_action, (low, low)),
        ):
            if not np.isfinite(bounds).all():
                lacking = "lower" if bounds[0] is bounds[1] else "finite"
                raise OptionError(
                    f"{game}: the {players}' action {action.name!r} has no {lacking} bound; a "
                    "learner explores between two finite bounds: give low and high in its Action"
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
        corners = [self.leader_low, self.leader_high]
        for j in range(self.game.n_leaders):
            for all_but, one in ((self.leader_low, self.leader_high), corners[:2][::-1]):
                corner = all_but.copy()
                corner[:, j] = one[:, j]
                corners.append(corner)
        answers = settle(self.game, np.stack(corners))
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
        return _unscale(u, self.leader_low, self.leader_high)

    def follower_actions(self, u: Array) -> Array:
        """Scaled follower actions u (..., I, n), clipped to [-1, 1], in the game's units."""
        return _unscale(u, self.follower_low, self.follower_high)

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
        followers, leaders = self._programs
        with np.errstate(all="ignore"):
            mine, *own = followers(y, y, x)
            theirs, *limits = leaders(x, y)
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        mine = np.broadcast_to(mine, (*batch, *mine.shape[-2:]))[..., 0]
        theirs = np.broadcast_to(theirs, (*batch, *theirs.shape[-2:]))[..., 0, :]
        for limit in own[: self._owned]:
            mine = np.where((limit <= SLACK).all(axis=-1), mine, 0.0)
        for limit in own[self._owned :]:
            mine = np.where((limit <= SLACK).all(axis=(-1, -2))[..., None], mine, 0.0)
        for limit in limits:
            theirs = np.where((limit <= SLACK).all(axis=-2), theirs, 0.0)
        self._check(theirs, "leader", x, y)
        self._check(mine, "follower", x, y)
        return theirs, mine

    @cached_property
    def _programs(self) -> tuple[Any, Any]:
        c = trace(self.game).formulas
        own = [*c.own_limits.values(), *c.shared_limits.values()]
        return (
            compile_program([c.Y, c.R, c.X], [c.follower_payoff, *own]),
            compile_program([c.X, c.Y], [c.leader_payoff, *c.leader_limits.values()]),
        )

    @cached_property
    def _owned(self) -> int:
        return len(trace(self.game).formulas.own_limits)

    def _check(self, rewards: Any, kind: str, x: Any, y: Any) -> None:
        # One sum instead of a scan of booleans: any infinity or NaN spoils it.
        if np.isfinite(float(rewards.sum())):
            return
        rewards, x, y = (np.asarray(a) for a in (rewards, x, y))
        index = tuple(int(k) for k in np.argwhere(~np.isfinite(rewards))[0])
        x = np.broadcast_to(x, (*rewards.shape[:-1], *x.shape[-2:]))[index[:-1]]
        y = np.broadcast_to(y, (*rewards.shape[:-1], *y.shape[-2:]))[index[:-1]]
        raise GameError(
            f"{type(self.game).__name__}.{kind}_payoff = {rewards[index]} for {kind} {index[-1]} "
            f"(counted from 0) at {self.game.leader_action.name} {x.tolist()} and "
            f"{self.game.follower_action.name} {y.tolist()}; expected a number wherever the "
            "actions may go: raise the bound at which the formula blows up (low=1e-3, say)"
        )

    def tensor_rewards(self, x: Any, y: Any) -> tuple[Any, Any]:
        """:meth:`rewards` on torch tensors, where they are.

        Args:
            x, y: actions (..., d, J) and (..., I, n).

        Raises:
            GameError: a reward that is not a number.
        """
        game = self._on(x.device, x.dtype)
        mine = game.follower_payoff(y, y, x)[..., 0]
        theirs = game.leader_payoff(x, y)[..., 0, :]
        for limit in game.follower_limits(y, y, x).values():
            mine = mine * (limit <= SLACK).all(dim=-1)
        for limit in game.shared_limits(y, x).values():
            mine = mine * (limit <= SLACK).flatten(-2).all(dim=-1, keepdim=True)
        for limit in game.leader_limits(x, y).values():
            theirs = theirs * (limit <= SLACK).all(dim=-2)
        self._check(theirs, "leader", x, y)
        self._check(mine, "follower", x, y)
        return theirs, mine

    def _on(self, device: Any, dtype: Any) -> Game:
        import torch

        def convert(data: Any) -> Any:
            dense = data.toarray() if isinstance(data, SparseOperator) else data
            return torch.as_tensor(dense, dtype=dtype, device=device)

        key = (str(device), dtype)
        if key not in self._twins:
            self._twins[key] = self.game.on(convert)
        return self._twins[key]

    @cached_property
    def _twins(self) -> dict[Any, Game]:
        return {}


def _given(follower_high: Any, low: Array, game: Game) -> Array:
    try:
        high = np.broadcast_to(np.asarray(follower_high, dtype=float), low.shape)
    except (TypeError, ValueError):
        high = np.full(low.shape, np.nan)
    if not (np.isfinite(high) & (high > low)).all():
        raise OptionError(
            f"option follower_high = {follower_high!r}; expected numbers above the lower bound of "
            f"{game.follower_action.name!r} that broadcast to {low.shape}"
        )
    return high


def _unscale(u: Array, low: Array, high: Array) -> Array:
    share = np.clip(u, -1.0, 1.0)
    share += 1.0
    actions: Array = share * ((high - low) / 2.0)
    actions += low
    return actions
