"""What if bandwidth costs more, or is worth more to its buyers? The paper's Fig. 6.

    python examples/fig6_cost_and_satisfaction.py [--out DIR] [--full] [--no-learner]

Costs are drawn around their mean with a spread of 0.05 and kept positive, so at a mean of 0 they
are 0.04 on average.
"""

from stackel.examples import reproduction
from stackel.formulations import vehicular_twins as twins

GRID = {"mean_satisfaction": [25.0, 30.0, 35.0], "mean_cost": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]}
LEARNER = {"mean_satisfaction": [30.0], "mean_cost": [0.1, 0.5]}


def market(mean_cost, mean_satisfaction, seed, scale="published"):
    return twins.draw(
        seed,
        followers=4,
        leaders=3,
        satisfaction=mean_satisfaction,
        unit_cost=mean_cost,
        scale=scale,
        delay=False,
    )


def run(full=False, learner=True):
    return reproduction.answers(market, GRID, full=full, learner=LEARNER if learner else None)


def draw(answers):
    panels = ["price", "demand", "follower_utility", "leader_utility", "welfare"]
    return reproduction.draw_averages(
        "fig6", answers, x="mean_cost", hue="mean_satisfaction", y=panels
    )


if __name__ == "__main__":
    print(reproduction.script("fig6", run, draw))
