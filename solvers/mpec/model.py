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

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr.calculus.derivatives import Modes, differentiate
from pyomo.core.expr.visitor import replace_expressions

from stackel.calculus.calculus import trace
from stackel.followers.starts import first_guess, inside
from stackel.game.game import Game
from stackel.game.grids import SparseOperator
from stackel.types import Array

Key = tuple[str, int, int]
"""Of a limit: its name, row and column."""

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
        matrix = self.matrix.tocoo()
        out = np.zeros((matrix.shape[0], other.shape[1]), dtype=object)
        for row, column, value in zip(matrix.row, matrix.col, matrix.data, strict=True):
            out[row] = out[row] + float(value) * other[column]
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


def _variables(bounds: tuple[Array, Array], start: Array) -> Any:
    """Pyomo variables on a grid, within bounds that may be infinite."""
    low, high = (np.where(np.isfinite(bound), bound, np.array(None)) for bound in bounds)
    return pyo.Var(
        list(np.ndindex(start.shape)),
        bounds=lambda _, *place: (low[place], high[place]),
        initialize=lambda _, *place: float(start[place]),
    )


def _grid(variable: Any, shape: tuple[int, int]) -> Array:
    out = np.empty(shape, dtype=object)
    for place in np.ndindex(shape):
        out[place] = variable[place]
    return out


def _limits(values: Mapping[str, Any]) -> dict[Key, Any]:
    """Limits by (name, row, column)."""
    return {
        (name, row, column): entry
        for name, array in values.items()
        for (row, column), entry in np.ndenumerate(np.asarray(array, dtype=object))
    }


def add_bound_pairs(
    block: Any, name: str, variable: Any, bounds: Sequence[Array], bind: Sequence[Array]
) -> list[Pair]:
    """Multipliers ``low_dual`` and ``high_dual`` of bounds, and the pairs that they make.

    Args:
        block: the Pyomo block that gets them.
        name: of the action.
        variable: the action's Pyomo variables.
        bounds: the lower and the upper ones, on the action's grid.
        bind: which of them have a multiplier if they are finite.
    """
    pairs = []
    for side, sign, bound, binds in zip(("low", "high"), (1, -1), bounds, bind, strict=True):
        places = [k for k in np.ndindex(bound.shape) if binds[k] and np.isfinite(bound[k])]
        dual = pyo.Var(places, bounds=(0, None), initialize=0.1)
        block.add_component(f"{side}_dual", dual)
        for k in places:
            of = f"{name}{list(k)} at its {side}"
            pairs.append(Pair(of, variable[k], float(bound[k]), sign, dual[k]))
    return pairs


def add_market(model: Any, game: Game, x: Array) -> list[Pair]:
    """Add the leaders' actions and the followers' optimality conditions at them.

    Adds ``x[row, leader]`` and ``y[i, a]`` within their bounds, the multipliers of the latter
    ``low_dual`` and ``high_dual``, the limits' slacks and multipliers ``slack``, ``multiplier``
    (own: by name, follower, column) and ``shared_slack``, ``shared_multiplier``, and the
    constraints ``stationarity``, ``limit``, ``shared_limit``; nothing for complementarity.

    Args:
        model: the Pyomo model that gets them.
        game: the market.
        x: leader actions (d, J) where they stand.

    Returns:
        the complementarity pairs; bounds at which a formula blows up have none, since no follower
        sits there.
    """
    shape = game.follower_shape
    low, high = game.follower_bounds
    model.x = _variables(game.leader_bounds, x)
    model.y = _variables(game.follower_bounds, inside(game, first_guess(game)))
    model.rivals = pyo.Var(list(np.ndindex(shape)))  # symbols only, gone before the end
    leaders, y, rivals = _grid(model.x, x.shape), _grid(model.y, shape), _grid(model.rivals, shape)
    symbolic = on_symbols(game)
    payoff = np.asarray(symbolic.follower_payoff(y, rivals, leaders), dtype=object)
    own = _limits(symbolic.follower_limits(y, rivals, leaders))
    shared = _limits(symbolic.shared_limits(y, leaders))

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

    decided = low == high
    bind = [~blows_up & ~decided for blows_up in trace(game).open_bounds]
    pairs = add_bound_pairs(model, game.follower_action.name, model.y, (low, high), bind)
    lower, upper = dict(model.low_dual.items()), dict(model.high_dual.items())
    model.stationarity = pyo.Constraint(pyo.Any)
    for key, slope in zip(model.y, field, strict=True):
        if decided[key]:
            continue
        balance = together(slope) - lower.get(key, 0.0) + upper.get(key, 0.0)
        if not isinstance(balance, (int, float)):
            model.stationarity[key] = balance == 0
    model.limit = pyo.Constraint(
        list(own), rule=lambda m, *key: together(own[key]) + m.slack[key] == 0
    )
    model.shared_limit = pyo.Constraint(
        list(shared), rule=lambda m, *key: together(shared[key]) + m.shared_slack[key] == 0
    )
    model.del_component(model.rivals)
    limits = (model.slack, model.multiplier), (model.shared_slack, model.shared_multiplier)
    for slack, dual in limits:
        pairs += [Pair(f"{k[0]}{[*k[1:]]}", slack[k], 0.0, 1, dual[k]) for k in dual]
    return pairs


def leader_formulas(model: Any, game: Game) -> tuple[Array, list[dict[Key, Any]]]:
    """All leaders' payoffs (J,) and, for each leader, its limits by (name, row, leader).

    They are expressions; a limit that is a number constrains nothing and is left out.

    Args:
        model: has the variables of :func:`add_market`.
        game: the market.
    """
    symbolic = on_symbols(game)
    x, y = _grid(model.x, game.leader_shape), _grid(model.y, game.follower_shape)
    payoff = np.asarray(symbolic.leader_payoff(x, y), dtype=object).reshape(-1)
    limits: list[dict[Key, Any]] = [{} for _ in payoff]
    for key, entry in _limits(symbolic.leader_limits(x, y)).items():
        if hasattr(entry, "is_potentially_variable"):
            limits[key[2]][key] = entry
    return payoff, limits


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
    model = pyo.ConcreteModel(name=f"leader {leader} of {game}")
    pairs = add_market(model, game, x)
    payoffs, limits = leader_formulas(model, game)
    model.payoff = pyo.Expression(expr=payoffs[leader])
    model.leader_limit = pyo.Constraint(pyo.Any)
    for key, limit in limits[leader].items():
        model.leader_limit[key] = limit <= 0
    for (_, other), variable in model.x.items():
        if other != leader:
            variable.fix()
    model.dual = pyo.Suffix(direction=pyo.Suffix.IMPORT)
    model.rc = pyo.Suffix(direction=pyo.Suffix.IMPORT)
    return model, pairs


def read_actions(model: Any, game: Game) -> tuple[Array, Array]:
    """Leader actions (d, J) and follower actions (I, n) where the model stands, within bounds.

    Args:
        model: the Pyomo model.
        game: its market.
    """

    def read(variable: Any, low: Array, high: Array) -> Array:
        values = np.reshape([float(v.value) for v in variable.values()], low.shape)
        return np.clip(values, low, high)

    return read(model.x, *game.leader_bounds), read(model.y, *game.follower_bounds)


def read_multipliers(model: Any) -> dict[str, Array]:
    """The followers' multipliers by limit name: own ones (I, m), shared ones in their shape."""
    out: dict[str, Array] = {}
    for variable in (model.multiplier, model.shared_multiplier):
        for name, group in itertools.groupby(variable.items(), key=lambda item: item[0][0]):
            places, multipliers = zip(*group, strict=True)
            _, rows, columns = places[-1]
            values = [max(float(m.value), 0.0) for m in multipliers]
            out[name] = np.reshape(values, (rows + 1, columns + 1))
    return out
