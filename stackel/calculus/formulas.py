"""A market's formulas, run on symbols once: what is left of them is a graph of expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from stackel.calculus.derivatives import directional, gradient
from stackel.calculus.expression import Expression, concat, lift, symbol
from stackel.calculus.program import Program, compile_program
from stackel.calculus.sizes import Sizes
from stackel.errors import GameError
from stackel.game.game import Game
from stackel.memo import Memo

Shapes = tuple[tuple[int, int], tuple[int, int]]
"""(d, J) and (I, n), of the leaders' and the followers' actions."""


class Conditions(NamedTuple):
    """The followers' first-order conditions as expressions.

    Attributes:
        inputs: own actions, everybody's, leaders' actions, and the multipliers.
        field: minus the gradient of each follower's Lagrangian by its own action.
        values: the field, then the own limits side by side (if any), then each shared limit.
    """

    inputs: list[Expression]
    field: Expression
    values: list[Expression]


class Formulas(Memo):
    """The traced formulas of one market.

    Args:
        game: the market.
        shapes: of the actions; needed where the market's data has a batch axis in front.

    Attributes:
        market: the market's class, for messages.
        Y, R, X: the symbols for own actions, everybody's actions (I, n), leaders' actions (d, J).
        follower_payoff, leader_payoff: (I, 1) and (1, J).
        own_limits, shared_limits, leader_limits: by name.
        limit_names, shared_names, leader_limit_names: the name of each column, entry and row.

    Raises:
        GameError: a formula that does not run on symbols or has the wrong shape.
    """

    def __init__(self, game: Game, shapes: Shapes | None = None) -> None:
        self.market = type(game).__name__
        (d, J), (I, n) = shapes or (game.leader_shape, game.follower_shape)
        self.Y, self.R = symbol("y", (I, n)), symbol("rivals", (I, n))
        self.X = symbol("x", (d, J))
        y, r, x = self.Y, self.R, self.X
        self.follower_payoff = self._payoff(game, "follower_payoff", (y, r, x), (I, 1))
        self.leader_payoff = self._payoff(game, "leader_payoff", (x, y), (1, J))
        self.own_limits = self._limits(game, "follower_limits", (y, r, x), rows=I)
        self.shared_limits = self._limits(game, "shared_limits", (y, x))
        self.leader_limits = self._limits(game, "leader_limits", (x, y), columns=J)
        self.limit_names = [k for k, e in self.own_limits.items() for _ in range(e.shape[1])]
        sizes = {k: e.shape[0] * e.shape[1] for k, e in self.shared_limits.items()}
        self.shared_names = [k for k, size in sizes.items() for _ in range(size)]
        self.leader_limit_names = [
            k for k, e in self.leader_limits.items() for _ in range(e.shape[0])
        ]

    @cached_property
    def conditions(self) -> Conditions:
        """What :class:`stackel.calculus.Calculus` calls the followers' system."""
        return first_order(self, self.follower_payoff)

    def _call(self, game: Game, formula: str, arguments: Sequence[Expression]) -> Any:
        name = f"{self.market}.{formula}"
        try:
            return getattr(game, formula)(*arguments)
        except GameError as error:
            raise GameError(f"{name}: {error}") from error
        except (TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
            raise GameError(
                f"{name} does not run on symbols: {type(error).__name__}: {error}. Formulas may "
                "use + - * / ** @, .sum(axis, keepdims=True), slices and stackel.functions"
            ) from error

    def _payoff(
        self, game: Game, formula: str, arguments: Sequence[Expression], shape: tuple[int, int]
    ) -> Expression:
        value = self._call(game, formula, arguments)
        if value is None:
            raise GameError(f"{self.market}.{formula} returns nothing")
        node = lift(value)
        if node.shape != shape:
            raise GameError(
                f"{self.market}.{formula} returns shape {node.shape}; expected {shape}, one value "
                f"for each {formula.partition('_')[0]}"
            )
        return node

    def _limits(
        self,
        game: Game,
        formula: str,
        arguments: Sequence[Expression],
        rows: int | None = None,
        columns: int | None = None,
    ) -> dict[str, Expression]:
        value = self._call(game, formula, arguments)
        name = f"{self.market}.{formula}"
        if not isinstance(value, Mapping):
            raise GameError(f'{name} returns {type(value).__name__}; expected {{"name": array}}')
        out = {key: lift(v) for key, v in value.items()}
        for key, node in out.items():
            if node.shape != (rows or node.shape[0], columns or node.shape[1]):
                expected = f"({rows or 'm'}, {columns or 'm'})"
                raise GameError(f"{name}[{key!r}] has shape {node.shape}; expected {expected}")
        return out


def first_order(f: Formulas, payoff: Expression) -> Conditions:
    """The followers' first-order conditions.

    Args:
        f: the market's formulas.
        payoff: the followers', in whatever form.
    """
    m = sum(e.shape[1] for e in f.own_limits.values())
    lam = symbol("lam", (f.Y.shape[0], m))
    mus = {k: symbol(f"mu:{k}", e.shape) for k, e in f.shared_limits.items()}
    own = [concat(list(f.own_limits.values()))] if m else []
    terms = [-payoff, *(lam * c for c in own)]
    terms += [mus[key] * e for key, e in f.shared_limits.items()]
    total, *rest = (t.sum(axis=(-1, -2), keepdims=True) for t in terms)
    for term in rest:
        total = total + term
    (field,) = gradient(total, f.Y)
    inputs = [f.Y, f.R, f.X, lam, *mus.values()]
    return Conditions(inputs, field, [field, *own, *f.shared_limits.values()])


def _along(f: Formulas, outputs: list[Expression], *inputs: Expression) -> Program:
    """Derivatives of the outputs when the inputs named move along one direction."""
    direction = symbol("direction", inputs[0].shape)
    moved = directional(outputs, dict.fromkeys(inputs, direction))
    return compile_program([*f.conditions.inputs, direction], moved)


def _transposed(f: Formulas) -> Program:
    v = symbol("v", f.Y.shape)
    product = (v * f.conditions.field).sum(axis=(-1, -2), keepdims=True)
    own, others = gradient(product, f.Y, f.R)
    return compile_program([*f.conditions.inputs, v], [own + others])


def _leader_slopes(f: Formulas) -> Program:
    dx, dy = symbol("dx", f.X.shape), symbol("dy", f.Y.shape)
    moved = directional([f.leader_payoff, *f.leader_limits.values()], {f.X: dx, f.Y: dy})
    return compile_program([f.X, f.Y, dx, dy], moved)


def _follower_sizes(f: Formulas) -> Program:
    s = symbol("size of y", f.Y.shape)
    sizes = Sizes({f.Y: s})
    outputs = [sizes.stake(f.follower_payoff), sizes.terms(f.follower_payoff)]
    return compile_program([f.Y, f.R, f.X, s], outputs)


def _leader_sizes(f: Formulas) -> Program:
    """Stakes of the leaders' payoffs and limits, then all their terms."""
    sx, sy = symbol("size of x", f.X.shape), symbol("size of y", f.Y.shape)
    sizes, formulas = Sizes({f.X: sx, f.Y: sy}), [f.leader_payoff, *f.leader_limits.values()]
    outputs = [size(e) for size in (sizes.stake, sizes.terms) for e in formulas]
    return compile_program([f.X, f.Y, sx, sy], outputs)


def _system_sizes(f: Formulas) -> Program:
    """Stakes of the field and the followers' limits, then all their terms."""
    sx, sy = symbol("size of x", f.X.shape), symbol("size of y", f.Y.shape)
    sizes = Sizes({f.X: sx, f.Y: sy, f.R: sy})
    outputs = [size(e) for size in (sizes.stake, sizes.terms) for e in f.conditions.values]
    return compile_program([*f.conditions.inputs, sx, sy], outputs)


def _field_sizes(f: Formulas) -> Program:
    """Stakes of the payoffs' part of the field, then all its terms."""
    sx, sy = symbol("size of x", f.X.shape), symbol("size of y", f.Y.shape)
    sizes = Sizes({f.X: sx, f.Y: sy, f.R: sy})
    (slope,) = gradient(f.follower_payoff.sum(axis=(-1, -2), keepdims=True), f.Y)
    return compile_program([f.Y, f.R, f.X, sx, sy], [sizes.stake(slope), sizes.terms(slope)])


PROGRAMS: Mapping[str, Callable[[Formulas], Program]] = {
    "values": lambda f: compile_program(f.conditions.inputs, f.conditions.values),
    "own": lambda f: _along(f, f.conditions.values[: 1 + bool(f.own_limits)], f.Y),
    "joint": lambda f: _along(f, f.conditions.values, f.Y, f.R),
    "by leaders": lambda f: _along(f, f.conditions.values, f.X),
    "transposed": _transposed,
    "follower payoffs": lambda f: compile_program([f.Y, f.R, f.X], [f.follower_payoff]),
    "leader values": lambda f: compile_program(
        [f.X, f.Y], [f.leader_payoff, *f.leader_limits.values()]
    ),
    "leader slopes": _leader_slopes,
    "follower sizes": _follower_sizes,
    "leader sizes": _leader_sizes,
    "system sizes": _system_sizes,
    "field sizes": _field_sizes,
}
"""What is compiled, each on first use."""
