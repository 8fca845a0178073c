"""One game's formulas, traced once: their values and derivatives as compiled NumPy functions.

Notation, used wherever the core speaks of the followers' problem. Follower i solves

    maximise  payoff_i(y_i; y, x)   subject to   low <= y_i <= high,
              c_i(y_i; y, x) <= 0 (own limits, multipliers lam_i >= 0),
              G(y, x) <= 0 (shared limits, multipliers mu >= 0, the same for all).

The *field* is minus the gradient of its Lagrangian by its own action,

    F_i = -d payoff_i / d y_i + lam_i d c_i / d y_i + mu d G / d y_i,

so an equilibrium is: F complementary to the bounds on y, -c to lam, -G to mu.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel.calculus.derivatives import directional, gradient
from stackel.calculus.expression import Expression, concat, lift, symbol
from stackel.calculus.program import at_elements, compile_program
from stackel.errors import GameError
from stackel.types import Array

if TYPE_CHECKING:
    from stackel.calculus.concavity import OwnStructure
    from stackel.game.game import Game

Program = Callable[..., tuple[Any, ...]]


def _wide(array: Array, shape: tuple[int, ...]) -> Array:
    """Broadcast only where it must be: the check costs a tenth of the call."""
    return array if array.shape == shape else np.broadcast_to(array, shape)


class _Compiled:
    """A program, compiled on first use; a stack's elements take the whole stack's."""

    def __init__(self, make: Callable[[Any], Program]) -> None:
        self.make = make
        self.name = make.__name__

    def __get__(self, calculus: Calculus, owner: type | None = None) -> Program:
        if calculus.whole is None:
            program = self.make(calculus)
        else:
            program = at_elements(
                getattr(calculus.whole, self.name), calculus.index, calculus.constants
            )
        calculus.__dict__[self.name] = program
        return program


class Calculus:
    """Values and derivatives of one game. Arrays take batch axes in front; see the module.

    Of a stack (:mod:`stackel.stack`: many games of one shape as one, its data with a batch axis)
    every array's last batch axis runs over the stack's elements.

    Attributes:
        follower_bounds: the followers' bounds, with the stack's axis in front if it is one.
        whole, index: of some elements of a stack, the whole stack's calculus and which elements.
        limit_names: name of each column of the own limits, (m,).
        shared_names: name of each entry of the shared limits, (k,).
        expressions: the traced formulas (for :mod:`stackel.structure`).
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self.follower_bounds = game.follower_bounds
        self.whole: Calculus | None = None
        self.index = np.arange(0)
        self.constants: dict[int, Any] = {}
        I, n = game.follower_shape
        self.Y = symbol("y", (I, n))
        self.R = symbol("rivals", (I, n))
        self.X = symbol("x", game.leader_shape)
        J = game.n_leaders
        y, r, x = self.Y, self.R, self.X
        self.follower_payoff = self._run("follower_payoff", (y, r, x), (I, 1))
        self.leader_payoff = self._run("leader_payoff", (x, y), (1, J))
        own = self._limits("follower_limits", (y, r, x), rows=I)
        shared = self._limits("shared_limits", (y, x))
        leader = self._limits("leader_limits", (x, y), columns=J)
        self.own_limits = own
        self.shared_limits = shared
        self.leader_limits = leader
        self.limit_names = [name for name, e in own.items() for _ in range(e.shape[1])]
        self.shared_names = [n_ for n_, e in shared.items() for _ in range(e.shape[0] * e.shape[1])]
        self.leader_limit_names = [name for name, e in leader.items() for _ in range(e.shape[0])]
        self.m, self.k = len(self.limit_names), len(self.shared_names)

    @property
    def stacked(self) -> bool:
        """Whether this is the calculus of a stack."""
        return self.follower_bounds[0].ndim > 2

    def at(self, index: Array) -> Calculus:
        """The calculus of some elements of a stack (repeated or not); any other game's own."""
        if not self.stacked:
            return self
        whole = self.whole or self
        whole._parts, whole.curved_limits  # noqa: B018 - found once, for all elements
        out = object.__new__(Calculus)
        out.__dict__.update({k: v for k, v in whole.__dict__.items() if not _is_program(k)})
        low, high = self.follower_bounds
        out.follower_bounds = low[index], high[index]
        out.whole, out.constants = whole, {}
        out.index = index if self.whole is None else self.index[index]
        return out

    # -- tracing -------------------------------------------------------------------------------

    def _call(self, formula: str, arguments: Sequence[Expression]) -> Any:
        name = f"{type(self.game).__name__}.{formula}"
        try:
            return getattr(self.game, formula)(*arguments)
        except GameError as error:
            raise GameError(f"{name}: {error}") from error
        except (TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
            raise GameError(
                f"{name} does not run on symbols: {type(error).__name__}: {error}. Formulas may "
                "use + - * / ** @, .sum(axis, keepdims=True), slices and stackel.functions"
            ) from error

    def _run(self, formula: str, arguments: Sequence[Expression], shape: tuple[int, int]) -> Any:
        value = self._call(formula, arguments)
        if value is None:
            raise GameError(f"{type(self.game).__name__}.{formula} returns nothing")
        node = lift(value)
        if node.shape != shape:
            player = "follower" if shape[1] == 1 and formula.startswith("f") else "leader"
            raise GameError(
                f"{type(self.game).__name__}.{formula} returns shape {node.shape}; expected "
                f"{shape}, one value for each {player}"
            )
        return node

    def _limits(
        self,
        formula: str,
        arguments: Sequence[Expression],
        rows: int | None = None,
        columns: int | None = None,
    ) -> dict[str, Expression]:
        value = self._call(formula, arguments)
        name = f"{type(self.game).__name__}.{formula}"
        if not isinstance(value, Mapping):
            raise GameError(f'{name} returns {type(value).__name__}; expected {{"name": array}}')
        out = {key: lift(v) for key, v in value.items()}
        for key, node in out.items():
            if (rows or node.shape[0]) != node.shape[0] or (columns or node.shape[1]) != node.shape[
                1
            ]:
                expected = f"({rows or 'm'}, {columns or 'm'})"
                raise GameError(f"{name}[{key!r}] has shape {node.shape}; expected {expected}")
        return out

    @cached_property
    def _parts(self) -> dict[str, Any]:
        """The followers' Lagrangian and its field, as expressions."""
        lam = symbol("lam", (self.game.n_followers, self.m))
        mus = {k: symbol(f"mu:{k}", e.shape) for k, e in self.shared_limits.items()}
        c = concat(list(self.own_limits.values())) if self.m else None
        lagrangian = (-self.follower_payoff).sum(axis=(-1, -2), keepdims=True)
        if c is not None:
            lagrangian = lagrangian + (lam * c).sum(axis=(-1, -2), keepdims=True)
        for key, e in self.shared_limits.items():
            lagrangian = lagrangian + (mus[key] * e).sum(axis=(-1, -2), keepdims=True)
        (field,) = gradient(lagrangian, self.Y)
        values = [field] + ([c] if c is not None else []) + list(self.shared_limits.values())
        inputs = [self.Y, self.R, self.X, lam, *mus.values()]
        return {"field": field, "values": values, "inputs": inputs, "c": c}

    def _compile(
        self, outputs: list[Expression], along: Sequence[Expression] | None = None
    ) -> Program:
        """Values of the outputs, or their derivatives along a direction of the inputs named."""
        inputs = self._parts["inputs"]
        if along is None:
            return compile_program(inputs, outputs)
        direction = symbol("direction", along[0].shape)
        moved = directional(outputs, dict.fromkeys(along, direction))
        return compile_program([*inputs, direction], moved)

    @_Compiled
    def _values(self) -> Program:
        return self._compile(self._parts["values"])

    @_Compiled
    def _own(self) -> Program:
        return self._compile(self._parts["values"][: 1 + bool(self.m)], [self.Y])

    @_Compiled
    def _joint(self) -> Program:
        return self._compile(self._parts["values"], [self.Y, self.R])

    @_Compiled
    def _by_leaders(self) -> Program:
        return self._compile(self._parts["values"], [self.X])

    @cached_property
    def structure(self) -> OwnStructure:
        """What the followers' formulas are made of."""
        from stackel.calculus.concavity import OwnStructure

        return OwnStructure(self)

    @cached_property
    def curved_limits(self) -> bool:
        """Whether some own limit is not affine in the follower's action."""
        from stackel.calculus.structure import degree

        return any(degree(e, self.Y) > 1 for e in self.own_limits.values())

    # -- the followers' problem ----------------------------------------------------------------

    def _arguments(self, y: Array, r: Array, x: Array, lam: Array, mu: Array) -> list[Array]:
        out, start = [y, r, x, lam], 0
        for e in self.shared_limits.values():
            stop = start + e.shape[0] * e.shape[1]
            out.append(mu[..., start:stop].reshape(*mu.shape[:-1], *e.shape))
            start = stop
        return out

    def _split(self, values: Sequence[Array], batch: tuple[int, ...]) -> tuple[Array, Array, Array]:
        """(field or its derivative, own limits', shared limits'), batch axes made explicit."""
        I, n = self.game.follower_shape
        field = _wide(values[0], (*batch, I, n))
        has_limits = self.m and len(values) > 1
        limits = values[1] if has_limits else np.zeros((I, 0))
        c = _wide(limits, (*batch, I, limits.shape[-1]))
        rest = values[1 + bool(self.m) :]
        flat = [
            _wide(v, (*batch, *v.shape[-2:])).reshape(*batch, v.shape[-2] * v.shape[-1])
            for v in rest
        ]
        return field, c, np.concatenate(flat, axis=-1) if flat else np.zeros((*batch, 0))

    def system(
        self, y: Array, r: Array, x: Array, lam: Array, mu: Array
    ) -> tuple[Array, Array, Array]:
        """Field (..., I, n), own limits (..., I, m), shared limits (..., k)."""
        with np.errstate(all="ignore"):
            values = self._values(*self._arguments(y, r, x, lam, mu))
        batches = (y.shape[:-2], r.shape[:-2], x.shape[:-2], lam.shape[:-2], mu.shape[:-1])
        return self._split(values, np.broadcast_shapes(*batches))

    def own_blocks(
        self, y: Array, r: Array, x: Array, lam: Array, mu: Array
    ) -> tuple[Array, Array]:
        """Each follower's own derivatives: of its field (..., I, n, n), of its limits
        (..., I, m, n); entry [i, a, b] is by its decision b.

        Since row i depends on the follower's own action only through row i, one direction serves
        all followers at once.
        """
        n = self.game.follower_shape[1]
        batch = np.broadcast_shapes(y.shape[:-2], x.shape[:-2])
        direction = np.eye(n).reshape(n, *(1,) * len(batch), 1, n)
        with np.errstate(all="ignore"):
            values = self._own(*self._arguments(y, r, x, lam, mu), direction)
        field, c, _ = self._split(values, (n, *batch))
        return np.moveaxis(field, 0, -1), np.moveaxis(c, 0, -1)

    def joint(
        self, y: Array, x: Array, lam: Array, mu: Array, direction: Array
    ) -> tuple[Array, Array, Array]:
        """Derivatives of :meth:`system` when all followers move along a direction (..., I, n)."""
        batch = np.broadcast_shapes(y.shape[:-2], x.shape[:-2], direction.shape[:-2])
        with np.errstate(all="ignore"):
            values = self._joint(*self._arguments(y, y, x, lam, mu), direction)
        return self._split(values, batch)

    def by_leaders(
        self, y: Array, x: Array, lam: Array, mu: Array, direction: Array
    ) -> tuple[Array, Array, Array]:
        """Derivatives of :meth:`system` when the leaders move along a direction (..., d, J)."""
        batch = np.broadcast_shapes(y.shape[:-2], x.shape[:-2], direction.shape[:-2])
        with np.errstate(all="ignore"):
            values = self._by_leaders(*self._arguments(y, y, x, lam, mu), direction)
        return self._split(values, batch)

    def transposed(self, y: Array, x: Array, lam: Array, mu: Array, v: Array) -> Array:
        """The transpose of :meth:`joint`'s field derivative times v (..., I, n)."""
        with np.errstate(all="ignore"):
            (out,) = self._transposed(*self._arguments(y, y, x, lam, mu), v)
        return np.broadcast_to(out, np.broadcast_shapes(out.shape, v.shape))

    @_Compiled
    def _transposed(self) -> Program:
        v = symbol("v", self.Y.shape)
        product = (v * self._parts["field"]).sum(axis=(-1, -2), keepdims=True)
        own, others = gradient(product, self.Y, self.R)
        return compile_program([*self._parts["inputs"], v], [own + others])

    # -- payoffs -------------------------------------------------------------------------------

    @_Compiled
    def _follower_values(self) -> Program:
        return compile_program([self.Y, self.R, self.X], [self.follower_payoff])

    @_Compiled
    def _leader_values(self) -> Program:
        limits = list(self.leader_limits.values())
        return compile_program([self.X, self.Y], [self.leader_payoff, *limits])

    def follower_payoffs(self, y: Array, r: Array, x: Array) -> Array:
        """(..., I)"""
        with np.errstate(all="ignore"):
            (value,) = self._follower_values(y, r, x)
        batch = np.broadcast_shapes(y.shape[:-2], r.shape[:-2], x.shape[:-2])
        return _wide(value, (*batch, self.game.n_followers, 1))[..., 0]

    def leader_values(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Payoffs (..., J) and limits (..., m, J)."""
        with np.errstate(all="ignore"):
            payoff, *limits = self._leader_values(x, y)
        batch = np.broadcast_shapes(y.shape[:-2], x.shape[:-2])
        J = self.game.n_leaders
        flat = [np.broadcast_to(v, (*batch, *v.shape[-2:])) for v in limits]
        joined = np.concatenate(flat, axis=-2) if flat else np.zeros((*batch, 0, J))
        return _wide(payoff, (*batch, 1, J))[..., 0, :], joined

    @_Compiled
    def _leader_slopes(self) -> Program:
        dx, dy = symbol("dx", self.X.shape), symbol("dy", self.Y.shape)
        outputs = [self.leader_payoff, *self.leader_limits.values()]
        moved = directional(outputs, {self.X: dx, self.Y: dy})
        return compile_program([self.X, self.Y, dx, dy], moved)

    def leader_slopes(self, x: Array, y: Array, dx: Array, dy: Array) -> Array:
        """Derivatives of the leaders' payoffs (..., J) along directions of x and y."""
        with np.errstate(all="ignore"):
            payoff, *_ = self._leader_slopes(x, y, dx, dy)
        batch = np.broadcast_shapes(x.shape[:-2], dx.shape[:-2], dy.shape[:-2])
        return _wide(payoff, (*batch, 1, self.game.n_leaders))[..., 0, :]

    def leader_limit_slopes(self, x: Array, y: Array, dx: Array, dy: Array) -> Array:
        """Derivatives of the leaders' limits (..., m, J) along directions of x and y."""
        with np.errstate(all="ignore"):
            _, *limits = self._leader_slopes(x, y, dx, dy)
        batch = np.broadcast_shapes(x.shape[:-2], dx.shape[:-2], dy.shape[:-2])
        flat = [np.broadcast_to(v, (*batch, *v.shape[-2:])) for v in limits]
        return np.concatenate(flat, axis=-2) if flat else np.zeros((*batch, 0, self.game.n_leaders))

    def zeros(self, batch: tuple[int, ...]) -> tuple[Array, Array]:
        """Multipliers of nothing: lam (*batch, I, m) and mu (*batch, k)."""
        return np.zeros((*batch, self.game.n_followers, self.m)), np.zeros((*batch, self.k))


def _is_program(attribute: str) -> bool:
    return isinstance(Calculus.__dict__.get(attribute), _Compiled)
