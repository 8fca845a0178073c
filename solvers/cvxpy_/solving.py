"""The solvers below CVXPY: which are tried, what they are asked, what they did."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stackel.run import RESERVE, Stop, check_time, limit_for_solver

TIGHT: Mapping[str, dict[str, Any]] = {
    "OSQP": {"eps_abs": 1e-10, "eps_rel": 1e-10, "max_iter": 4000, "adaptive_rho_interval": 50},
    "CLARABEL": {
        "tol_gap_abs": 1e-12,
        "tol_gap_rel": 1e-12,
        "tol_feas": 1e-12,
        "tol_ktratio": 1e-10,
    },
    "SCS": {"eps_abs": 1e-10, "eps_rel": 1e-10, "max_iters": 50_000},
}
"""Accuracy asked of solvers: leaders' slopes are differences of what comes back."""

TIME_LIMITS: Mapping[str, str] = {
    "OSQP": "time_limit",
    "CLARABEL": "time_limit",
    "SCS": "time_limit_secs",
    "HIGHS": "time_limit",
}
"""What solvers call their limit of time [s]; the others (ECOS has none) are waited for."""

GIVE_UP = 20
"""Breakdowns of the solver in a row, on single elements, after which there is no point going on."""


class SolverFailure(Exception):
    """A problem that was not solved, and why in the solver's word.

    Attributes:
        broken: whether the solver is to blame, rather than a problem that has no solution.
    """

    def __init__(self, why: str, broken: bool = True) -> None:
        self.broken = broken
        super().__init__(why)


def choose(quadratic: bool, named: str | None) -> list[str]:
    """Solvers to try, in this order: a QP solver for a QP, a cone solver otherwise.

    Args:
        quadratic: whether the problem is a QP.
        named: the user's choice, or None.
    """
    import cvxpy as cp

    if named is not None:
        return [named.upper()]
    here = cp.installed_solvers()
    if quadratic and "OSQP" in here:  # backed by one that is slower, and never gives up early
        return [s for s in ("OSQP", "CLARABEL") if s in here]
    return [s for s in ("CLARABEL", "ECOS", "SCS") if s in here][:1]


def in_time(solver: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A solver's settings, its own limit of time no later than the one that holds here.

    Args:
        solver: its name.
        settings: by its own names.
    """
    name = TIME_LIMITS.get(solver)
    if name is None:
        return settings
    limit = limit_for_solver(settings.get(name) or math.inf)
    return settings if limit == math.inf else {**settings, name: limit}


def run_solver(
    problem: Any, solvers: list[str], options: Mapping[str, Any], exact: bool
) -> tuple[str, float]:
    """Solve a CVXPY problem by the first solver that can, in what is left of the time.

    Args:
        problem: the problem.
        solvers: names, tried in turn.
        options: of the solver, on top of :data:`TIGHT`.
        exact: whether an answer short of the tolerances asks for the next solver.

    Returns:
        the solver's name and the time that it says it took [s].

    Raises:
        SolverFailure: none of them brought an answer.
        Stop: the time is up; a solver that stops at it has no answer.
    """
    import cvxpy as cp

    why, broken = "no suitable solver is installed", True
    for position, name in enumerate(solvers):
        settings = {**TIGHT.get(name, {}), **options}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an inaccurate answer is measured, not warned about
            try:
                data, chain, inverse = problem.get_problem_data(name, solver_opts=settings)
                check_time(RESERVE)  # compiling a large problem takes long
                solution = chain.solve_via_data(problem, data, solver_opts=in_time(name, settings))
                problem.unpack_results(solution, chain, inverse)
            except Stop:
                raise
            except Exception as error:  # of the solver's own kind: a licence, a crash, ...
                check_time(RESERVE)
                why, broken = f"{name}: {error}", True
                continue
        check_time(RESERVE)
        last = position == len(solvers) - 1
        good = (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) if last or not exact else (cp.OPTIMAL,)
        if problem.status in good:
            return name, float(problem.solver_stats.solve_time or 0.0)
        why = f"{name}: {problem.status}"
        broken = problem.status not in cp.settings.INF_OR_UNB
        if not broken:
            break
    raise SolverFailure(why, broken)


@dataclass
class Tally:
    """What the solvers did.

    Attributes:
        solves: how many problems each of them solved.
        failures: how often an element was left without an answer.
        failure: why, the last time.
        in_a_row: breakdowns of a solver on single elements since one last solved a problem.
        solver_seconds: time that they say they took [s].
    """

    solves: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    failure: str = ""
    in_a_row: int = 0
    solver_seconds: float = 0.0

    def solved(self, solver: str, seconds: float) -> None:
        """Count a problem that was solved.

        Args:
            solver: by whom.
            seconds: in what time [s].
        """
        self.solves[solver] += 1
        self.solver_seconds += seconds
        self.in_a_row = 0

    def lost(self, count: int, why: str) -> None:
        """Count elements left without an answer.

        Args:
            count: how many.
            why: for what reason.
        """
        if count:
            self.failures += count
            self.failure = why

    def failed(self, failure: SolverFailure) -> None:
        """Count a failure on one element.

        Args:
            failure: what happened.

        Raises:
            RuntimeError: the solver has broken down for good.
        """
        self.lost(1, str(failure).splitlines()[0])
        self.in_a_row += failure.broken
        if self.in_a_row >= GIVE_UP:
            raise RuntimeError(f"{GIVE_UP} solves in a row failed, the last by {self.failure}")
