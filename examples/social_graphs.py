"""Who buys most when neighbours' purchases make one's own worth more?

    python examples/social_graphs.py [FOLDER]

The same market on two known social graphs: a karate club's friendships (Zachary, 1977), and the
characters of Les Misérables, tied by how often they appear together (Knuth, 1993).
"""

import sys
from pathlib import Path

import networkx as nx
import numpy as np

import stackel
from stackel import plots
from stackel.formulations.vehicular_twins import on_graph

GRAPHS = {
    "karate_club": nx.karate_club_graph(),
    "les_miserables": nx.les_miserables_graph(),
}


def main(folder: Path) -> None:
    for name, graph in GRAPHS.items():
        eq = stackel.solve(on_graph(graph))
        print(f"{name}: {eq.game}")
        print(f"prices {eq.leader_actions.ravel().round(4)}, {eq.certificate}")

        bought = eq.follower_actions.sum(axis=1)
        people = list(graph)  # followers are the nodes, in the graph's own order
        strength = dict(graph.degree(weight="weight"))
        print("most is bought by")
        for i in np.argsort(-bought)[:5]:
            print(f"  {people[i]!s:10} {bought[i]:.3f}  (ties of weight {strength[people[i]]})")
        together = np.corrcoef(bought, [strength[person] for person in people])[0, 1]
        print(f"correlation of purchases with the weight of ties: {together:.3f}")

        picture = folder / f"{name}.png"
        plots.social_graph(eq).savefig(picture)
        print(f"picture: {picture}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
