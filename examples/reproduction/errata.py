"""Where the paper's printed equations cannot be meant, and what is computed here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Erratum:
    """One place.

    Attributes:
        place: equation, theorem or section.
        printed: what stands there.
        used: what this library does.
        why: the reason.
    """

    place: str
    printed: str
    used: str
    why: str


ERRATA: tuple[Erratum, ...] = (
    Erratum(
        "(1), (2)",
        "payments p_j b_ij and leaders' utilities at face value",
        "payments weighed by payment_scale s = 15, leaders' utilities reported times "
        "utility_scale kappa = 100; both 1 in the column “literal”",
        "A follower values the first unit at about 30 and pays at most 1.5 for it: five times the "
        "price costs it four per cent of its demand, so every leader asks the price cap. The "
        "published prices lie well inside the bounds. The two constants are fitted, not derived.",
    ),
    Erratum(
        "Definition 1",
        "no leader gains while the followers' purchases B* are held",
        "no leader gains when the followers settle anew at its changed price",
        "With B* held a leader's utility rises in its own price without limit, and every leader "
        "asks the cap whatever the market. The backward induction of the paper's Section IV-B lets "
        "followers react; so does a Stackelberg equilibrium.",
    ),
    Erratum(
        "(9)",
        "the social sum runs over all followers, the follower itself included",
        "ties have a zero diagonal, and a nonzero one is refused",
        "The own term w_ii b_ij^2 would differentiate to 2 w_ii b_ij, not to w_ii b_ij as printed.",
    ),
    Erratum(
        "Theorem 1",
        "alpha_i > p_j makes the followers' equilibrium exist and unique",
        "the spectral radius of diag(1/(2 beta)) W must also be below 1; it is checked before any "
        "iteration",
        "Purchases are unbounded and reinforce each other. With beta = 30 and ties of 5 the best "
        "replies grow without end from 13 followers on.",
    ),
    Erratum(
        "Theorem 2",
        "the Stackelberg equilibrium is unique",
        "unique where the delay limits are slack; with limits several starts list what there is",
        "A follower whose delay limit begins to bind stops reacting to the price, so a leader's "
        "utility can have two peaks, and markets with two certified equilibria exist.",
    ),
    Erratum(
        "(14)",
        "price 0 where the stationary price is below the unit cost",
        "the lower bound c_j",
        "Problem 2 itself restricts prices to [c_j, p_max].",
    ),
    Erratum(
        "(15)",
        "a closed form of the leader's best price",
        "p_j = (sqrt((1 + S_j a)(1 + S_j c_j)) - 1) / S_j, clipped to [c_j, p_max], with "
        "S_j = sum of the other leaders' 1/p_l, a = sum(u) / (s sum(v)), u = A^-1 alpha, "
        "v = A^-1 1, A = 2 diag(beta) - W",
        "The printed expression holds the social terms at their present value, and a single square "
        "root cannot be the root of its own first-order condition (4), which is of the form "
        "(sqrt(...) - 1) / S_j. Ours agrees with a brute-force search of the leaders' prices.",
    ),
    Erratum(
        "Algorithm 1, line 1",
        "loop while the change is at most the threshold",
        "loop while it is above",
        "As printed the loop ends before its first step, or never.",
    ),
    Erratum(
        "(16)",
        "multiplier and penalty terms added inside an argmax",
        "both subtracted",
        "The augmented Lagrangian of a maximisation; added, they reward late migrations.",
    ),
    Erratum(
        "(16), (17)",
        "the delay limit as an equality: multipliers of either sign, and a penalty on both sides",
        "an inequality: eta_i <- max(0, eta_i + rho (sum_j theta_j T_ij - K_i)), penalty on the "
        "violated part only",
        "As an equality it would force a follower to migrate as slowly as it tolerates.",
    ),
    Erratum(
        "(23)",
        "the advantage bootstraps with the value of the first observation, V(o_t)",
        "with the value of the last, V(o_T); generalised advantage estimation",
        "The sum of rewards ends at T; what follows is worth V(o_T).",
    ),
    Erratum(
        "Section V-A",
        "followers observe past prices only",
        "followers observe the prices announced in the round (the learners' default)",
        "With past prices only, a round is a simultaneous game, in which leaders end at the cap. "
        "An announced price is public, so no private data leaks.",
    ),
    Erratum(
        "Section VI-A",
        "the compute speed f_i belongs to the service providers",
        "to the leaders, f_j",
        "Section III-B lets the roadside unit re-instantiate the twin.",
    ),
    Erratum(
        "Section VI-B",
        "total demands 0.60, 0.79 and 0.91 for alpha = 30, 25, 35",
        "read as those of alpha = 25, 30, 35",
        "Demand rises with alpha. The utilities 3.78, 1.66, 5.52 are in the players' order.",
    ),
    Erratum(
        "Section VI-F",
        "three groups of satisfaction coefficients called mu_w",
        "mu_alpha",
        "25, 30 and 35 are means of alpha; mu_w are the social ties of Fig. 7.",
    ),
)
