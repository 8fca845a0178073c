"""Whether a follower's formulas know its own action from the others'.

The i-th row of a follower formula may depend on the i-th row of ``y`` alone; what the others do
comes through ``rivals``. Else "moving alone" means nothing, and every verdict would be about a game
that nobody stated.
"""

from __future__ import annotations

import numpy as np

from stackel.calculus.expression import Expression, ordered
from stackel.calculus.formulas import Formulas
from stackel.calculus.program import Program, compile_program
from stackel.errors import GameError
from stackel.game.grids import middle
from stackel.types import Array

Box = tuple[Array, Array]

PROFILES = 4
"""Follower actions at which formulas are looked at."""

SAME = 1e-9
"""Relative change that counts as rounding."""


def mixes_rows(node: Expression, own: Expression) -> bool:
    """Whether rows of an expression might depend on other rows of a symbol, as far as its
    operations tell: sums over rows, products from the left, rows cut out or put together."""
    rows = own.shape[0]
    if rows == 1:
        return False
    depends = {id(own)}
    for n in ordered([node]):
        of = [a for a in n.args if id(a) in depends]
        if not of:
            continue
        depends.add(id(n))
        right = n.op == "matmul" and n.args[1] in of
        if (
            right
            or n.op == "transpose"
            or n.shape[0] != rows
            or any(a.shape[0] != rows for a in of)
        ):
            return True
    return False


def check_rows(formulas: Formulas, leader_bounds: Box, follower_bounds: Box) -> None:
    """Look at a market's follower formulas.

    Args:
        formulas: the traced formulas.
        leader_bounds, follower_bounds: between which actions are tried.

    Raises:
        GameError: a follower's payoff or own limit changes with another follower's row of ``y``.
    """
    named = {"follower_payoff": formulas.follower_payoff}
    named |= {f"follower_limits[{key!r}]": node for key, node in formulas.own_limits.items()}
    for name, node in named.items():
        who = None
        if mixes_rows(node, formulas.Y):
            program = compile_program([formulas.Y, formulas.R, formulas.X], [node])
            who = _who_follows(program, middle(*leader_bounds), follower_bounds)
        if who is not None:
            raise GameError(
                f"{formulas.market}.{name} of follower {who} changes with another follower's row "
                "of y; take what the others do from rivals: over_followers(rivals) - rivals + y is "
                "everybody's total with the own action in it. A limit on all is a shared limit"
            )


def _who_follows(program: Program, x: Array, bounds: Box) -> int | None:
    """A follower whose row of a formula changes where other rows of y do, at any of a few profiles.
    Every two followers' numbers differ in a digit: rows with a 0 there are moved, then those with a
    1."""
    centre, (low, high) = middle(*bounds), bounds
    digits = np.arange(len(centre)) >> np.arange(max(1, (len(centre) - 1).bit_length()))[:, None]
    moves = np.concatenate([digits & 1 == 0, digits & 1 == 1])[:, None, :, None]
    width = np.where(np.isfinite(high - low), high - low, np.abs(centre) + 1.0)
    rng = np.random.default_rng(0)
    drawn = centre + 0.3 * width * rng.uniform(-1, 1, (2, PROFILES, *centre.shape))
    y, elsewhere = np.clip(drawn, low, high)
    y[0] = centre
    with np.errstate(all="ignore"):
        (before,), (after,) = (program(own, y, x) for own in (y, np.where(moves, elsewhere, y)))
        change = np.abs(after - before) > SAME * (np.abs(before) + np.abs(after))
    change = change & np.isfinite(after) & np.isfinite(before) & ~moves
    found = np.flatnonzero(change.any((0, 1, 3)))
    return int(found[0]) if len(found) else None
