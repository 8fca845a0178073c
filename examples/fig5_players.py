"""How do more followers, and more leaders to buy from, change the market? The paper's Fig. 5.

    python examples/fig5_players.py [--out DIR] [--full] [--no-learner]

Markets are nested: a further player leaves the draws of the others as they are.
"""

from dataclasses import replace

import numpy as np

from stackel.examples import reproduction
from stackel.formulations import vehicular_twins as twins

GRID = {"leaders": [2, 3, 4], "followers": [2, 3, 4, 5, 6]}
LEARNER = {"leaders": [2], "followers": [2, 6]}

FOLLOWERS = ("satisfaction", "sensitivity", "cycles", "twin_size", "max_delay")
LEADERS = ("unit_cost", "arrival_rate", "service_rate", "clock_rate")


def market(followers, leaders, seed, scale="published", delay=False):
    """The first of a large draw's players."""
    whole = twins.draw(seed, 6, 4, scale=scale, delay=delay)
    parts = dict.fromkeys(FOLLOWERS, np.s_[:followers]) | dict.fromkeys(LEADERS, np.s_[:, :leaders])
    data = {name: getattr(whole, name) for name in parts}
    first = {name: value[parts[name]] for name, value in data.items() if value is not None}
    return replace(whole, ties=whole.ties[:followers, :followers], **first)


def run(full=False, learner=True):
    return reproduction.answers(market, GRID, full=full, learner=LEARNER if learner else None)


def draw(answers):
    return reproduction.draw_averages("fig5", answers, x="followers", hue="leaders")


if __name__ == "__main__":
    print(reproduction.script("fig5", run, draw))
