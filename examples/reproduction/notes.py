"""What is to be said of each figure, with the numbers of this run.

Every function takes what the figure's script found, and gives paragraphs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from stackel.examples.reproduction.experiment import Answers
from stackel.examples.reproduction.fit import PRESET, at_means
from stackel.examples.reproduction.published import QUANTITIES, printed
from stackel.formulations import vehicular_twins
from stackel.tasks.solve import solve

FIXED_COSTS = (0.1, 0.5)
"""Of leaders 1 and 2 in Fig. 8."""

CAP = 1.5
"""The highest price."""


def fig3(found: Answers) -> list[str]:
    """Fig. 3 (Section VI-B): what is drawn, whose demands are printed, and where prices lie."""
    low, high = vehicular_twins.fig3().leader_bounds
    middle = " and ".join(f"{v:g}" for v in ((low + high) / 2)[0].round(12))
    return _paragraphs(f"""
        Satisfactions and costs are printed, sensitivities and ties are not: ours are drawn anew.
        The methods' paths are those of the market at the means of these draws.

        The paper prints the total demands in rising order without saying whose they are; they
        must belong to alpha = 25, 30 and 35.

        The printed prices are also the middles of the price ranges, {middle}: where a policy that
        has learned nothing, or a solver that has not begun, would stand. We note it and draw no
        conclusion.
    """)


def fig4(found: Answers) -> list[str]:
    """Fig. 4 (Section VI-B): the rewards reached, and what of the paper's order can hold."""
    data = found["learners"]
    last = data["reward"].isel(iteration=-1)
    spread = last.std("seed").to_series()
    ranked = last.mean("seed").to_series().sort_values(ascending=False)
    said = ", ".join(f"{name} {mean:.1f} ± {spread[name]:.1f}" for name, mean in ranked.items())
    return _paragraphs(f"""
        The reward adds up what all players gain; in the equilibrium that is
        {data.attrs["equilibrium"]:.4g} (dashed). At the end of this run: {said} (spread over
        {last.sizes["seed"]} seeds).

        The paper's order, MALPPO first and the ablations behind, cannot hold for the total reward
        of this market, whatever learns. Followers who buy at random do not answer prices: leaders
        who learn against them ask the cap and earn twice the equilibrium's total (malppo-rf),
        while the followers lose. And if everybody acts at random, prices and purchases are near
        the equilibrium's on average, since that lies near the middle of both ranges. What does
        hold is the order among those whose followers and leaders all learn, and that they end above
        random leaders (malppo-rl).

        An iteration of ours is an update after an episode of many market copies side by side, so
        numbers of iterations are not comparable with the paper's.
    """)


def fig5(found: Answers) -> list[str]:
    """Fig. 5 (Sections VI-C, VI-D): why prices stay and utilities are further off than demands."""
    span = _span(found, "followers")
    return _paragraphs(f"""
        Markets are nested: a further player leaves the draws of the others as they are.

        Why prices stay: where all satisfactions are equal the best price depends on them and on
        the costs alone, neither on how many followers there are nor on their ties. Here it moves
        by {span:.2%} of its mean at most, by the luck of the draws.

        Why utilities are further off than demands: at its best purchase a follower gains
        `sum_j theta_j beta_i b_ij^2`, so an error in demand counts twice.
    """)


def fig6(found: Answers) -> list[str]:
    """Fig. 6 (Sections VI-E, VI-F): that leaders lose by higher costs is no law."""
    costs = (1e-9, 0.03, 0.06, 0.1)
    market = at_means(printed("fig6")[0], *PRESET)
    equal = [solve(replace(market, unit_cost=np.full(3, c)), "closed-form") for c in costs]
    utilities = [eq.leader_payoffs.mean() for eq in equal]
    same = ", ".join(f"{u:.2f} at {round(c, 3):g}" for u, c in zip(utilities, costs, strict=True))
    mean = found["admm"]["leader_utility"].mean("seed")
    step = 1 - float((mean.isel(mean_cost=1) / mean.isel(mean_cost=0)).max())
    return _paragraphs(f"""
        Costs are drawn around their mean with a standard deviation of 0.05 and kept positive, so at
        a mean of 0 they are about 0.04 on average.

        That leaders lose by higher costs holds over the paper's grid, in its first step by as
        little as {step:.2%}, but it is no law. With exactly equal costs the utility of each of
        three leaders (four followers, alpha = 30) is {same}: a small cost that all share softens
        their competition.

        Prices are printed here to one decimal, so rounding alone accounts for up to 8 %.
    """)


def fig7(found: Answers) -> list[str]:
    """Fig. 7 (Section VI-G): ties scale demand and leave prices."""
    span = _span(found, "mean_tie")
    return _paragraphs(f"""
        No numbers are printed for this figure. Prices, of which the paper says nothing, move by
        {100 * span:.2g} % of their mean: ties scale demand, not how it answers to the price.
    """)


def fig8(found: Answers) -> list[str]:
    """Fig. 8 (Section VI-H): where prices are at their bounds, and what rivals do."""
    data, limited = found["admm"], found["delay limits"]
    price = data["price"].transpose("leader", "cost", "seed")
    costs = np.stack([data["cost"].values, *(np.full(data.sizes["cost"], c) for c in FIXED_COSTS)])
    least, most = float((price - costs[:, :, None]).min()), float(price.max())
    first = float(price.sel(leader=0).mean("seed").isel(cost=0))
    share = (limited["price"] > CAP - 1e-6).mean(["seed", "cost"]).values
    literal = " or ".join(f"{v:g}" for v in np.unique(found["literal"]["price"].values.round(6)))
    rivals = data["sales"].mean("seed").sel(leader=[1, 2])
    change = (rivals.isel(cost=-1) / rivals.isel(cost=0) - 1).values
    return _paragraphs(f"""
        Corners. A price lies between its leader's cost and the cap of 1.5. With s = 15 no price of
        any draw is at either bound: the smallest margin over cost is {least:.3f}, the highest price
        {most:.3f}. The closed form says why: the best price exceeds `c_j` exactly if `a > c_j`,
        where a (about 2) is the price at which demand ends, and it never exceeds a monopolist's
        `(a + c_j)/2`, which is below 1.5 as long as c_j < 1.

        At c_0 = 0 (computed at 1e-9, since costs are positive) leader 0 still asks {first:.3f}: a
        price near 0 earns nothing, however many choose it.

        Grey lines mark c_0 = 0.1 and 0.5, the costs of leaders 1 and 2. There leader 0 is the
        other's twin, and their curves cross; beyond 0.5 it is the dearest of the three.

        The rivals' sales fall slightly ({change[0]:+.1%} and {change[1]:+.1%} over the range) while
        their utility rises: they ask more and are chosen more often.

        With the delay limits on (last panel) corners appear. A follower whose limit binds must buy
        whatever the price, so prices rise: leaders 0, 1 and 2 are at the cap in {share[0]:.0%},
        {share[1]:.0%} and {share[2]:.0%} of all markets and costs.

        With the equations as printed every price is {literal}, whatever c_0 is: leader 0 then loses
        by its cost alone, and its rivals neither gain nor lose.
    """)


def delay_limits(found: Answers) -> list[str]:
    """The delay limit (6): how often it binds, and what it changes."""
    on, off = (found["newton"].sel(delay=limited) for limited in (True, False))

    def changes(followers: int, leaders: int) -> str:
        at = {"followers": followers, "leaders": leaders}
        there, here = (side.sel(at).mean("seed") for side in (on, off))
        names = ("price", "follower_utility", "leader_utility")
        moved = {QUANTITIES[name][0]: float(there[name] / here[name] - 1) for name in names}
        return ", ".join(f"{label} {by:+.1%}" for label, by in moved.items())

    bound, market, cap = (float(on[name].mean()) for name in ("bound", "market", "cap"))
    return _paragraphs(f"""
        The published preset leaves the delay limit (6) out. With the paper's own draws of twin
        sizes, tolerated delays, cycles and queues the limit binds for {bound:.0%} of followers, and
        for at least one in {market:.0%} of the markets; {cap:.0%} of prices are then at the cap.

        What the limits change: {changes(2, 2)} for two followers and two leaders; {changes(6, 4)}
        for six followers and four leaders.

        With ties, many followers buy much anyway, and limits matter less: prices then fall as
        followers become more, where the paper's stay. So the published figures fit slack
        limits.
    """)


def _span(found: Answers, along: str) -> float:
    """By which share of their mean prices move along a setting, at most."""
    price = found["admm"]["price"].mean("seed")
    return float(((price.max(along) - price.min(along)) / price.mean()).max())


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n")]


NOTES: dict[str, Callable[[Answers], list[str]]] = {
    note.__name__: note for note in (fig3, fig4, fig5, fig6, fig7, fig8, delay_limits)
}
"""Paragraphs on a figure, from what its script found."""
