"""How often does the delay limit of Problem 1 bind, and what does that change?

    python examples/delay_limits.py [--out DIR] [--full]

The markets of Fig. 5, once with the paper's random twins, delays and queues, and once without any
limit. The published figures fit the latter.
"""

import numpy as np

import stackel
from stackel import plots
from stackel.examples import reproduction
from stackel.examples.fig5_players import market

GRID = {"delay": [False, True], "leaders": [2, 3, 4], "followers": [2, 3, 4, 5, 6]}
UNITS = {
    "bound": "share of followers whose limit binds",
    "market": "share of markets where one binds",
    "cap": "share of prices at the cap",
}


def shares(eq):
    """Whose limit binds, and whose price is at the cap."""
    eta = eq.multipliers.get("delay", np.zeros(1))
    cap = eq.leader_actions >= eq.game.price_cap - 1e-6
    return {"bound": (eta > 1e-9).mean(), "market": (eta > 1e-9).any(), "cap": cap.mean()}


def run(full=False, learner=False):
    seeds = 200 if full else 20
    data = stackel.sweep(market, GRID, backend="newton", seeds=seeds, measure=shares)
    data = reproduction.quantities(data)
    for name, label in UNITS.items():
        data[name].attrs["long_name"] = label
    return {"newton": data}


def draw(answers):
    data = answers["newton"]
    limits = data["delay"].copy(data=["slack", "limited"])
    return plots.sweep(
        data.assign_coords(delay=limits).sel(leaders=[2, 4]),
        x="followers",
        y=["market", "price", "follower_utility"],
        hue="delay",
        panel="leaders",
        spread=None,
    )


if __name__ == "__main__":
    print(reproduction.script("delay_limits", run, draw))
