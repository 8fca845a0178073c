"""Whether every follower's own problem is proved concave, from the terms of its formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stackel.calculus import matrices
from stackel.calculus.derivatives import directional, gradient
from stackel.calculus.expression import Expression, symbol
from stackel.calculus.formulas import Formulas
from stackel.calculus.program import Program, compile_program
from stackel.calculus.structure import Structure, degree, split
from stackel.memo import Memo
from stackel.types import Array


class Concavity(Memo):
    """The followers' formulas as functions of the own action, rivals and leaders given.

    Attributes:
        payoff: the payoff's structure.
        limits: the own limits' structure, by name.
        quadratic: whether the payoff has degree at most 2 in the own action.
        affine_field: whether the game's field is affine in all followers' actions together.
        affine_limits: whether all limits are affine in the own action; with the field's the same,
            what holds at one point holds everywhere.
        affine_shared: the same of the limits that followers share.
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

    def prove(
        self, rivals: Array, x: Array, at: Callable[[Program], Program] = lambda program: program
    ) -> tuple[Array, Array]:
        """Whether every follower's own problem is proved concave, and how strongly.

        A proof needs every term to be recognised: the quadratic part negative semidefinite, every
        atom's coefficient of the right sign, the limits convex by the same rules.

        Args:
            rivals: everybody's actions (..., I, n).
            x: leader actions (..., d, J).
            at: what makes a program of the formulas one of the market that is asked about.

        Returns:
            the proof's success (...); and the modulus of strong concavity of each payoff's
            quadratic part (..., I), negative where that part alone is not concave.
        """
        proved, modulus = self._definite(None, -1, rivals, x, at)
        for name in self.limits:
            proved = proved & self._definite(name, +1, rivals, x, at)[0]
        return proved, modulus

    def _structure(self, limit: str | None) -> Structure:
        return self.payoff if limit is None else self.limits[limit]

    def _definite(
        self,
        limit: str | None,
        sign: int,
        rivals: Array,
        x: Array,
        at: Callable[[Program], Program],
    ) -> tuple[Array, Array]:
        structure, batch = self._structure(limit), rivals.shape[:-2]
        proved = np.full(batch, not structure.other)
        smallest = np.zeros(rivals.shape[:-1])
        hessian_of, coefficients = self.once(Concavity._programs, limit)
        if hessian_of is not None:
            hessian = sign * self._blocks(at(hessian_of), rivals, x)
            smallest = matrices.smallest_eigenvalues(hessian)
            size = np.abs(hessian).max((-1, -2, -3), initial=0.0)
            proved &= (smallest >= -1e-12 * size[..., None]).all(-1)
        for atom, coefficient in zip(structure.atoms, coefficients, strict=True):
            (value,) = at(coefficient)(rivals, x)
            right = value * atom.curvature * sign
            right = np.broadcast_to(right, np.broadcast_shapes(right.shape, (*batch, 1, 1)))
            proved &= (atom.curvature != 0) & (right >= 0).all((-1, -2))
        return proved, smallest

    def _programs(self, limit: str | None) -> tuple[Program | None, list[Program]]:
        """The second derivatives of a structure's polynomial, and its atoms' coefficients."""
        structure, inputs = self._structure(limit), [self.formulas.R, self.formulas.X]
        polynomial = structure.polynomial
        return (
            None if polynomial is None else self._hessian(polynomial),
            [compile_program(inputs, [atom.coefficient]) for atom in structure.atoms],
        )

    def _hessian(self, polynomial: Expression) -> Program:
        """The derivative of a polynomial's gradient along a direction of the own actions."""
        own = self.formulas.Y
        (slope,) = gradient(polynomial, own)
        direction = symbol("direction", own.shape)
        (moved,) = directional([slope], {own: direction})
        return compile_program([own, self.formulas.R, self.formulas.X, direction], [moved])

    def _blocks(self, program: Program, rivals: Array, x: Array) -> Array:
        """(..., I, n, n), of the sum of a row's entries."""
        own = self.formulas.Y
        n = own.shape[1]
        directions = np.eye(n).reshape(n, *(1,) * (rivals.ndim - 1), n)
        (out,) = program(np.zeros(own.shape), rivals, x, directions)
        return np.moveaxis(np.broadcast_to(out, (n, *rivals.shape)), 0, -1)
