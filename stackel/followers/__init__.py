"""What followers answer: their equilibrium, their best replies, and how these move."""

from stackel.followers.response import Response, reply, settle
from stackel.followers.sensitivity import sensitivity
from stackel.followers.starts import first_guess, inside

__all__ = ["Response", "first_guess", "inside", "reply", "sensitivity", "settle"]
