"""What if followers reinforce each other so much that there is no equilibrium?

    python examples/no_equilibrium.py

With every two of N followers tied by 5 and sensitivity 30, best replies grow without end from
N = 13 on. The condition in the paper (Theorem 1: satisfaction above the price) does not see it.
"""

from dataclasses import replace

import numpy as np

import stackel
from stackel.formulations.vehicular_twins import VehicularTwins


def everybody_tied(followers: int) -> VehicularTwins:
    return VehicularTwins(
        satisfaction=np.full(followers, 30.0),
        sensitivity=30.0,
        ties=5.0,
        unit_cost=[0.3, 0.1],
        payment_scale=15.0,
        utility_scale=100.0,
    )


def report(what: str, game: VehicularTwins) -> None:
    try:
        eq = stackel.solve(game)
    except stackel.NoEquilibriumError as error:
        print(f"{what}:\n  {error}\n")
        return
    bought = eq.follower_actions.mean()
    radius = eq.certificate.uniqueness.spectral_radius
    print(f"{what}: {eq.certificate.verdict} by {eq.backend}")
    print(f"  prices {eq.leader_actions.ravel().round(4)}, mean purchase {bought:.4f}")
    print(f"  best-reply spectral radius {radius:.4f}\n")


def main() -> None:
    for followers in (3, 8, 11, 12, 13):
        report(f"{followers} followers", everybody_tied(followers))

    too_many = everybody_tied(13)
    weaker = 4.0 * (1 - np.eye(13))
    print("Ways out for 13 followers:\n")
    report("weaker ties (4 instead of 5)", replace(too_many, ties=weaker))
    report("more sensitive followers (33 instead of 30)", replace(too_many, sensitivity=33.0))
    report("at most 1e7 Hz from each leader", replace(too_many, bandwidth_cap=1.0))


if __name__ == "__main__":
    main()
