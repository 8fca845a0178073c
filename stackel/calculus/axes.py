"""Axes of small arrays, made explicit or moved.

NumPy's own functions check their arguments, which costs more than the work where arrays are as
small as those of one market's trial actions.
"""

from __future__ import annotations

import numpy as np

from stackel.types import Array


def wide(array: Array, shape: tuple[int, ...]) -> Array:
    """Broadcast, and only where it must be.

    Args:
        array: any that broadcasts to the shape.
        shape: of what comes out.
    """
    return array if array.shape == shape else np.broadcast_to(array, shape)


def first_to_last(array: Array) -> Array:
    """A view with the first axis moved behind all others.

    Args:
        array: of one axis or more.
    """
    return array.transpose(*range(1, array.ndim), 0)


def distinct(array: Array) -> Array:
    """A view of what differs: axes along which a broadcast array only repeats itself have length 1.

    Args:
        array: any.
    """
    if 0 not in array.strides:
        return array
    return array[tuple(slice(0, 1) if step == 0 else slice(None) for step in array.strides)]
