"""The one type that everything speaks of."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
"""Numbers on two core axes, followers or decisions along the second to last, leaders along the
last; batch axes in front."""
