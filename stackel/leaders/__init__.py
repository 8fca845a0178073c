"""Leaders: what they foresee, how they deviate, and where none of them wants to."""

from stackel.leaders.anticipation import Anticipation, check_anticipation
from stackel.leaders.deviations import Deviation
from stackel.leaders.equilibrium import find
from stackel.leaders.oracle import Followers

__all__ = ["Anticipation", "Deviation", "Followers", "check_anticipation", "find"]
