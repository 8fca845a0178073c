"""Would a test of the followers alone notice a wrong price?

    python examples/refute_a_price.py

The equilibrium is moved by one per cent in one price, and the followers settle there. Each of them
plays its best reply, so only a leader's deviation, with the followers re-settled, shows the error.
"""

import numpy as np

import stackel
from stackel.calculus import trace
from stackel.followers import response
from stackel.formulations.vehicular_twins import fig3


def main() -> None:
    game = fig3(delay=True)
    eq = stackel.solve(game)
    print(f"the equilibrium: prices {eq.leader_actions.ravel()}\n  {eq.certificate}\n")

    for leader in range(game.n_leaders):
        x = eq.leader_actions.copy()
        x[:, leader] *= 1.01
        y = response.settle(game, x).y
        certificate = stackel.certify(game, x, y)
        print(f"leader {leader} asks 1 % more: prices {x.ravel()}")
        print(f"  followers gain at most {certificate.follower_gap:.1e}: they cannot tell")
        print(f"  {certificate}")

        move = certificate.deviation
        assert move.index == leader
        there = x.copy()
        there[:, move.index] = move.action
        settled = response.settle(game, there).y
        before = trace(game).leader_values(x, y)[0][leader]
        after = trace(game).leader_values(there, settled)[0][leader]
        print(f"  try it: {before:.6f} before, {after:.6f} after\n")
        assert np.isclose(after - before, move.gain, rtol=1e-6)


if __name__ == "__main__":
    main()
