"""What is the equilibrium of the paper's Fig. 3, and do independent methods agree on it?

    python examples/fig3_market.py [PICTURE.png]

With the delay limit the closed form does not apply, and refuses; ADMM and Newton's method do.
"""

import sys
from pathlib import Path

import stackel
from stackel.formulations.vehicular_twins import fig3

BACKENDS = ["closed-form", "newton", "admm"]


def solve_by_all(game: stackel.Game) -> list[stackel.Equilibrium]:
    answers = []
    for backend in BACKENDS:
        try:
            answers.append(stackel.solve(game, backend))
        except stackel.Refusal as refusal:
            print(f"{refusal}\n")
        else:
            print(answers[-1].summary(), "\n")
    apart = max(first.distance(second) for first in answers for second in answers)
    print(f"{len(answers)} answers, at most {apart:.1e} apart\n")
    return answers


def main(picture: Path) -> None:
    print("-- without the delay limit\n")
    solve_by_all(fig3())
    print("-- with the delay limit: the first follower's binds\n")
    answers = solve_by_all(fig3(delay=True))
    answers[0].plot().savefig(picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("fig3_market.png"))
