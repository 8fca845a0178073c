"""Points written down in a market file: the table ``[point]``, which a certificate is asked of.

::

    [point]
    leaders = [0.95, 0.81]                          # one row a decision, one column a leader
    followers = [[0.3, 0.3], [0.2, 0.3], [0.4, 0.4]]  # one row a follower; may be left out

A flat list, or a number, will do where there is one row or one column. ``{ csv = FILE }`` takes
either from a file, as in ``[data]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stackel.errors import GameError
from stackel.files.market import located, read_parts, read_value
from stackel.files.toml import check_names
from stackel.game.game import Game
from stackel.game.grids import Pairs
from stackel.types import Array

HOW = "expected leaders = [...], one number for each leader (a row for each of its decisions)"


@dataclass(frozen=True)
class PointFile:
    """What a market file says of a point.

    Attributes:
        game: the market.
        leaders: leader actions (d, J), in the unit of ``game.leader_action``.
        followers: follower actions (I, n), in the unit of ``game.follower_action``; None where
            the file leaves them out.
        solve_options: as in :class:`stackel.files.MarketFile`.
    """

    game: Game
    leaders: Array
    followers: Array | None
    solve_options: dict[str, Any] = field(default_factory=dict)


def read_point(path: str | Path) -> PointFile:
    """Read the point of a market file.

    Args:
        path: the file (TOML), with a table ``[point]``.

    Raises:
        GameError: anything wrong with it, naming file and field.
    """
    parts = read_parts(path)
    with located(path):
        table = parts.point
        if table is None:
            raise GameError(
                f"there is no [point]; {HOW}, and followers, if these are not to be settled. "
                f"`stackel solve {path}` looks for a point"
            )
        check_names("[point] ", "entry", table, ("leaders", "followers"))
        if "leaders" not in table:
            raise GameError(f"[point] has no leaders; {HOW}")
        game, followers = parts.game(), None
        d, J = game.leader_shape
        rows = f"a row of {J} for each of {d} decisions" if d > 1 else f"a row of {J} numbers"
        leaders = _actions("leaders", table["leaders"], (d, J), rows, parts.folder)
        if "followers" in table:
            I, n = game.follower_shape
            rows = f"a row of {n} for each of {I} followers"
            followers = _actions("followers", table["followers"], (I, n), rows, parts.folder)
        return PointFile(game, leaders, followers, dict(parts.solve_options))


def _actions(name: str, value: Any, shape: tuple[int, int], rows: str, folder: Path) -> Array:
    """Actions in their shape.

    Raises:
        GameError: they do not fit it, or are not finite numbers.
    """
    where = f"[point] {name}"
    array = np.asarray(read_value(where, value, Pairs, None, folder), dtype=float)
    if array.ndim < 2 and 1 in shape and array.size == math.prod(shape):
        array = array.reshape(shape)
    if array.shape != shape:
        raise GameError(f"{where} has shape {array.shape}; expected {shape}, {rows}")
    check_finite(where, array)
    return array


def check_finite(where: str, array: Array) -> None:
    """Whether actions are finite numbers.

    Args:
        where: what errors call them.
        array: the actions, rows and columns.

    Raises:
        GameError: one is not; names it.
    """
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        i, j = bad[0]
        raise GameError(f"{where}[{i}, {j}] = {array[i, j]}; expected finite numbers")
