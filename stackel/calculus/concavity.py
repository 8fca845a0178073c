"""Whether every follower's own problem is proved concave."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stackel.calculus import matrices
from stackel.calculus.derivatives import directional, gradient
from stackel.calculus.expression import Expression, symbol
from stackel.calculus.program import at_elements, compile_program
from stackel.calculus.structure import Structure, degree, split
from stackel.types import Array

if TYPE_CHECKING:
    from stackel.calculus.calculus import Calculus


class OwnStructure:
    """The followers' formulas as functions of the own action, rivals and leaders given.

    Attributes:
        payoff: the payoff's structure.
        limits: the own limits' structure, by name.
        quadratic: whether the payoff has degree at most 2 in the own action.
        constant_curvature: whether the game's field is affine in all followers' actions together
            and the limits in the own action, so that what holds at one point holds everywhere.
    """

    def __init__(self, calculus: Calculus) -> None:
        self.calculus = calculus
        own = calculus.Y
        self.payoff = split(calculus.follower_payoff, own)
        self.limits = {name: split(e, own) for name, e in calculus.own_limits.items()}
        self.quadratic = not self.payoff.atoms and not self.payoff.other
        (slope,) = gradient(calculus.follower_payoff, own)
        self.affine_field = degree(slope, calculus.Y, calculus.R) <= 1
        self.affine_limits = all(
            degree(e, own) <= 1
            for e in (*calculus.own_limits.values(), *calculus.shared_limits.values())
        )

    def concavity(self, rivals: Array, x: Array, index: Array | None = None) -> tuple[Any, Array]:
        """Whether every follower's own problem is proved concave, and how strongly.

        A proof needs every term to be recognised: the quadratic part negative semidefinite, every
        atom's coefficient of the right sign, the limits convex by the same rules.

        Args:
            rivals: everybody's actions (..., I, n).
            x: leader actions (..., d, J).
            index: of some elements of a stack, which; None for all.

        Returns:
            the proof's success (...); and the modulus of strong concavity of each payoff's
            quadratic part (..., I), negative where that part alone is not concave.
        """
        at = (rivals, x, index)
        proved, modulus = self._definite(self.payoff, -1, *at)
        for structure in self.limits.values():
            proved = proved & self._definite(structure, +1, *at)[0]
        return proved if proved.ndim else bool(proved), modulus

    def _definite(
        self, structure: Structure, sign: int, rivals: Array, x: Array, index: Array | None
    ) -> tuple[Any, Array]:
        batch = rivals.shape[:-2]
        proved = np.full(batch, not structure.other)
        smallest = np.zeros(rivals.shape[:-1])
        if structure.polynomial is not None:
            hessian = sign * self._hessian(structure.polynomial, rivals, x, index)
            smallest = matrices.smallest_eigenvalues(hessian)
            size = np.abs(hessian).max((-1, -2, -3), initial=0.0)
            proved &= (smallest >= -1e-12 * size[..., None]).all(-1)
        for atom in structure.atoms:
            value = self._program([self.calculus.R, self.calculus.X], atom.coefficient, index)
            right = value(rivals, x)[0] * atom.curvature * sign
            right = np.broadcast_to(right, np.broadcast_shapes(right.shape, (*batch, 1, 1)))
            proved &= (atom.curvature != 0) & (right >= 0).all((-1, -2))
        return proved, smallest

    def _program(
        self, inputs: list[Expression], output: Expression, index: Array | None
    ) -> Callable[..., tuple[Any, ...]]:
        program = compile_program(inputs, [output])
        return program if index is None else at_elements(program, index, {})

    def _hessian(
        self, polynomial: Expression, rivals: Array, x: Array, index: Array | None
    ) -> Array:
        """(..., I, n, n), of the sum of a row's entries."""
        own = self.calculus.Y
        n = own.shape[1]
        (slope,) = gradient(polynomial, own)
        direction = symbol("direction", own.shape)
        (moved,) = directional([slope], {own: direction})
        inputs = [own, self.calculus.R, self.calculus.X, direction]
        directions = np.eye(n).reshape(n, *(1,) * (rivals.ndim - 1), n)
        (out,) = self._program(inputs, moved, index)(np.zeros(own.shape), rivals, x, directions)
        return np.moveaxis(np.broadcast_to(out, (n, *rivals.shape)), 0, -1)

    @cached_property
    def constant_curvature(self) -> bool:
        return self.affine_field and self.affine_limits
