"""What if followers are tied more closely? The paper's Fig. 7.

python examples/fig7_social_ties.py [--out DIR] [--full] [--no-learner]
"""

from stackel.examples import reproduction
from stackel.formulations import vehicular_twins as twins

GRID = {"mean_tie": [4.0, 4.5, 5.0, 5.5, 6.0]}
LEARNER = {"mean_tie": [4.0, 6.0]}


def market(mean_tie, seed, scale="published"):
    return twins.draw(seed, followers=4, leaders=3, tie=mean_tie, scale=scale, delay=False)


def run(full=False, learner=True):
    return reproduction.answers(market, GRID, full=full, learner=LEARNER if learner else None)


def draw(answers):
    return reproduction.draw_averages("fig7", answers, x="mean_tie")


if __name__ == "__main__":
    print(reproduction.script("fig7", run, draw))
