"""The grids that market data lives on, and the intake of user data onto them.

Leaders run along the last axis, followers along the second to last: leader data is (1, J),
follower data (I, 1), pairs (I, J), peers (I, I). A market annotates its fields with these names;
the intake takes whatever a user has (a number, a list, a pandas column, a graph), checks it and
lays it on the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import networkx as nx
import numpy as np
import scipy.sparse as sp

from stackel.errors import GameError
from stackel.types import Array

DENSE_UP_TO = 64  # a smaller or fuller matrix of ties is faster dense
DENSE_FROM_FILL = 0.25


@dataclass(frozen=True)
class Grid:
    """Which players a field's two core axes run over.

    Attributes:
        name: ``"follower"``, ``"leader"``, ``"pairs"`` or ``"peers"``.
        rows, columns: ``"followers"``, ``"leaders"``, or None for an axis of length 1.
    """

    name: str
    rows: str | None
    columns: str | None


Follower = Annotated[Any, Grid("follower", "followers", None)]
Leader = Annotated[Any, Grid("leader", None, "leaders")]
Pairs = Annotated[Any, Grid("pairs", "followers", "leaders")]
Peers = Annotated[Any, Grid("peers", "followers", "followers")]


def grid_of(hint: Any) -> Grid | None:
    """The grid that an annotation names, also of ``Follower | None``."""
    for part in (hint, *getattr(hint, "__args__", ())):
        for extra in getattr(part, "__metadata__", ()):
            if isinstance(extra, Grid):
                return extra
    return None


def _is_sparse(value: Any) -> bool:
    return bool(sp.issparse(value))


class SparseOperator:
    """A sparse (I, I) matrix that multiplies arrays with any batch axes in front.

    Args:
        matrix: anything that SciPy makes a sparse array of.

    Attributes:
        matrix: the same in compressed rows.
    """

    __stackel_operator__ = True
    __array_ufunc__ = None

    def __init__(self, matrix: Any) -> None:
        self.matrix: Any = sp.csr_array(matrix, dtype=float)

    @property
    def shape(self) -> tuple[int, int]:
        """(I, I)."""
        rows, columns = self.matrix.shape
        return rows, columns

    @property
    def T(self) -> SparseOperator:
        """The transpose."""
        return SparseOperator(self.matrix.T)

    def __abs__(self) -> SparseOperator:
        return SparseOperator(abs(self.matrix))

    def toarray(self) -> np.ndarray:
        """The matrix (I, I) with all its zeros."""
        return self.matrix.toarray()

    def __matmul__(self, other: Any) -> Any:
        if not isinstance(other, np.ndarray):
            return NotImplemented
        if other.ndim <= 2:
            return self.matrix @ other
        flat = np.moveaxis(other, -2, 0)
        out = self.matrix @ flat.reshape(flat.shape[0], -1)
        return np.moveaxis(out.reshape(-1, *flat.shape[1:]), 0, -2)

    def __rmatmul__(self, other: Any) -> Any:
        if not isinstance(other, np.ndarray):
            return NotImplemented
        return (self.T @ other.swapaxes(-1, -2)).swapaxes(-1, -2)

    def __repr__(self) -> str:
        return f"SparseOperator({self.shape[0]}x{self.shape[1]}, {self.matrix.nnz} entries)"


def _as_matrix(value: Any, where: str) -> Any:
    """Peers as the user gave them: a graph, a sparse matrix or a dense one.

    Raises:
        GameError: a graph without nodes, or what is not numbers.
    """
    if isinstance(value, SparseOperator):
        return value.matrix  # ours: zeros left out at its making
    if isinstance(value, nx.Graph):
        if value.number_of_nodes() == 0:
            raise GameError(f"{where} is an empty graph; expected one node for each follower")
        value = nx.to_scipy_sparse_array(value, weight="weight", format="csr")
    if _is_sparse(value):
        matrix: Any = sp.csr_array(value, dtype=float, copy=True)
        matrix.eliminate_zeros()
        return matrix
    return _as_array(value, where)


def _as_array(value: Any, where: str) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise GameError(
            f"{where} = {value!r} is not numeric; expected a number or an array of numbers"
        ) from None
    return array


def _reject_non_finite(array: Any, where: str) -> None:
    values = array.data if _is_sparse(array) else array
    if not np.isfinite(values).all():
        bad = np.argwhere(~np.isfinite(values))[0]
        index = ", ".join(map(str, bad))
        raise GameError(
            f"{where}[{index}] = {values[tuple(bad)]}; expected finite numbers: "
            "drop or fill in the missing value"
        )


def read(value: Any, grid: Grid, where: str) -> tuple[Any, dict[str, int]]:
    """Lay one field on its grid, and say how many players it speaks of.

    Args:
        value: what the user has: a number, a list, a column, a matrix, a graph.
        grid: where it belongs.
        where: what errors call it.

    Returns:
        the array (a scalar stays 0-dimensional until the sizes are known), and the number of
        followers and leaders that it fixes.

    Raises:
        GameError: not numbers, not finite, or of a shape that is not the grid's.
    """
    array = _as_matrix(value, where) if grid.name == "peers" else _as_array(value, where)
    if _is_sparse(array) or array.dtype != object:
        _reject_non_finite(array, where)
    if array.ndim == 0:
        return array, {}
    if grid.name == "follower":
        expected = "(I,), one value for each follower"
        array = array[:, None] if array.ndim == 1 else array
        good = array.ndim == 2 and array.shape[1] == 1
    elif grid.name == "leader":
        expected = "(J,), one value for each leader"
        array = array[None, :] if array.ndim == 1 else array
        good = array.ndim == 2 and array.shape[0] == 1
    elif grid.name == "pairs":
        expected = "(I, J), a row for each follower and a column for each leader"
        good = array.ndim == 2
    else:
        expected = "(I, I), a row and a column for each follower, or a graph with I nodes"
        good = array.ndim == 2 and array.shape[0] == array.shape[1]
    if not good:
        shape = np.shape(value) if not _is_sparse(value) else value.shape
        raise GameError(f"{where} has shape {shape}; expected {expected}")
    sizes: dict[str, int] = {}
    for axis, players in ((0, grid.rows), (1, grid.columns)):
        if players is not None:
            sizes[players] = array.shape[axis]
    return array, sizes


def place(array: Any, grid: Grid, sizes: dict[str, int]) -> Any:
    """Broadcast a scalar over its grid; choose dense or sparse for peers.

    Args:
        array: what :func:`read` gave.
        grid: its grid.
        sizes: numbers of ``"followers"`` and ``"leaders"``.

    Returns:
        an array (1, J), (I, 1), (I, J) or (I, I); a :class:`SparseOperator` for many peers with
        few ties. A number for peers ties everybody to everybody else, not to itself.
    """
    shape = tuple(1 if players is None else sizes[players] for players in (grid.rows, grid.columns))
    if grid.name != "peers":
        return _filled(array, shape)
    if array.ndim == 0:  # everybody is tied to everybody else by the same weight
        return np.full(shape, float(array)) - float(array) * np.eye(shape[0])
    size = shape[0]
    filled = array.nnz if _is_sparse(array) else int(np.count_nonzero(array))
    if size <= DENSE_UP_TO or filled > DENSE_FROM_FILL * size * size:
        return array.toarray() if _is_sparse(array) else array
    return SparseOperator(array)


def _filled(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A copy of that shape: ``np.broadcast_to``, without its overhead on small markets.

    Raises:
        ValueError: the array does not broadcast to it.
    """
    if array.ndim > len(shape):
        raise ValueError(f"shape {array.shape} does not broadcast to {shape}")
    out = np.empty(shape, array.dtype)
    out[...] = array
    return out


def bounds(low: Any, high: Any, shape: tuple[int, int], name: str) -> tuple[np.ndarray, np.ndarray]:
    """An action's bounds on its grid, checked.

    Args:
        low, high: numbers, or arrays that broadcast to the shape; may be infinite.
        shape: of all players' actions, (d, J) or (I, n).
        name: of the action, for errors.

    Raises:
        GameError: bounds that do not fit the action's shape, are NaN, or cross.
    """
    out = []
    for side, value in (("low", low), ("high", high)):
        array = _as_array(value, f"{name}.{side}")
        try:
            array = _filled(array, shape)
        except ValueError:
            raise GameError(
                f"action {name!r}: {side} has shape {array.shape}; expected a number or an "
                f"array that broadcasts to {shape}"
            ) from None
        if np.isnan(array).any():
            raise GameError(f"action {name!r}: {side} contains NaN; expected numbers or infinity")
        out.append(array)
    lower, upper = out
    if (lower > upper).any():
        i, j = np.argwhere(lower > upper)[0]
        raise GameError(
            f"action {name!r}: low {lower[i, j]:g} exceeds high {upper[i, j]:g} at row {i}, "
            f"column {j}; expected low <= high"
        )
    if (np.isinf(lower).any() and (lower == math.inf).any()) or (upper == -math.inf).any():
        raise GameError(f"action {name!r}: a bound is infinite on the wrong side")
    return lower, upper


def origin(low: Array, high: Array) -> Array:
    """What actions in a box are measured from: their lower bounds, their upper ones where they have
    only those, or 0.

    Args:
        low, high: the box, arrays of one shape; may be infinite.
    """
    return np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, 0.0))


def middle(low: Array, high: Array) -> Array:
    """A point inside a box: its middle, or a unit off its finite side; 0 where it has none.

    Args:
        low, high: the box, arrays of one shape; may be infinite.
    """
    low_is, high_is = np.isfinite(low), np.isfinite(high)
    safe_low, safe_high = np.where(low_is, low, 0.0), np.where(high_is, high, 0.0)
    one_sided = np.where(low_is, safe_low + 1.0, np.where(high_is, safe_high - 1.0, 0.0))
    return np.where(low_is & high_is, (safe_low + safe_high) / 2, one_sided)
