"""A smooth problem with complementarity pairs: approached by a mode, then solved on its piece.

A mode (:mod:`stackel.solvers.mpec.reformulations`) ends a little off a b = 0, and further off
where a and b vanish together. So its answer only says which of a and b is zero; on that *piece* the
problem is an ordinary one and is solved exactly. The multipliers of the fixed a and b there are
the MPEC multipliers: where both vanish and one multiplier is negative, a neighbouring piece is
better, and is tried next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pyomo.environ as pyo
from pyomo.common.errors import InfeasibleConstraintException

from stackel.run import RESERVE, Run, within
from stackel.solvers.mpec.ipopt import Ipopt, Program
from stackel.solvers.mpec.model import Pair
from stackel.solvers.mpec.reformulations.base import Mode

Side = Literal["a", "b", "both"]
"""Which of a pair is zero."""

PIVOTS = 8
"""Most neighbouring pieces tried after one another."""

NEGLIGIBLE = 1e-7
"""Size of a, b or a multiplier (relative to the largest) that counts as zero."""

UNBOUNDED = 1e10
"""A multiplier beyond this shows that a constraint qualification fails: it says nothing."""


def minimise(model: Any, loss: Any, pairs: Sequence[Pair], mode: Mode) -> None:
    """Give the model its objective and, as the block ``model.complementarity``, the mode.

    Args:
        model: a Pyomo model that has the pairs' variables.
        loss: what is minimised.
        pairs: what is to be complementary.
        mode: how the pairs are treated.
    """
    model.complementarity = pyo.Block()
    model.complementarity.knob = pyo.Var(initialize=1.0)
    model.complementarity.knob.fix()
    model.objective = pyo.Objective(expr=loss + mode.write(model.complementarity, pairs))


@dataclass(frozen=True)
class Method:
    """How problems with pairs are solved.

    Attributes:
        mode: how complementarity is approached.
        tolerance: the products a b at which the mode stops.
        ipopt, options: see :class:`stackel.solvers.mpec.ipopt.Program`.
        run: whose clock is kept.
    """

    mode: Mode
    tolerance: float
    ipopt: Ipopt
    options: Mapping[str, Any]
    run: Run


class Place(NamedTuple):
    """Where a model stands: the values of its variables, and which of each pair is zero."""

    values: list[Any]
    sides: list[Side] | None


class PairedProblem:
    """One Pyomo model with its pairs.

    Args:
        model: the model, without an objective.
        loss: what is minimised.
        pairs: its complementarity.
        method: how it is solved.

    Attributes:
        sides: which of each pair is zero where the model stands; None if that is not known.
        solves: how often IPOPT was run.
        message: its last words.
    """

    def __init__(self, model: Any, loss: Any, pairs: Sequence[Pair], method: Method) -> None:
        self.model, self.pairs, self.method = model, list(pairs), method
        minimise(model, loss, pairs, method.mode)
        self._approach = Program(model, method.ipopt, method.options)
        self._piece = Program(model, method.ipopt, method.options, without=[model.complementarity])
        self._variables = list(model.component_data_objects(pyo.Var))
        self.sides: list[Side] | None = None
        self.solves = 0
        self.message = ""

    # -- where the model stands ----------------------------------------------------------------

    def snapshot(self) -> Place:
        """Where the model stands, for :meth:`restore`."""
        return Place([v.value for v in self._variables], self.sides)

    def restore(self, place: Place) -> None:
        """Stand where the model stood."""
        for v, value in zip(self._variables, place.values, strict=True):
            v.set_value(value, skip_validation=True)
        self.sides = place.sides

    @property
    def complementarity(self) -> float:
        """The largest product a b."""
        return max((abs(a * b) for a, b in (p.values for p in self.pairs)), default=0.0)

    @property
    def _loss(self) -> float:
        return float(pyo.value(self.model.objective))

    def _solve(self, program: Program) -> bool:
        run = self.method.run
        run.check(RESERVE)
        self.solves += 1
        try:
            with within(run.left):
                outcome = program.solve()
        except InfeasibleConstraintException as error:  # a constant that breaks its bound
            self.message = str(error)
            return False
        self.message = outcome.message
        run.check(RESERVE)
        return outcome.solved

    # -- solving -------------------------------------------------------------------------------

    def approach(self, skip: int = 0) -> bool:
        """The mode's schedule; ends at the last knob that IPOPT solved.

        Args:
            skip: how many knobs at its loose end to leave out.

        Returns:
            whether IPOPT solved any.

        Raises:
            Stop: the run's time is up.
        """
        good = None
        for value in self.method.mode.schedule(self.method.tolerance)[skip:]:
            self.model.complementarity.knob.set_value(value)
            if self._solve(self._approach):
                good = self.snapshot()
            elif good is not None:
                break
        if good is not None:
            self.restore(good)
        self.sides = None
        return good is not None

    def polish(self, pivot: bool = True) -> bool:
        """The exact problem on the piece where the model stands, and on better neighbours.

        Args:
            pivot: whether to look at neighbours.

        Returns:
            whether one was solved; otherwise the model stands where it stood.

        Raises:
            Stop: the run's time is up.
        """
        before = self.snapshot()
        guesses = [self._guess(), self._nearer()] if self.sides is None else [self.sides]
        for sides in guesses:
            if self._walk(sides, PIVOTS if pivot else 1):
                return True
            self.restore(before)
        self.sides = None
        return False

    def _guess(self) -> list[Side]:
        """Which of a and b is zero, both where both are as small as a mode leaves them."""
        small = 10.0 * math.sqrt(self.method.tolerance)
        near = zip(self.pairs, self._nearer(), strict=True)
        return ["both" if max(pair.values) < small else side for pair, side in near]

    def _nearer(self) -> list[Side]:
        return ["a" if a < b else "b" for a, b in (p.values for p in self.pairs)]

    def _walk(self, sides: list[Side], most: int) -> bool:
        best: Place | None = None
        for _ in range(most):
            if not self._on(sides):
                break
            best = self.snapshot()
            better = self._better(sides)
            if better == sides:
                break
            sides = better
        if best is None:
            return False
        if most == 1 or not self._corner(best):
            self.restore(best)  # where the last neighbour or the corner failed, it stands elsewhere
        return True

    def _corner(self, place: Place) -> bool:
        """Whether the optimum is where a piece ends: IPOPT stays off a bound that has no price."""
        self.restore(place)
        loss, sides = self._loss, place.sides or []
        guess = zip(self._guess(), sides, strict=True)
        corner = ["both" if small == "both" else side for small, side in guess]
        if corner == sides or not self._on(corner):
            return False
        return self._loss <= loss + 1e-9 * (1.0 + abs(loss)) and self._better(corner) == corner

    def _on(self, sides: list[Side]) -> bool:
        """Solve with the chosen sides held at zero."""
        held = []
        for pair, side in zip(self.pairs, sides, strict=True):
            halves = (pair.variable, pair.bound, "b"), (pair.dual, 0.0, "a")
            for variable, value, other in halves:
                if side != other and not variable.fixed:
                    variable.fix(value)
                    held.append(variable)
        knob = self.model.complementarity.knob
        last = pyo.value(knob)
        knob.set_value(0.0)
        try:
            solved = self._solve(self._piece)
        finally:
            knob.set_value(last)
            for variable in held:
                variable.unfix()
        self.sides = sides
        return solved

    def prices(self) -> list[tuple[bool, float, float]]:
        """For each pair: whether both sides are zero, and the multipliers of a >= 0 and b >= 0.

        A multiplier is the loss's slope along its side: negative where leaving zero would pay.
        """
        rc = self.model.rc
        out = []
        for pair in self.pairs:
            both = max(map(abs, pair.values)) <= NEGLIGIBLE * (1.0 + abs(pair.bound))
            out.append((both, pair.sign * rc.get(pair.variable, 0.0), rc.get(pair.dual, 0.0)))
        return out

    def _better(self, sides: list[Side]) -> list[Side]:
        """The neighbouring piece that the multipliers point to."""
        prices = self.prices()
        largest = max((abs(v) for price in prices for v in price[1:]), default=0.0)
        if largest > UNBOUNDED:
            return sides
        floor = -NEGLIGIBLE * (1.0 + largest)
        out = list(sides)
        for k, (both, first, second) in enumerate(prices):
            if both and min(first, second) < floor:
                out[k] = "b" if first < second else "a"
        return out
