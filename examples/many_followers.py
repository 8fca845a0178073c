"""How large a market can be solved?

    python examples/many_followers.py [FOLLOWERS]

100,000 service providers on a sparse random social graph, by the closed form. The certificate is
computed where it takes seconds; for larger markets pass a smaller number to see one.
"""

import sys
import time

import numpy as np
import scipy.sparse as sp

import stackel
from stackel.formulations.vehicular_twins import VehicularTwins

DEGREE = 6
CERTIFY_UP_TO = 2_000


def sparse_market(followers: int, rng: np.random.Generator) -> VehicularTwins:
    """Ties of weight about 5 between random pairs, six for each follower on average."""
    ends = rng.integers(0, followers, (2, followers * DEGREE // 2))
    ends = ends[:, ends[0] != ends[1]]
    weights = rng.normal(5.0, 1.0, ends.shape[1]).clip(0.1) / 5
    half = sp.coo_array((weights, tuple(ends)), shape=(followers, followers)).tocsr()
    return VehicularTwins(
        satisfaction=rng.normal(30.0, 1.0, followers),
        sensitivity=30.0,
        ties=half + half.T,  # mutual
        unit_cost=[0.3, 0.1],
        payment_scale=15.0,
        utility_scale=100.0 / followers,
    )


def main(followers: int) -> None:
    game = sparse_market(followers, np.random.default_rng(0))
    began = time.perf_counter()
    eq = stackel.solve(game, backend="closed-form", certificate=followers <= CERTIFY_UP_TO)
    print(f"{game}: {time.perf_counter() - began:.2f} s, {eq.status.message}")
    print(f"prices {eq.leader_actions.ravel()}, leaders' payoffs {eq.leader_payoffs}")
    bought = eq.follower_actions.sum(axis=1)
    shares = np.quantile(bought, [0.0, 0.5, 1.0]).round(4)
    print(f"followers buy {shares[0]} at least, {shares[1]} in the median, {shares[2]} at most")
    print(
        eq.certificate
        if eq.certificate is not None
        else "not certified: pass a smaller number of followers to see a certificate"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
