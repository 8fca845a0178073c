"""A smooth problem with complementarity pairs: approached by a mode, then solved on its piece.

A mode (:mod:`stackel.solvers.mpec.complementarity`) ends a little off a b = 0, and further off
where a and b vanish together. So its answer only says which of a and b is zero; on that *piece* the
problem is an ordinary one and is solved exactly. The multipliers of the fixed a and b there are
the MPEC multipliers: where both vanish and one multiplier is negative, a neighbouring piece is
better, and is tried next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from stackel.run import Run
from stackel.solvers.mpec.complementarity import Mode
from stackel.solvers.mpec.complementarity.base import attach
from stackel.solvers.mpec.ipopt import Ipopt, Outcome, Program
from stackel.solvers.mpec.model import Pair

Side = Literal["a", "b", "both"]
"""Which of a pair is zero."""

PIVOTS = 8
"""Most neighbouring pieces tried after one another."""

NEGLIGIBLE = 1e-7
"""Size of a, b or a multiplier (relative to the largest) that counts as zero."""

UNBOUNDED = 1e10
"""A multiplier beyond this shows that a constraint qualification fails: it says nothing."""


class Pieces:
    """One Pyomo model with its pairs.

    Args:
        model: the model, with an objective to be minimised left to this class.
        loss: what is minimised.
        pairs: its complementarity.
        mode: how it is approached.
        tolerance: the products a b at which the mode stops.
        ipopt, options: see :class:`stackel.solvers.mpec.ipopt.Program`.
        run: whose clock is kept.

    Attributes:
        sides: which of each pair is zero where the model stands; None if that is not known.
        solves: how often IPOPT was run.
        message: its last words.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        pairs: Sequence[Pair],
        mode: Mode,
        tolerance: float,
        ipopt: Ipopt,
        options: Mapping[str, Any],
        run: Run,
    ) -> None:
        import pyomo.environ as pyo

        self.model, self.pairs, self.run = model, list(pairs), run
        self.mode, self.tolerance = mode, tolerance
        model.objective = pyo.Objective(expr=loss + attach(mode, model, pairs))
        self._approach = Program(model, ipopt, options)
        self._piece = Program(model, ipopt, options, without=[model.complementarity])
        self._variables = list(model.component_data_objects(pyo.Var))
        self.sides: list[Side] | None = None
        self.solves = 0
        self.message = ""

    # -- where the model stands ----------------------------------------------------------------

    def snapshot(self) -> list[float]:
        """The values of all variables, for :meth:`restore`."""
        return [v.value for v in self._variables]

    def restore(self, values: list[float]) -> None:
        """Stand where the model stood when these were its values."""
        for v, value in zip(self._variables, values, strict=True):
            v.set_value(value, skip_validation=True)

    @property
    def complementarity(self) -> float:
        """The largest product a b."""
        return max((abs(a * b) for a, b in (p.values for p in self.pairs)), default=0.0)

    def _solve(self, program: Program) -> Outcome:
        self.run.check()
        limit = self.run.time_limit
        outcome = program.solve(None if limit is None else limit - self.run.elapsed)
        self.solves += 1
        self.message = outcome.message
        self.run.check()
        return outcome

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
        knob = self.model.complementarity.knob
        good = None
        for value in self.mode.schedule(self.tolerance)[skip:]:
            knob.set_value(value)
            if self._solve(self._approach).solved:
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
        guesses = [self.sides] if self.sides is not None else [self._guess(), self._nearer()]
        for sides in guesses:
            if self._walk(sides, PIVOTS if pivot else 1):
                return True
            self.restore(before)
        self.sides = None
        return False

    def _guess(self) -> list[Side]:
        """Which of a and b is zero, both where both are as small as a mode leaves them."""
        small = 10.0 * math.sqrt(self.tolerance)
        near = self._nearer()
        values = (p.values for p in self.pairs)
        return ["both" if max(v) < small else s for v, s in zip(values, near, strict=True)]

    def _nearer(self) -> list[Side]:
        return ["a" if a < b else "b" for a, b in (p.values for p in self.pairs)]

    def _walk(self, sides: list[Side], most: int) -> bool:
        best: tuple[list[Side], list[float]] | None = None
        for _ in range(most):
            if not self._on(sides):
                break
            best = sides, self.snapshot()
            better = self._better(sides)
            if better == sides:
                break
            sides = better
        if best is None:
            return False
        if most > 1 and self._corner(*best):
            return True
        self.restore(best[1])  # where the last neighbour or the corner failed, it stands elsewhere
        self.sides = best[0]
        return True

    def _corner(self, sides: list[Side], values: list[float]) -> bool:
        """Whether the optimum is where a piece ends: IPOPT stays off a bound that has no price."""
        import pyomo.environ as pyo

        self.restore(values)
        loss = float(pyo.value(self.model.objective))
        corner = self._guess()
        corner = [c if c == "both" else s for c, s in zip(corner, sides, strict=True)]
        if corner == sides or not self._on(corner):
            return False
        if float(pyo.value(self.model.objective)) > loss + 1e-9 * (1.0 + abs(loss)):
            return False
        self.sides = corner
        return self._better(corner) == corner

    def _on(self, sides: list[Side]) -> bool:
        """Solve with the chosen sides held at zero."""
        import pyomo.environ as pyo

        held = []
        for pair, side in zip(self.pairs, sides, strict=True):
            for variable, value, zero in (
                (pair.variable, pair.bound, side != "b"),
                (pair.dual, 0.0, side != "a"),
            ):
                if zero and not variable.fixed:
                    variable.fix(value)
                    held.append(variable)
        knob = self.model.complementarity.knob
        last = pyo.value(knob)
        knob.set_value(0.0)
        try:
            return self._solve(self._piece).solved
        finally:
            knob.set_value(last)
            for variable in held:
                variable.unfix()

    def prices(self) -> list[tuple[bool, float, float]]:
        """For each pair: whether both sides are zero, and the multipliers of a >= 0 and b >= 0.

        A multiplier is the loss's slope along its side: negative where leaving zero would pay.
        """
        rc = self.model.rc
        out = []
        for pair in self.pairs:
            a, b = pair.values
            both = max(abs(a), abs(b)) <= NEGLIGIBLE * (1.0 + abs(pair.bound))
            out.append((both, pair.sign * rc.get(pair.variable, 0.0), rc.get(pair.dual, 0.0)))
        return out

    def _better(self, sides: list[Side]) -> list[Side]:
        """The neighbouring piece that the multipliers point to."""
        prices = self.prices()
        largest = _largest(prices)
        if largest > UNBOUNDED:
            return sides
        floor = -NEGLIGIBLE * (1.0 + largest)
        out = list(sides)
        for k, (both, first, second) in enumerate(prices):
            if both and min(first, second) < floor:
                out[k] = "b" if first < second else "a"
        return out


def _largest(prices: Sequence[tuple[bool, float, float]]) -> float:
    return max((abs(v) for p in prices for v in p[1:]), default=0.0)
