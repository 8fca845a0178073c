"""The vehicular-twin market on well-known social graphs."""

from __future__ import annotations

import networkx as nx

from stackel.formulations.vehicular_twins import VehicularTwins, on_graph


def karate() -> VehicularTwins:
    """The vehicular-twins market on Zachary's karate club, 34 followers.

    W. W. Zachary, "An information flow model for conflict and fission in small groups", Journal of
    Anthropological Research 33 (1977), 452-473; the graph is networkx's.
    """
    return on_graph(nx.karate_club_graph())


def les_miserables() -> VehicularTwins:
    """The vehicular-twins market on the characters of Les Misérables, 77 followers.

    D. E. Knuth, The Stanford GraphBase, 1993; the graph is networkx's.
    """
    return on_graph(nx.les_miserables_graph())
