"""One market's formulas, traced once: their values and derivatives as compiled NumPy functions.

Notation, used wherever the core speaks of the followers' problem. Follower i solves

    maximise  payoff_i(y_i; y, x)   subject to   low <= y_i <= high,
              c_i(y_i; y, x) <= 0 (own limits, multipliers lam_i >= 0),
              G(y, x) <= 0 (shared limits, multipliers mu >= 0, the same for all).

The *field* is minus the gradient of its Lagrangian by its own action,

    F_i = -d payoff_i / d y_i + lam_i d c_i / d y_i + mu d G / d y_i,

so an equilibrium is: F complementary to the bounds on y, -c to lam, -G to mu.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from stackel.calculus.axes import first_to_last, wide
from stackel.calculus.concavity import Concavity
from stackel.calculus.curvature import prove_concave
from stackel.calculus.footing import find_footing
from stackel.calculus.formulas import PROGRAMS, Formulas
from stackel.calculus.program import Program, at_elements
from stackel.calculus.rows import check_rows
from stackel.game.game import Game
from stackel.game.grids import middle, origin
from stackel.memo import Memo
from stackel.types import Array

Box = tuple[Array, Array]
Names = tuple[str, str, str]


class Calculus(Memo):
    """Values and derivatives of one market, or of a batch of markets; made by :func:`trace` and
    :func:`stackel.calculus.batch.together`.

    Arrays take batch axes in front; see the module. One market's data broadcasts over them. Data,
    bounds and masks of a batch of B markets have an axis of their own, and every array's last
    batch axis then runs over its elements.

    Args:
        formulas: the traced formulas.
        leader_bounds, follower_bounds: as below.
        names: ``title``, ``leader_name`` and ``follower_name``.

    Attributes:
        formulas: the traced formulas.
        title: the market in a few words.
        leader_name, follower_name: what leaders and followers decide.
        leader_shape, follower_shape: (d, J) and (I, n).
        leader_bounds, follower_bounds: lowest and highest actions, (..., d, J) and (..., I, n).
        m, k: how many own limits each follower has, and how many they share.
        limit_names, shared_names, leader_limit_names: name of each column of the own limits (m,),
            of each entry of the shared ones (k,), of each row of the leaders'.
        whole, index: of some elements of a batch, the batch and which elements.
    """

    def __init__(
        self, formulas: Formulas, leader_bounds: Box, follower_bounds: Box, names: Names
    ) -> None:
        self.leader_bounds, self.follower_bounds = leader_bounds, follower_bounds
        self._state(formulas, names)

    def _state(self, formulas: Formulas, names: Names) -> None:
        self.formulas, self.names = formulas, names
        self.title, self.leader_name, self.follower_name = names
        self.leader_shape, self.follower_shape = formulas.X.shape, formulas.Y.shape
        self.n_leaders, self.n_followers = self.leader_shape[1], self.follower_shape[0]
        self.limit_names = formulas.limit_names
        self.shared_names = formulas.shared_names
        self.leader_limit_names = formulas.leader_limit_names
        self.m, self.k = len(self.limit_names), len(self.shared_names)
        self.whole: Calculus | None = None
        self.index: Any = None
        self._programs: dict[str, Program] = {}
        self._constants: dict[int, Any] = {}

    @property
    def batched(self) -> bool:
        """Whether this is a batch of markets, each with data of its own."""
        return self.follower_bounds[0].ndim > 2

    def at(self, index: Any) -> Calculus:
        """Some elements of a batch of markets, in any order, repeated or not; one market as it is,
        since its data broadcasts.

        Args:
            index: anything that picks from an axis of NumPy's, a single number apart.
        """
        return _Elements(self, index) if self.batched else self

    def _program(self, name: str) -> Program:
        program = self._programs.get(name)
        if program is None:
            if self.whole is None:
                program = PROGRAMS[name](self.formulas)
            else:
                program = self._element(self.whole._program(name))
            self._programs[name] = program
        return program

    def run(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        """What a compiled program says.

        Args:
            name: one of :data:`stackel.calculus.formulas.PROGRAMS`.
            *arguments: arrays of its inputs, batch axes in front.
        """
        with np.errstate(all="ignore"):  # who uses a value looks at whether it is finite
            return self._program(name)(*arguments)

    def _element(self, program: Program) -> Program:
        """A program of the formulas, at the elements that this is of."""
        return program if self.index is None else at_elements(program, self.index, self._constants)

    # -- bounds --------------------------------------------------------------------------------

    @cached_property
    def footing(self) -> Box:
        """Leader actions (..., d, J) and follower actions (..., I, n) at which the formulas have
        values: the middle of the bounds, or near it."""
        return find_footing(self, middle(*self.leader_bounds), middle(*self.follower_bounds))

    @cached_property
    def origins(self) -> Box:
        """What leaders' and followers' actions are measured from."""
        return origin(*self.leader_bounds), origin(*self.follower_bounds)

    @property
    def first_guess(self) -> Array:
        """A follower action to start from (..., I, n)."""
        return self.footing[1]

    @cached_property
    def open_bounds(self) -> tuple[Array, Array]:
        """Lower and upper bounds at which a formula is not finite, as masks (..., I, n): actions
        must stay off them. Looked at in the middle of the leaders' bounds."""
        x, start = self.footing
        lam, mu = self.zeros(())
        masks = []
        for bound in self.follower_bounds:
            mask = np.zeros(bound.shape, dtype=bool)
            finite = np.isfinite(bound)
            for column in range(bound.shape[-1]):
                y = np.array(start)
                at_bound = finite[..., column]
                y[..., column] = np.where(at_bound, bound[..., column], y[..., column])
                field, own, _ = self.system(y, start, x, lam, mu)
                blown = ~np.isfinite(field).all(-1) | ~np.isfinite(own).all(-1)
                mask[..., column] = blown & at_bound
            masks.append(mask)
        return masks[0], masks[1]

    # -- what formulas are made of -------------------------------------------------------------

    @property
    def concavity(self) -> Concavity:
        """What the followers' formulas are made of; the same for all markets of a batch."""
        return self.formulas.once(Concavity)

    def prove_concave(self, y: Array, x: Array, some: Array | None = None) -> tuple[Array, Array]:
        """See :func:`stackel.calculus.curvature.prove_concave`.

        Args:
            y, x, some: everybody's actions, leader actions, where intervals are worth trying.
        """
        return prove_concave(self, y, x, some, self._element)

    # -- the followers' problem ----------------------------------------------------------------

    def arguments(self, y: Array, r: Array, x: Array, lam: Array, mu: Array) -> list[Array]:
        """Those of :meth:`system`, as the programs of the followers' conditions take them.

        Args:
            y, r, x, lam, mu: as for :meth:`system`.
        """
        out, start = [y, r, x, lam], 0
        for e in self.formulas.shared_limits.values():
            stop = start + e.shape[0] * e.shape[1]
            out.append(mu[..., start:stop].reshape(*mu.shape[:-1], *e.shape))
            start = stop
        return out

    def split(self, values: Sequence[Array], batch: tuple[int, ...]) -> tuple[Array, Array, Array]:
        """What a program of the followers' conditions says, batch axes made explicit: of the field
        (..., I, n), the own limits (..., I, m) and the shared ones (..., k)."""
        I, n = self.follower_shape
        field = wide(values[0], (*batch, I, n))
        c = np.zeros((*batch, I, 0))
        if self.m and len(values) > 1:
            c = wide(values[1], (*batch, I, values[1].shape[-1]))
        rest = values[1 + bool(self.m) :]
        flat = [
            wide(v, (*batch, *v.shape[-2:])).reshape(*batch, v.shape[-2] * v.shape[-1])
            for v in rest
        ]
        return field, c, np.concatenate(flat, axis=-1) if flat else np.zeros((*batch, 0))

    def system(
        self, y: Array, r: Array, x: Array, lam: Array, mu: Array
    ) -> tuple[Array, Array, Array]:
        """The field and the limits, where followers choose y and take the others to do r.

        Args:
            y, r: own actions and everybody's (..., I, n).
            x: leader actions (..., d, J).
            lam, mu: multipliers (..., I, m) and (..., k).

        Returns:
            field (..., I, n), own limits (..., I, m), shared limits (..., k).
        """
        values = self.run("values", *self.arguments(y, r, x, lam, mu))
        batches = (y.shape[:-2], r.shape[:-2], x.shape[:-2], lam.shape[:-2], mu.shape[:-1])
        return self.split(values, np.broadcast_shapes(*batches))

    def own_blocks(
        self, y: Array, r: Array, x: Array, lam: Array, mu: Array
    ) -> tuple[Array, Array]:
        """Each follower's own derivatives at the arguments of :meth:`system`.

        Since row i depends on the follower's own action only through row i, one direction serves
        all followers at once.

        Args:
            y, r, x, lam, mu: as for :meth:`system`.

        Returns:
            of its field (..., I, n, n), of its limits (..., I, m, n); entry [i, a, b] is by its
            decision b.
        """
        n = self.follower_shape[1]
        batch = np.broadcast_shapes(y.shape[:-2], x.shape[:-2])
        direction = np.eye(n).reshape(n, *(1,) * len(batch), 1, n)
        values = self.run("own", *self.arguments(y, r, x, lam, mu), direction)
        field, c, _ = self.split(values, (n, *batch))
        return first_to_last(field), first_to_last(c)

    def joint(
        self, y: Array, x: Array, lam: Array, mu: Array, direction: Array
    ) -> tuple[Array, Array, Array]:
        """Derivatives of :meth:`system` when all followers move along a direction.

        Args:
            y, x, lam, mu: as for :meth:`system`, everybody doing y.
            direction: where they move (..., I, n).

        Returns:
            of the field (..., I, n), the own limits (..., I, m), the shared ones (..., k).
        """
        return self._moved("joint", y, x, lam, mu, direction)

    def by_leaders(
        self, y: Array, x: Array, lam: Array, mu: Array, direction: Array
    ) -> tuple[Array, Array, Array]:
        """Derivatives of :meth:`system` when the leaders move along a direction.

        Args:
            y, x, lam, mu: as for :meth:`system`, everybody doing y.
            direction: where they move (..., d, J).

        Returns:
            what :meth:`joint` does.
        """
        return self._moved("by leaders", y, x, lam, mu, direction)

    def _moved(
        self, name: str, y: Array, x: Array, lam: Array, mu: Array, direction: Array
    ) -> tuple[Array, Array, Array]:
        batch = np.broadcast_shapes(y.shape[:-2], x.shape[:-2], direction.shape[:-2])
        return self.split(self.run(name, *self.arguments(y, y, x, lam, mu), direction), batch)

    def transposed(self, y: Array, x: Array, lam: Array, mu: Array, v: Array) -> Array:
        """The transpose of :meth:`joint`'s field derivative times a vector.

        Args:
            y, x, lam, mu: as for :meth:`joint`.
            v: the vector (..., I, n); so is the product.
        """
        (out,) = self.run("transposed", *self.arguments(y, y, x, lam, mu), v)
        return np.broadcast_to(out, np.broadcast_shapes(out.shape, v.shape))

    # -- payoffs -------------------------------------------------------------------------------

    def follower_payoffs(self, y: Array, r: Array, x: Array) -> Array:
        """Payoffs (..., I), in the market's unit of payoff.

        Args:
            y, r: own actions and everybody's (..., I, n).
            x: leader actions (..., d, J).
        """
        (value,) = self.run("follower payoffs", y, r, x)
        batch = np.broadcast_shapes(y.shape[:-2], r.shape[:-2], x.shape[:-2])
        return wide(value, (*batch, self.n_followers, 1))[..., 0]

    def leader_values(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Payoffs (..., J) and limits (..., m, J) at x (..., d, J) and y (..., I, n)."""
        values = self.run("leader values", x, y)
        return self.by_leader(values, np.broadcast_shapes(y.shape[:-2], x.shape[:-2]))

    def leader_slopes(self, x: Array, y: Array, dx: Array, dy: Array) -> tuple[Array, Array]:
        """Derivatives of :meth:`leader_values` along a direction, in the same shapes.

        Args:
            x, dx: leader actions and where they move (..., d, J).
            y, dy: follower actions and where they move (..., I, n).
        """
        values = self.run("leader slopes", x, y, dx, dy)
        batch = np.broadcast_shapes(x.shape[:-2], dx.shape[:-2], dy.shape[:-2])
        return self.by_leader(values, batch)

    def by_leader(self, values: Sequence[Array], batch: tuple[int, ...]) -> tuple[Array, Array]:
        """What a program says of the leaders' payoffs (..., J) and limits (..., m, J)."""
        payoff, *limits = values
        J = self.n_leaders
        flat = [wide(v, (*batch, *v.shape[-2:])) for v in limits]
        joined = np.concatenate(flat, axis=-2) if flat else np.zeros((*batch, 0, J))
        return wide(payoff, (*batch, 1, J))[..., 0, :], joined

    # -- multipliers ---------------------------------------------------------------------------

    def zeros(self, batch: tuple[int, ...]) -> tuple[Array, Array]:
        """Multipliers of nothing: lam (*batch, I, m) and mu (*batch, k)."""
        return np.zeros((*batch, self.n_followers, self.m)), np.zeros((*batch, self.k))

    def named(self, lam: Array, mu: Array) -> dict[str, Array]:
        """Multipliers by limit: own ones (..., I, columns), shared ones as the limit is stated."""
        out: dict[str, Array] = {}
        start = 0
        for name, e in self.formulas.own_limits.items():
            out[name] = np.array(lam[..., start : start + e.shape[1]])
            start += e.shape[1]
        start = 0
        for name, e in self.formulas.shared_limits.items():
            size = e.shape[0] * e.shape[1]
            out[name] = mu[..., start : start + size].reshape(*mu.shape[:-1], *e.shape)
            start += size
        return out


class _Elements(Calculus):
    """Some elements of a batch; what they need of it is taken when it is asked for."""

    whole: Calculus

    def __init__(self, batch: Calculus, index: Any) -> None:
        self._state(batch.formulas, batch.names)
        self.whole = batch.whole or batch
        known = batch.index
        if known is None:
            known = np.arange(len(batch.follower_bounds[0]))
        self.index = known[index]

    @property
    def batched(self) -> bool:
        return True

    def _of(self, pair: Box) -> Box:
        return pair[0][self.index], pair[1][self.index]

    @cached_property
    def leader_bounds(self) -> Box:  # type: ignore[override]
        return self._of(self.whole.leader_bounds)

    @cached_property
    def follower_bounds(self) -> Box:  # type: ignore[override]
        return self._of(self.whole.follower_bounds)

    @cached_property
    def open_bounds(self) -> Box:
        return self._of(self.whole.open_bounds)

    @cached_property
    def footing(self) -> Box:
        return self._of(self.whole.footing)


def trace(game: Game | Calculus) -> Calculus:
    """A market's calculus, made on first use and kept as long as the market lives.

    Args:
        game: the market; a calculus is its own.

    Raises:
        GameError: a formula does not differentiate, has the wrong shape or mixes followers' rows.
    """
    return game if isinstance(game, Calculus) else game.once(_traced)


def _traced(game: Game) -> Calculus:
    formulas, bounds = Formulas(game), (game.leader_bounds, game.follower_bounds)
    check_rows(formulas, *bounds)
    names = str(game), game.leader_action.name, game.follower_action.name
    return Calculus(formulas, *bounds, names)
