"""What a user asks for: solve, compare, and which backends can."""

from stackel.tasks.compare import compare
from stackel.tasks.many import solve_many
from stackel.tasks.solve import backends, solve

__all__ = ["backends", "compare", "solve", "solve_many"]
