"""Whether every follower's own problem is proved concave, from the terms of its formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stackel.calculus import matrices
from stackel.calculus.derivatives import directional, gradient
from stackel.calculus.expression import Expression, symbol
from stackel.calculus.formulas import Formulas
from stackel.calculus.program import Program, compile_program
from stackel.calculus.rewriting import depends
from stackel.calculus.structure import Structure, degree, split
from stackel.memo import Memo
from stackel.types import Array

Box = tuple[Array, Array]


class Concavity(Memo):
    """The followers' formulas as functions of the own action, rivals and leaders given.

    Attributes:
        payoff: the payoff's structure.
        limits: the own limits' structure, by name.
        quadratic: whether the payoff has degree at most 2 in the own action.
        affine_field: whether the game's field is affine in all followers' actions together.
        affine_limits: whether all limits are affine in the own action; with the field's the same,
            what holds at one point holds everywhere.
        constant: whether nothing that the proof looks at depends on what anybody does, so that it
            holds everywhere or nowhere.
        affine_shared: the same of the limits that followers share.
        affine_together: whether they are in everybody's actions together.
        curved_own: whether some own limit is not.
    """

    def __init__(self, formulas: Formulas) -> None:
        self.formulas = formulas
        own, payoff = formulas.Y, formulas.follower_payoff
        self.payoff = split(payoff, own)
        self.limits = {name: split(e, own) for name, e in formulas.own_limits.items()}
        self.quadratic = not self.payoff.atoms and not self.payoff.other
        (slope,) = gradient(payoff, own)
        self.affine_field = degree(slope, own, formulas.R) <= 1
        self.curved_own = any(degree(e, own) > 1 for e in formulas.own_limits.values())
        self.affine_shared = all(degree(e, own) <= 1 for e in formulas.shared_limits.values())
        self.affine_limits = self.affine_shared and not self.curved_own
        everything = (*formulas.own_limits.values(), *formulas.shared_limits.values())
        self.affine_together = all(degree(e, own, formulas.R) <= 1 for e in everything)
        self.constant = not any(
            depends(node, one)
            for structure in (self.payoff, *self.limits.values())
            for node in self._looked_at(structure)
            for one in (formulas.R, formulas.X)
        )

    def _looked_at(self, structure: Structure) -> list[Expression]:
        out = [] if structure.polynomial is None else self._second(structure.polynomial)[1]
        for atom in structure.atoms:
            out = [*out, atom.coefficient]
            if atom.one_sided:
                out = [*out, atom.function.args[0]]
        return out

    def prove(
        self,
        rivals: Array,
        x: Array,
        box: Box,
        at: Callable[[Program], Program] = lambda program: program,
    ) -> tuple[Array, Array]:
        """Whether every follower's own problem is proved concave, and how strongly.

        A proof needs every term to be recognised: the quadratic part negative semidefinite, every
        atom's coefficient of the right sign, the limits convex by the same rules.

        Args:
            rivals: everybody's actions (..., I, n).
            x: leader actions (..., d, J).
            box: the followers' bounds (..., I, n): odd powers and reciprocals bend one way on
                either side of 0.
            at: what makes a program of the formulas one of the market that is asked about.

        Returns:
            the proof's success (...); and the modulus of strong concavity of each payoff's
            quadratic part (..., I), negative where that part alone is not concave.
        """
        proved, modulus = self._definite(None, -1, rivals, x, box, at)
        return proved & self.limits_convex(rivals, x, box, at), modulus

    def limits_convex(
        self,
        rivals: Array,
        x: Array,
        box: Box,
        at: Callable[[Program], Program] = lambda program: program,
    ) -> Array:
        """Whether every own limit is proved convex in the own action (...).

        Args:
            rivals, x, box, at: as for :meth:`prove`.
        """
        proved = np.ones(rivals.shape[:-2], dtype=bool)
        for name in self.limits:
            proved = proved & self._definite(name, +1, rivals, x, box, at)[0]
        return proved

    def _structure(self, limit: str | None) -> Structure:
        return self.payoff if limit is None else self.limits[limit]

    def _definite(
        self,
        limit: str | None,
        sign: int,
        rivals: Array,
        x: Array,
        box: Box,
        at: Callable[[Program], Program],
    ) -> tuple[Array, Array]:
        structure, batch = self._structure(limit), rivals.shape[:-2]
        proved = np.full(batch, not structure.other)
        smallest = np.zeros(rivals.shape[:-1])
        hessian_of, coefficients, arguments = self.once(Concavity._programs, limit)
        if hessian_of is not None:
            hessian = sign * self._blocks(at(hessian_of), rivals, x)
            smallest = matrices.smallest_eigenvalues(hessian)
            size = np.abs(hessian).max((-1, -2), initial=0.0)  # each follower's own
            proved &= (smallest >= -1e-12 * size).all(-1)
        for atom, coefficient, argument in zip(
            structure.atoms, coefficients, arguments, strict=True
        ):
            (value,) = at(coefficient)(rivals, x)
            right = value * atom.curvature * sign
            if argument is not None:
                right = right * self._side(at(argument), atom.odd, rivals, x, box)
            right = np.broadcast_to(right, np.broadcast_shapes(right.shape, (*batch, 1, 1)))
            proved &= (atom.curvature != 0) & (right >= 0).all((-1, -2))
        return proved, smallest

    @staticmethod
    def _side(argument: Program, odd: bool, rivals: Array, x: Array, box: Box) -> Array:
        """1 where an affine argument is nonnegative whatever a follower does within its bounds,
        -1 where it is nowhere positive and that turns the curvature around; NaN where it is both.
        """
        low, high = (np.broadcast_to(b, rivals.shape) for b in box)
        n = rivals.shape[-1]
        units = np.eye(n).reshape(n, *(1,) * (rivals.ndim - 1), n)
        origin = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, 0.0))
        value, moved = argument(origin, rivals, x, units)  # (..., I, c), (n, ..., I, c)
        below, above = (b - origin for b in (low, high))
        with np.errstate(invalid="ignore"):
            ends = [np.moveaxis(b, -1, 0)[..., None] * moved for b in (below, above)]
        ends = [np.where(moved == 0, 0.0, e) for e in ends]
        least = value + np.minimum(*ends).sum(0)
        most = value + np.maximum(*ends).sum(0)
        turned = -1.0 if odd else 1.0
        return np.where(least >= 0, 1.0, np.where(most <= 0, turned, np.nan))

    def _programs(
        self, limit: str | None
    ) -> tuple[Program | None, list[Program], list[Program | None]]:
        """The second derivatives of a structure's polynomial, its atoms' coefficients and, where
        the curvature depends on its sign, their arguments with their slopes."""
        structure, inputs = self._structure(limit), [self.formulas.R, self.formulas.X]
        polynomial = structure.polynomial
        return (
            None if polynomial is None else self._hessian(polynomial),
            [compile_program(inputs, [atom.coefficient]) for atom in structure.atoms],
            [self._argument(a.function.args[0]) if a.one_sided else None for a in structure.atoms],
        )

    def _argument(self, argument: Expression) -> Program:
        own = self.formulas.Y
        direction = symbol("direction", own.shape)
        moved = directional([argument], {own: direction})
        return compile_program(
            [own, self.formulas.R, self.formulas.X, direction], [argument, *moved]
        )

    def _hessian(self, polynomial: Expression) -> Program:
        """The derivative of a polynomial's gradient along a direction of the own actions."""
        direction, moved = self._second(polynomial)
        return compile_program(
            [self.formulas.Y, self.formulas.R, self.formulas.X, direction], moved
        )

    def _second(self, polynomial: Expression) -> tuple[Expression, list[Expression]]:
        own = self.formulas.Y
        (slope,) = gradient(polynomial, own)
        direction = symbol("direction", own.shape)
        return direction, directional([slope], {own: direction})

    def _blocks(self, program: Program, rivals: Array, x: Array) -> Array:
        """(..., I, n, n), of the sum of a row's entries."""
        own = self.formulas.Y
        n = own.shape[1]
        directions = np.eye(n).reshape(n, *(1,) * (rivals.ndim - 1), n)
        (out,) = program(np.zeros(own.shape), rivals, x, directions)
        return np.moveaxis(np.broadcast_to(out, (n, *rivals.shape)), 0, -1)
