"""A market as Pyomo models: the followers' optimality conditions, and a leader's problem over them.

The market's own formulas run on arrays of Pyomo variables, and Pyomo differentiates them. Nothing
here uses the core's tracer or its follower equilibrium, so that an answer from these models checks
theirs. In the notation of :mod:`stackel.calculus`, the followers' equilibrium is

    F_i(y, lam, mu; x) - z_low + z_high = 0,
    0 <= y - low  _|_  z_low  >= 0,      0 <= high - y  _|_  z_high >= 0,
    0 <= -c_i     _|_  lam_i  >= 0,      0 <= -G        _|_  mu     >= 0,

with slack variables for -c and -G. While F is taken, the rivals are variables of their own: row i
of a payoff moves only with row i of y, so one reverse sweep over the sum of all Lagrangians gives
every follower's own gradient. Only then are the rivals replaced by y.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stackel.calculus.calculus import trace
from stackel.followers.starts import first_guess, inside
from stackel.game.game import Game
from stackel.game.grids import SparseOperator
from stackel.types import Array

MOST_FOLLOWER_ACTIONS = 400
"""Follower decisions I n up to which a symbolic model is built."""


@dataclass(frozen=True)
class Pair:
    """One complementarity: a >= 0, b >= 0, a b = 0, with a = sign (variable - bound).

    Attributes:
        name: what it belongs to, a limit or an action, and where.
        variable: the Pyomo variable behind a.
        bound: its finite bound.
        sign: 1 for a lower bound, -1 for an upper one.
        dual: the Pyomo variable b.
    """

    name: str
    variable: Any
    bound: float
    sign: int
    dual: Any

    @property
    def a(self) -> Any:
        """The expression a."""
        return self.sign * (self.variable - self.bound)

    @property
    def values(self) -> tuple[float, float]:
        """a and b where the model stands."""
        return self.sign * (float(self.variable.value) - self.bound), float(self.dual.value)


class Ties:
    """A sparse matrix that multiplies arrays of symbols, skipping its zeros.

    Args:
        matrix: (I, I), SciPy's.
    """

    __array_ufunc__ = None

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix.tocsr()

    @property
    def T(self) -> Ties:
        """The transpose."""
        return Ties(self.matrix.T)

    def __matmul__(self, other: Any) -> Array:
        other = np.asarray(other, dtype=object)
        out = np.zeros((self.matrix.shape[0], other.shape[1]), dtype=object)
        starts, columns, data = self.matrix.indptr, self.matrix.indices, self.matrix.data
        for i in range(len(out)):
            for at in range(starts[i], starts[i + 1]):
                out[i] = out[i] + float(data[at]) * other[columns[at]]
        return out

    def __rmatmul__(self, other: Any) -> Array:
        return (self.T @ np.asarray(other, dtype=object).T).T


def on_symbols(game: Game) -> Game:
    """The game with data that multiplies Pyomo symbols.

    Float arrays, since an integer has no power of -1 in NumPy, and sparse ties that add only what
    is there.
    """

    def convert(value: Any) -> Any:
        if isinstance(value, SparseOperator):
            return Ties(value.matrix)
        return np.asarray(value, dtype=float)

    return game.on(convert)


def _grid(variable: Any, shape: tuple[int, int]) -> Array:
    out = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        out[index] = variable[index]
    return out


def _bound(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _limits(values: Mapping[str, Any]) -> dict[tuple[str, int, int], Any]:
    """Limits by (name, row, column)."""
    out = {}
    for name, array in values.items():
        for (row, column), entry in np.ndenumerate(np.asarray(array, dtype=object)):
            out[name, row, column] = entry
    return out


def add_actions(model: Any, game: Game, x: Array) -> None:
    """Variables ``model.x[row, leader]`` within the leaders' bounds.

    Args:
        model: the Pyomo model that gets them.
        game: the market.
        x: leader actions (d, J) where they stand.
    """
    import pyomo.environ as pyo

    low, high = game.leader_bounds
    index = list(np.ndindex(game.leader_shape))
    model.x = pyo.Var(
        index,
        bounds=lambda _, r, j: (_bound(low[r, j]), _bound(high[r, j])),
        initialize=lambda _, r, j: float(x[r, j]),
    )


def add_followers(model: Any, game: Game) -> list[Pair]:
    """Add the followers' optimality conditions at ``model.x``, without their complementarity.

    Adds ``y[i, a]``, its bounds' multipliers ``low_dual`` and ``high_dual``, the limits' slacks and
    multipliers ``slack``, ``multiplier`` (own: by name, follower, column) and ``shared_slack``,
    ``shared_multiplier``, and the constraints ``stationarity``, ``limit``, ``shared_limit``.

    Args:
        model: has the variables of :func:`add_actions`.
        game: the market.

    Returns:
        the complementarity pairs; bounds at which a formula blows up have none, since no follower
        sits there.
    """
    import pyomo.environ as pyo
    from pyomo.core.expr.calculus.derivatives import Modes, differentiate
    from pyomo.core.expr.visitor import replace_expressions

    shape = game.follower_shape
    low, high = game.follower_bounds
    index = list(np.ndindex(shape))
    x = _grid(model.x, game.leader_shape)
    start = inside(game, first_guess(game))
    model.y = pyo.Var(
        index,
        bounds=lambda _, i, a: (_bound(low[i, a]), _bound(high[i, a])),
        initialize=lambda _, i, a: float(start[i, a]),
    )
    model.rivals = pyo.Var(index)  # symbols only: gone before the model is complete
    y, rivals = _grid(model.y, shape), _grid(model.rivals, shape)
    symbolic = on_symbols(game)
    payoff = np.asarray(symbolic.follower_payoff(y, rivals, x), dtype=object)
    own = _limits(symbolic.follower_limits(y, rivals, x))
    shared = _limits(symbolic.shared_limits(y, x))

    model.multiplier = pyo.Var(list(own), bounds=(0, None), initialize=0.1)
    model.slack = pyo.Var(list(own), bounds=(0, None), initialize=1.0)
    model.shared_multiplier = pyo.Var(list(shared), bounds=(0, None), initialize=0.1)
    model.shared_slack = pyo.Var(list(shared), bounds=(0, None), initialize=1.0)
    lagrangian = pyo.quicksum(
        [
            *(-entry for entry in payoff.ravel()),
            *(model.multiplier[key] * entry for key, entry in own.items()),
            *(model.shared_multiplier[key] * entry for key, entry in shared.items()),
        ]
    )
    field = differentiate(lagrangian, wrt_list=list(y.ravel()), mode=Modes.reverse_symbolic)
    settled = {id(r): v for r, v in zip(rivals.ravel(), y.ravel(), strict=True)}

    def together(expression: Any) -> Any:
        return replace_expressions(expression, settled)

    open_low, open_high = trace(game).open_bounds
    decided = low == high
    has_low = np.isfinite(low) & ~open_low & ~decided
    has_high = np.isfinite(high) & ~open_high & ~decided
    model.low_dual = pyo.Var([k for k in index if has_low[k]], bounds=(0, None), initialize=0.1)
    model.high_dual = pyo.Var([k for k in index if has_high[k]], bounds=(0, None), initialize=0.1)
    model.stationarity = pyo.Constraint(pyo.Any)
    for key, slope in zip(index, field, strict=True):
        if decided[key]:
            continue
        lower = model.low_dual[key] if has_low[key] else 0.0
        upper = model.high_dual[key] if has_high[key] else 0.0
        balance = together(slope) - lower + upper
        if not isinstance(balance, (int, float)):
            model.stationarity[key] = balance == 0
    model.limit = pyo.Constraint(
        list(own), rule=lambda m, *key: together(own[key]) + m.slack[key] == 0
    )
    model.shared_limit = pyo.Constraint(
        list(shared), rule=lambda m, *key: together(shared[key]) + m.shared_slack[key] == 0
    )
    model.del_component(model.rivals)

    name = game.follower_action.name
    pairs = [
        Pair(f"{name}{list(k)} at its low", model.y[k], float(low[k]), 1, model.low_dual[k])
        for k in index
        if has_low[k]
    ]
    pairs += [
        Pair(f"{name}{list(k)} at its high", model.y[k], float(high[k]), -1, model.high_dual[k])
        for k in index
        if has_high[k]
    ]
    for keys, slack, dual in (
        (own, model.slack, model.multiplier),
        (shared, model.shared_slack, model.shared_multiplier),
    ):
        pairs += [Pair(f"{k[0]}{[*k[1:]]}", slack[k], 0.0, 1, dual[k]) for k in keys]
    return pairs


def leader_formulas(model: Any, game: Game) -> tuple[Array, dict[tuple[str, int, int], Any]]:
    """All leaders' payoffs (J,) and limits by (name, row, leader), as expressions.

    Args:
        model: has the variables of :func:`add_actions` and :func:`add_followers`.
        game: the market.
    """
    symbolic = on_symbols(game)
    x, y = _grid(model.x, game.leader_shape), _grid(model.y, game.follower_shape)
    payoff = np.asarray(symbolic.leader_payoff(x, y), dtype=object).reshape(-1)
    return payoff, _limits(symbolic.leader_limits(x, y))


def build_leader(game: Game, leader: int, x: Array) -> tuple[Any, list[Pair]]:
    """One leader's problem over the followers' conditions.

    The objective is minus the leader's payoff, to be minimised. The other leaders' decisions are
    fixed variables, so that one model serves every round: ``model.x[row, other].fix(value)``.

    Args:
        game: the market.
        leader: which leader, counted from 0.
        x: leader actions (d, J): where it begins and the others stay.

    Returns:
        the model, still without its complementarity, and the pairs that need one.
    """
    import pyomo.environ as pyo

    model = pyo.ConcreteModel(name=f"leader {leader} of {game}")
    add_actions(model, game, x)
    pairs = add_followers(model, game)
    payoff, limits = leader_formulas(model, game)
    model.payoff = pyo.Expression(expr=payoff[leader])
    model.leader_limit = pyo.Constraint(pyo.Any)
    for key, entry in limits.items():
        if key[2] == leader and not isinstance(entry, (int, float)):
            model.leader_limit[key] = entry <= 0
    for row, other in np.ndindex(game.leader_shape):
        if other != leader:
            model.x[row, other].fix()
    model.dual = pyo.Suffix(direction=pyo.Suffix.IMPORT)
    model.rc = pyo.Suffix(direction=pyo.Suffix.IMPORT)
    return model, pairs


def read_actions(model: Any, game: Game) -> tuple[Array, Array]:
    """Leader actions (d, J) and follower actions (I, n) where the model stands, within bounds.

    Args:
        model: the Pyomo model.
        game: its market.
    """
    x = np.array([float(v.value) for v in _grid(model.x, game.leader_shape).ravel()])
    y = np.array([float(v.value) for v in _grid(model.y, game.follower_shape).ravel()])
    return (
        np.clip(x.reshape(game.leader_shape), *game.leader_bounds),
        np.clip(y.reshape(game.follower_shape), *game.follower_bounds),
    )


def read_multipliers(model: Any) -> dict[str, Array]:
    """The followers' multipliers by limit name: own ones (I, m), shared ones in their shape."""
    out: dict[str, Array] = {}
    for variable in (model.multiplier, model.shared_multiplier):
        for (name, row, column), entry in variable.items():
            known = out.get(name, np.zeros((0, 0)))
            size = max(known.shape[0], row + 1), max(known.shape[1], column + 1)
            grown = np.zeros(size)
            grown[: known.shape[0], : known.shape[1]] = known
            grown[row, column] = max(float(entry.value), 0.0)
            out[name] = grown
    return out
