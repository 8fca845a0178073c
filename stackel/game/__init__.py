"""What a market states: data on grids, two actions, formulas."""

from stackel.game.game import Action, Game
from stackel.game.grids import Follower, Leader, Pairs, Peers, SparseOperator, middle

__all__ = ["Action", "Follower", "Game", "Leader", "Pairs", "Peers", "SparseOperator", "middle"]
