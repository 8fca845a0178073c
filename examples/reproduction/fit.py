"""The two constants that the paper's figures need, fitted before everybody's eyes.

With the equations as printed no price is inside its bounds. Two constants are put in: payments
weighed by s, leaders' utilities reported times kappa. Here both are fitted by least squares to the
relative errors of all printed equilibrium values (Figs. 3, 5 and 6), each market at the means of
its random draws. The presets use the rounded numbers s = 15 and kappa = 100.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from stackel.examples.reproduction.published import PRINTED, Printed
from stackel.formulations.vehicular_twins import VehicularTwins, fig3
from stackel.results.equilibrium import Equilibrium
from stackel.tasks.solve import solve
from stackel.types import Array

PRESET = (15.0, 100.0)
"""payment_scale and utility_scale of the published preset."""

MEASURES: dict[str, Callable[[Equilibrium], Array]] = {
    "price": lambda eq: eq.leader_actions[0],
    "demand": lambda eq: eq.follower_actions.ravel(),
    "total_demand": lambda eq: eq.follower_actions.sum(axis=1),
    "leader_utility": lambda eq: eq.leader_payoffs,
    "follower_utility": lambda eq: eq.follower_payoffs,
    "welfare": lambda eq: np.array([eq.welfare]),
}

FITTED = tuple(p for p in PRINTED if p.quantity in MEASURES)
"""The printed values of equilibria: all but those of learning curves."""


@dataclass(frozen=True)
class Fit:
    """Constants and how well they do.

    Attributes:
        payment_scale, utility_scale: s and kappa.
        rms: root mean square of the relative errors.
        count: how many printed values there are.
    """

    payment_scale: float
    utility_scale: float
    rms: float
    count: int = len(FITTED)


def at_means(p: Printed, payment_scale: float, utility_scale: float) -> VehicularTwins:
    """The market of a printed number with every random draw at its mean.

    Args:
        p: the number.
        payment_scale, utility_scale: s and kappa.
    """
    if p.figure == "fig3":
        return replace(fig3(), payment_scale=payment_scale, utility_scale=utility_scale)
    at = {"followers": 4, "leaders": 3, "mean_cost": 0.1, "mean_satisfaction": 30.0, **p.at}
    return VehicularTwins(
        satisfaction=np.full(at["followers"], at["mean_satisfaction"]),
        sensitivity=30.0,
        ties=5.0,
        unit_cost=np.full(at["leaders"], at["mean_cost"]),
        payment_scale=payment_scale,
        utility_scale=utility_scale,
    )


def errors(payment_scale: float, utility_scale: float) -> Array:
    """Relative errors of all fitted values (count,), at the means of the draws.

    Args:
        payment_scale, utility_scale: s and kappa.
    """
    solved: dict[tuple[str, ...], Equilibrium] = {}
    out = []
    for p in FITTED:
        players = {k: v for k, v in p.at.items() if k in ("leader", "follower")}
        key = (p.figure, *(f"{k}={v}" for k, v in p.at.items() if k not in players))
        if key not in solved:
            game = at_means(p, payment_scale, utility_scale)
            solved[key] = solve(game, "closed-form", certificate=False)
        values = MEASURES[p.quantity](solved[key])
        ours = values[next(iter(players.values()))] if players else values.mean()
        out.append(ours / p.value - 1)
    return np.array(out)


def at(payment_scale: float, utility_scale: float) -> Fit:
    """How well given constants do.

    Args:
        payment_scale, utility_scale: s and kappa.
    """
    off = errors(payment_scale, utility_scale)
    return Fit(payment_scale, utility_scale, float(np.sqrt(np.mean(off**2))))


def free() -> Fit:
    """The least-squares constants."""
    from scipy.optimize import least_squares

    def residuals(logarithms: Array) -> Array:
        return errors(*np.exp(logarithms).tolist())

    found = least_squares(residuals, np.log([10.0, 50.0]), diff_step=[1e-4])
    return at(*np.exp(found.x).tolist())
