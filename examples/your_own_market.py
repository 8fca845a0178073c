"""What does a market of one's own take? Here: federated learning.

    python examples/your_own_market.py

Task owners (leaders) each offer a reward for each unit of training data; devices (followers) decide
how much data to train on for whom. More data makes a model better with diminishing returns, and a
device's energy cost grows with the square of all it does.
"""

from dataclasses import dataclass

import stackel
from stackel import Action, Follower, Game, Leader
from stackel.functions import log, over_followers, over_leaders
from stackel.testing import check_game


@dataclass(frozen=True)
class FederatedLearning(Game):
    accuracy_worth: Leader  # a_j [$]: what accuracy is worth to task owner j
    energy_cost: Follower  # e_i [$ per squared unit of data]
    battery: Follower  # [units of data]: what device i can do at most

    leader_action = Action("reward", unit="$ per unit", low=0.0, high=5.0)
    follower_action = Action("data", unit="units")

    def follower_payoff(self, y, rivals, x):
        return over_leaders(x * y) - self.energy_cost * (over_leaders(y) ** 2 + over_leaders(y**2))

    def follower_limits(self, y, rivals, x):
        return {"battery": over_leaders(y) - self.battery}

    def leader_payoff(self, x, y):
        data = over_followers(y)
        return self.accuracy_worth * log(1 + data) - x * data


def main() -> None:
    market = FederatedLearning(
        accuracy_worth=[6.0, 4.0], energy_cost=[0.5, 1.0, 0.3], battery=[2.0, 2.0, 0.8]
    )
    check_game(market)  # keeps the rules that all backends rely on
    print(stackel.backends(market).to_string(), "\n")
    print(stackel.solve(market).summary())


if __name__ == "__main__":
    main()
