"""Does an agent from another library find the price that the solvers find?

    python examples/outside_agent.py [STEPS]

PPO of Stable-Baselines3 sits at leader 0 of the Fig. 3 market. Leader 1 stays at the equilibrium,
the followers give their best replies to what is announced. The agent knows nothing of the market
but past prices and purchases, and what each round pays. Afterwards it is measured.
"""

import sys

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.wrappers import RescaleAction, RescaleObservation, TransformReward

import stackel
from stackel.formulations.vehicular_twins import fig3
from stackel.learners import Seat, evaluate


def centre(space: Box) -> tuple[np.ndarray, np.ndarray]:
    """Middle and half width of a box."""
    return (space.high + space.low) / 2, (space.high - space.low) / 2


def main(steps: int = 16_384, seed: int = 0) -> float:
    """Train, measure, and return by which share the agent's price is off."""
    try:
        from stable_baselines3 import PPO
    except ImportError:
        sys.exit("this example trains an agent of another library: pip install stable-baselines3")
    game = fig3()
    seat = Seat(game, "leader_0", memory=1)
    env = RescaleAction(RescaleObservation(seat, -1.0, 1.0), -1.0, 1.0)
    env = TransformReward(env, lambda reward: reward / 30.0)  # about one
    torch.set_num_threads(1)  # the networks are small
    # A round changes nothing in the next one: no discounting.
    options = {"gamma": 0.0, "n_steps": 512, "learning_rate": 1e-3, "device": "cpu"}
    agent = PPO("MlpPolicy", env, seed=seed, **options).learn(steps)

    def policy(observation: np.ndarray) -> np.ndarray:
        middle, half = centre(seat.observation_space)
        action, _ = agent.predict((observation - middle) / half, deterministic=True)
        middle, half = centre(seat.action_space)
        return middle + half * action

    result = evaluate(game, {**seat.others, "leader_0": policy}, memory=1)
    print(result.summary())
    price, best = result.x[0, 0], stackel.solve(game).leader_actions[0, 0]
    regret, payoff = result.leader_regrets[0], result.leader_payoffs[0]
    print(f"\nits price {price:.4f}, the equilibrium's {best:.4f}: {price / best - 1:+.2%}")
    print(f"at the best price it would earn {regret:.2g} more than {payoff:.4g}")
    return float(price / best - 1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
