"""What if one leader's cost grows and its rivals' stay? The paper's Fig. 8, and its corners.

    python examples/fig8_competition.py [--out DIR] [--full] [--no-learner]

Leader 0's cost c_0 runs from 0 to 0.6; those of leaders 1 and 2 stay at 0.1 and 0.5. A price lies
between its leader's cost and the cap of 1.5: both bounds are drawn. The last panel has the same
markets with their delay limits, which move prices to the cap.
"""

from dataclasses import replace

import stackel
from stackel import plots
from stackel.examples import reproduction
from stackel.formulations import vehicular_twins as twins

GRID = {"cost": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}
LEARNER = {"cost": [0.0, 0.5]}
LEAST = 1e-9  # costs are positive: this is the 0 of the figure


def market(cost, seed, scale="published", delay=False):
    drawn = twins.draw(seed, followers=4, leaders=3, scale=scale, delay=delay)
    return replace(drawn, unit_cost=[max(cost, LEAST), 0.1, 0.5])


def run(full=False, learner=True):
    points = LEARNER if learner else None
    found = reproduction.answers(market, GRID, by_player=True, full=full, learner=points)
    seeds = found["admm"].sizes["seed"]
    limited = stackel.sweep(market, {**GRID, "delay": [True]}, backend="newton", seeds=seeds)
    found["delay limits"] = reproduction.quantities(limited.sel(delay=True, drop=True), True)
    return found


def draw(answers):
    data = answers["admm"]
    limited = answers["delay limits"]["price"].rename("with_limits")
    limited.attrs |= {"long_name": "price, limits on"}
    highest = limited.max("seed").to_dataframe().reset_index()
    figure = plots.sweep(
        data.assign(with_limits=limited),
        x="cost",
        y=["price", "sales", "leader_utility", "with_limits"],
        hue="leader",
        marks={"highest of the draws": highest, **reproduction.learned(answers)},
        columns=2,
    )
    for ax in (figure.axes[0], figure.axes[3]):
        ax.fill_between(GRID["cost"], 0.0, GRID["cost"], color="0.88", linewidth=0, zorder=0)
        ax.text(0.59, 0.06, "below leader 0's cost", ha="right", color="0.35", fontsize=6.5)
        ax.axhline(1.5, color="0.35", linewidth=0.8)
        ax.text(0.6, 1.57, "cap", ha="right", color="0.35", fontsize=6.5)
        ax.set_ylim(0.0, 1.75)
    for ax in figure.axes:  # where leader 0 is the same as another
        for cost in (0.1, 0.5):
            ax.axvline(cost, color="0.75", linewidth=0.6, zorder=0)
    return figure


if __name__ == "__main__":
    print(reproduction.script("fig8", run, draw))
