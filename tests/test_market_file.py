"""Markets from TOML files: what can be said, and what every mistake is told."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from stackel import GameError
from stackel.files.market import MarketFile, read_market
from stackel.formulations.vehicular_twins import MEGABYTE, VehicularTwins, fig3

EXAMPLES = Path(__file__).parents[1] / "examples" / "markets"

SMALL = """
market = "vehicular-twins"
[data]
satisfaction = [30, 25, 35]
sensitivity = 30
unit_cost = [0.3, 0.1]
"""

TIES = np.array([[0.0, 5, 0], [5, 0, 2], [0, 2, 0]])


Read = Callable[..., MarketFile]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a market file and what it names, then read it."""

    def write_and_read(text: str, **files: str) -> MarketFile:
        for name, content in files.items():
            (tmp_path / name.replace("_", ".")).write_text(content, encoding="utf-8")
        path = tmp_path / "market.toml"
        path.write_text(text, encoding="utf-8")
        return read_market(path)

    return write_and_read


def refusal(read: Read, text: str, **files: str) -> str:
    with pytest.raises(GameError) as caught:
        read(text, **files)
    message = str(caught.value)
    assert "market.toml" in message.splitlines()[0], "every error names the file"
    return message


def ties(game: object) -> np.ndarray:
    assert isinstance(game, VehicularTwins)
    return np.asarray(game.ties)


# -- what can be said --------------------------------------------------------------------------


def test_inline_data(read: Read) -> None:
    game = read(SMALL + "ties = [[0, 5, 0], [5, 0, 2], [0, 2, 0]]\nprice_cap = 1.2").game
    assert isinstance(game, VehicularTwins)
    np.testing.assert_array_equal(game.satisfaction, [[30], [25], [35]])
    np.testing.assert_array_equal(game.unit_cost, [[0.3, 0.1]])
    np.testing.assert_array_equal(ties(game), TIES)
    assert game.price_cap == 1.2


def test_one_number_stands_for_all(read: Read) -> None:
    np.testing.assert_array_equal(ties(read(SMALL + "ties = 5").game), ties(fig3()))


def test_groups_of_fields(read: Read) -> None:
    game = read(SMALL + "ties = 5\n[data.radio]\ndistance = 300").game
    assert isinstance(game, VehicularTwins)
    assert (game.radio.distance, game.radio.power_dbm) == (300, 40)


def test_a_preset_with_changes(read: Read) -> None:
    game = read('preset = "fig3-delay"\n[data]\nprice_cap = 1.2\nradio.distance = 300').game
    assert isinstance(game, VehicularTwins)
    assert (game.price_cap, game.radio.distance) == (1.2, 300)
    np.testing.assert_array_equal(game.twin_size.ravel(), np.array([50, 20, 40]) * MEGABYTE)


def test_columns_of_a_table(read: Read) -> None:
    text = """
    market = "vehicular-twins"
    [data]
    satisfaction = { csv = "f.csv", column = "alpha" }
    sensitivity = { csv = "f.csv", column = "beta" }
    unit_cost = { csv = "c.csv" }
    ties = { csv = "w.csv" }
    """
    files = {
        "f_csv": "name,alpha,beta\na, 30,29\nb, 25,30\nc, 35,31\n\n",
        "c_csv": "unit_cost\n0.3\n0.1\n",
        "w_csv": "0,5,0\n5,0,2\n0,2,0\n",
    }
    game = read(text, **files).game
    assert isinstance(game, VehicularTwins)
    np.testing.assert_array_equal(game.satisfaction.ravel(), [30, 25, 35])
    np.testing.assert_array_equal(game.sensitivity.ravel(), [29, 30, 31])
    np.testing.assert_array_equal(game.unit_cost.ravel(), [0.3, 0.1])
    np.testing.assert_array_equal(ties(game), TIES)


def test_a_matrix_with_labels_as_spreadsheets_write_it(read: Read) -> None:
    w = "\ufeff;a;b;c\na;0;5;0\nb;5;0;2\nc;0;2;0\n"
    np.testing.assert_array_equal(
        ties(read(SMALL + 'ties = { csv = "w.csv" }', w_csv=w).game), TIES
    )


def test_edges_between_numbers(read: Read) -> None:
    e = "source,target,weight\n2,1,2\n0,1,5\n1,0,5\n"
    game = read(SMALL + 'ties = { edges = "e.csv" }', e_csv=e).game
    np.testing.assert_array_equal(ties(game), TIES)


def test_edges_without_weights(read: Read) -> None:
    e = "source,target\n2,1\n0,1\n"
    game = read(SMALL + 'ties = { edges = "e.csv", weight = 4 }', e_csv=e).game
    np.testing.assert_array_equal(ties(game), 4.0 * (TIES > 0))
    game = read(SMALL + 'ties = { edges = "e.csv" }', e_csv=e).game
    np.testing.assert_array_equal(ties(game), 1.0 * (TIES > 0))


def test_edges_between_names_in_the_order_of_a_table(read: Read) -> None:
    e = "source,target,weight\nCleo,Bob,2\nBob,Ann,5\n"
    f = "name,alpha\nAnn,30\nBob,25\nCleo,35\n"
    nodes = '{ csv = "f.csv", column = "name" }'
    game = read(SMALL + f'ties = {{ edges = "e.csv", nodes = {nodes} }}', e_csv=e, f_csv=f).game
    np.testing.assert_array_equal(ties(game), TIES)
    nodes = '["Cleo", "Bob", "Ann"]'
    game = read(SMALL + f'ties = {{ edges = "e.csv", nodes = {nodes} }}', e_csv=e).game
    np.testing.assert_array_equal(ties(game), TIES[::-1, ::-1])


def test_followers_without_ties(read: Read) -> None:
    e = "source,target\n0,1\n"
    game = read(SMALL + 'ties = { edges = "e.csv", nodes = 3 }', e_csv=e).game
    np.testing.assert_array_equal(ties(game), [[0, 1, 0], [1, 0, 0], [0, 0, 0]])


WRITERS = {
    "graphml": nx.write_graphml,
    "gml": nx.write_gml,
    "gexf": nx.write_gexf,
    "edgelist": nx.write_edgelist,
    "txt": nx.write_weighted_edgelist,
}


def graph(*names: object) -> nx.Graph:
    """The graph of TIES, its nodes named in the order of the followers but listed in another."""
    found = nx.Graph()
    found.add_nodes_from([names[2], names[0], names[1]])
    found.add_edge(names[1], names[2], weight=2.0)
    found.add_edge(names[0], names[1], weight=5.0)
    return found


@pytest.mark.parametrize("ending", WRITERS)
def test_graphs_on_numbers_come_in_numeric_order(read: Read, tmp_path: Path, ending: str) -> None:
    WRITERS[ending](graph(0, 1, 2), tmp_path / f"g.{ending}")
    game = read(SMALL + f'ties = {{ graph = "g.{ending}" }}').game
    np.testing.assert_array_equal(ties(game), TIES)


@pytest.mark.parametrize("key", ["links", "edges"])
def test_node_link_graphs(read: Read, key: str) -> None:
    data = {
        "nodes": [{"id": "b"}, {"id": "c"}, {"id": "a"}],
        key: [{"source": "a", "target": "b", "weight": 5}, {"source": "b", "target": "c"}],
    }
    game = read(SMALL + 'ties = { graph = "g.json", weight = 2 }', g_json=json.dumps(data)).game
    np.testing.assert_array_equal(ties(game), [[0, 2, 5], [2, 0, 0], [5, 0, 0]])


def test_graphs_on_names_come_in_the_file_s_order(read: Read, tmp_path: Path) -> None:
    nx.write_graphml(graph("Ann", "Bob", "Cleo"), tmp_path / "g.graphml")
    game = read(SMALL + 'ties = { graph = "g.graphml" }').game
    order = [2, 0, 1]
    np.testing.assert_array_equal(ties(game), TIES[np.ix_(order, order)])


def test_gml_without_labels(read: Read) -> None:
    g = "graph [ node [ id 1 ] node [ id 2 ] node [ id 3 ] edge [ source 1 target 2 ] ]"
    game = read(SMALL + 'ties = { graph = "g.gml" }', g_gml=g).game
    np.testing.assert_array_equal(ties(game), [[0, 1, 0], [1, 0, 0], [0, 0, 0]])


OWN = """
from dataclasses import dataclass
from stackel.formulations.vehicular_twins import VehicularTwins

@dataclass(frozen=True)
class Mine(VehicularTwins):
    quick: bool = False
"""


def test_a_market_of_one_s_own_beside_the_file(read: Read) -> None:
    before = list(sys.path)
    text = SMALL.replace("vehicular-twins", "besideafile:Mine") + "ties = 5\nquick = true"
    game = read(text, besideafile_py=OWN).game
    assert str(game) == "Mine (3 followers, 2 leaders)"
    assert vars(game)["quick"] is True
    assert sys.path == before
    message = refusal(read, text.replace("true", "1"))
    assert "[data] quick = 1; expected true or false" in message
    message = refusal(read, text.replace("sensitivity = 30", ""))
    assert "sensitivity: beta_i > 0." in message, "explained by the base class"


def test_solve_options(read: Read) -> None:
    text = 'preset = "fig3"\n[solve]\nbackend = "admm"\npenalty = 5.0\nseed = 3\nstart = [0.9, 0.8]'
    options = {"backend": "admm", "penalty": 5.0, "seed": 3, "start": [0.9, 0.8]}
    assert read(text).solve_options == options


def test_the_examples_say_what_they_claim() -> None:
    game = read_market(EXAMPLES / "fig3.toml").game
    assert isinstance(game, VehicularTwins)
    for name in ("satisfaction", "sensitivity", "ties", "unit_cost", "price_cap", "payment_scale"):
        np.testing.assert_array_equal(getattr(game, name), getattr(fig3(), name))
    assert game.radio == fig3().radio
    campus = read_market(EXAMPLES / "campus.toml").game
    assert str(campus) == "VehicularTwins (10 followers, 3 leaders)"
    assert isinstance(campus, VehicularTwins)
    assert campus.has_delay_limit


# -- mistakes in the file ----------------------------------------------------------------------


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(GameError, match=r"there is no file .*nix\.toml; expected a market file"):
        read_market(tmp_path / "nix.toml")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(GameError, match="cannot be read: Is a directory"):
        read_market(tmp_path)


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "market.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GameError, match="not text in UTF-8"):
        read_market(tmp_path / "market.toml")


def test_not_toml(read: Read) -> None:
    message = refusal(read, "market: vehicular-twins")
    assert "is not TOML" in message
    assert "line 1" in message


def test_an_unknown_entry(read: Read) -> None:
    message = refusal(read, 'preset = "fig3"\nprice_cap = 1.2')
    assert "unknown entry 'price_cap'" in message
    assert "fields stand under [data]" in message
    assert "did you mean 'solve'" in refusal(read, 'preset = "fig3"\n[solv]\nseed = 1')


def test_neither_market_nor_preset(read: Read) -> None:
    message = refusal(read, "[data]\nsensitivity = 30")
    assert 'expected either market = "..." or preset = "..."' in message
    assert "vehicular-twins" in message
    assert "fig3-delay" in message


def test_both_market_and_preset(read: Read) -> None:
    assert "expected either" in refusal(read, 'market = "vehicular-twins"\npreset = "fig3"')


def test_an_unknown_market(read: Read) -> None:
    message = refusal(read, 'market = "vehicular-twin"')
    assert "unknown market 'vehicular-twin'; did you mean 'vehicular-twins'?" in message


def test_an_unknown_preset(read: Read) -> None:
    assert "unknown preset 'fig4'; did you mean 'fig3'?" in refusal(read, 'preset = "fig4"')


def test_a_market_that_does_not_load(read: Read) -> None:
    message = refusal(read, 'market = "no_such_module:Mine"')
    assert "No module named 'no_such_module'" in message
    assert "expected module:Class" in message


def test_a_market_that_is_none(read: Read) -> None:
    assert "is not a subclass of stackel.Game" in refusal(read, 'market = "json:JSONDecoder"')


def test_a_market_that_is_no_name(read: Read) -> None:
    assert "market = 3; expected a name" in refusal(read, "market = 3")


def test_data_that_is_no_table(read: Read) -> None:
    assert "data = 3; expected a table, [data]" in refusal(read, 'preset = "fig3"\ndata = 3')


# -- mistakes in the data ----------------------------------------------------------------------


def test_missing_fields(read: Read) -> None:
    message = refusal(read, 'market = "vehicular-twins"\n[data]\nsensitivity = 30')
    assert "[data] lacks what VehicularTwins needs:" in message
    assert "satisfaction: alpha_i > 0." in message
    assert "unit_cost: c_j > 0 [$ per 1e7 Hz]." in message
    assert "price_cap" not in message


def test_an_unknown_field(read: Read) -> None:
    message = refusal(read, SMALL + "ties = 5\nprise_cap = 1")
    assert (
        "[data] unknown field of VehicularTwins 'prise_cap'; did you mean 'price_cap'?" in message
    )


def test_an_unknown_field_of_a_group(read: Read) -> None:
    message = refusal(read, 'preset = "fig3"\n[data.radio]\ndistanse = 300')
    assert "[data.radio] unknown field of Radio 'distanse'; did you mean 'distance'?" in message


def test_a_group_that_is_no_table(read: Read) -> None:
    message = refusal(read, 'preset = "fig3"\n[data]\nradio = 300')
    assert "[data] radio = 300; expected a table, [data.radio]" in message


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('ties = "many"', "[data] ties = 'many'; expected a number, a list of numbers or a file"),
        ("ties = true", "[data] ties = True; expected a number"),
        ('ties = 5\nprice_cap = "high"', "[data] price_cap = 'high'; expected a number"),
        ("ties = 5\nprice_cap = [1, 2]", "[data] price_cap = [1, 2]; expected a number"),
        ("ties = 5\nbandwidth_cap = true", "[data] bandwidth_cap = True; expected a number"),
        ('ties = 5\n[data.radio]\ndistance = "far"', "[data.radio] distance = 'far'; expected a"),
        ('ties = 5\ncycles = [5e9, "x", 5e9]', "[data] cycles[1] = 'x'; expected a number"),
        ("ties = [[0, 1], [1]]", "[data] ties is ragged: row 1 has 1 values, row 0 has 2"),
        ("ties = [[0, 1], 3]", "[data] ties[1] = 3; expected a list of numbers, as in row 0"),
        ('ties = [[0, "1"], [1, 0]]', "[data] ties[0, 1] = '1'; expected a number"),
        ("ties = 1979-05-27", "[data] ties = datetime.date(1979, 5, 27); expected a number"),
        ("ties = nan", "expected finite numbers"),
    ],
)
def test_a_wrong_type(read: Read, line: str, told: str) -> None:
    assert told in refusal(read, SMALL + line)


def test_a_value_that_the_market_rejects(read: Read) -> None:
    message = refusal(read, SMALL.replace("25", "-25") + "ties = 5")
    assert "VehicularTwins.satisfaction = -25 at follower 1 (counted from 0)" in message


def test_lengths_that_disagree(read: Read) -> None:
    message = refusal(read, SMALL + "ties = 5\nmax_delay = [3, 3]\ntwin_size = 1e8")
    assert "VehicularTwins.max_delay speaks of 2 followers" in message


# -- mistakes in files of data -----------------------------------------------------------------


def test_a_missing_data_file(read: Read) -> None:
    message = refusal(read, SMALL + 'ties = { csv = "nix.csv" }')
    assert "[data] ties: there is no file" in message
    assert "nix.csv" in message


def test_a_table_without_the_column(read: Read) -> None:
    text = 'preset = "fig3"\n[data]\nunit_cost = { csv = "c.csv", column = "unit_cots" }'
    message = refusal(read, text, c_csv="name,unit_cost\na,0.3\nb,0.1\n")
    assert "unknown column 'unit_cots'; did you mean 'unit_cost'?" in message


def test_a_table_without_a_header(read: Read) -> None:
    text = 'preset = "fig3"\n[data]\nunit_cost = { csv = "c.csv", column = "unit_cost" }'
    assert "has no header line" in refusal(read, text, c_csv="0.3\n0.1\n")


def test_a_table_of_which_no_column_is_named(read: Read) -> None:
    text = 'preset = "fig3"\n[data]\nunit_cost = { csv = "c.csv" }'
    message = refusal(read, text, c_csv="name,unit_cost\na,0.3\nb,0.1\n")
    assert 'has 2 columns (name, unit_cost); say which one: column = "..."' in message


def test_a_ragged_table(read: Read) -> None:
    message = refusal(read, SMALL + 'ties = { csv = "w.csv" }', w_csv="0,5,0\n5,0\n0,2,0\n")
    assert "w.csv is ragged: line 2 has 2 cells, line 1 has 3" in message


@pytest.mark.parametrize(("cell", "found"), [("cheap", "'cheap'"), ("", "nothing")])
def test_a_cell_that_is_no_number(read: Read, cell: str, found: str) -> None:
    text = 'preset = "fig3"\n[data]\nunit_cost = { csv = "c.csv", column = "unit_cost" }'
    message = refusal(read, text, c_csv=f"name,unit_cost\na,0.3\nb,{cell}\n")
    assert f"c.csv, line 3, column 'unit_cost': expected a number, found {found}" in message


@pytest.mark.parametrize(("content", "told"), [("", "is empty"), ("a,b\n", "a header but no rows")])
def test_an_empty_table(read: Read, content: str, told: str) -> None:
    assert told in refusal(read, SMALL + 'ties = { csv = "w.csv" }', w_csv=content)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('{ csv = "e.csv", edges = "e.csv" }', "expected one of csv, edges, graph"),
        ('{ colum = "x" }', "expected one of csv, edges, graph"),
        ('{ csv = "e.csv", colum = "x" }', "unknown key beside csv 'colum'; did you mean 'column'"),
        ("{ csv = 3 }", "csv = 3; expected a file's name"),
        ('{ csv = "e.csv", column = 3 }', "column = 3; expected a column's name"),
        ('{ edges = "e.csv", nodes = 2.5 }', "nodes = 2.5; expected the number of followers"),
        ('{ edges = "e.csv", weight = "x" }', "weight = 'x'; expected a number"),
        ('{ edges = "e.csv", directed = 1 }', "directed = 1; expected true or false"),
        ('{ graph = "e.csv" }', "has the ending '.csv'; expected one of .graphml"),
        ('{ edges = "e.csv", nodes = ["0", "1", "1"] }', "nodes name '1' twice"),
        ('{ edges = "e.csv", nodes = ["0", "1"] }', "node '2' is not one of the 2 nodes 0, 1"),
        ('{ edges = "e.csv", directed = true }', "ties are mutual"),
    ],
)
def test_a_table_that_makes_no_sense(read: Read, table: str, told: str) -> None:
    assert told in refusal(read, SMALL + f"ties = {table}", e_csv="source,target\n0,1\n1,2\n")


def test_ties_where_there_are_none(read: Read) -> None:
    text = 'preset = "fig3"\n[data]\nunit_cost = { edges = "e.csv" }'
    assert "edges states ties between followers, but this is leader data" in refusal(read, text)


def test_edges_without_ends(read: Read) -> None:
    text = SMALL + 'ties = { edges = "e.csv" }'
    message = refusal(read, text, e_csv="from,target\n0,1\n")
    assert "unknown column 'source'" in message


def test_a_tie_of_two_weights(read: Read) -> None:
    e = "source,target,weight\n0,1,5\n1,0,4\n"
    message = refusal(read, SMALL + 'ties = { edges = "e.csv" }', e_csv=e)
    assert "line 3: the tie of 1 and 0 has weight 4 here and 5 before" in message


def test_edges_between_names_in_no_order(read: Read) -> None:
    message = refusal(read, SMALL + 'ties = { edges = "e.csv" }', e_csv="source,target\n0,Ann\n")
    assert "an edge ends at 'Ann'" in message
    assert "nodes = [" in message


def test_edges_counted_from_one(read: Read) -> None:
    e = "source,target\n1,2\n2,3\n"
    message = refusal(read, SMALL + 'ties = { edges = "e.csv" }', e_csv=e)
    assert "edges go up to follower 3 (counted from 0), but none ends at follower 0" in message
    assert "nodes = 4" in message


@pytest.mark.parametrize("ending", ["graphml", "gml", "gexf", "json"])
@pytest.mark.parametrize("content", ["{", "[1]", "<x></x>"])
def test_a_graph_in_another_format(read: Read, ending: str, content: str) -> None:
    text = SMALL + f'ties = {{ graph = "g.{ending}" }}'
    message = refusal(read, text, **{f"g_{ending}": content})
    assert "[data] ties: " in message
    assert "g." in message


# -- mistakes in [solve] -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('seed = "x"', "[solve] seed = 'x'; expected a whole number"),
        ("seed = true", "[solve] seed = True; expected a whole number"),
        ('time_limit = "long"', "[solve] time_limit = 'long'; expected a number of seconds"),
        ("certificate = 1", "[solve] certificate = 1; expected true or false"),
        ('backend = "nwton"', "unknown backend 'nwton'; did you mean 'newton'?"),
        ('backend = "admm"\npenalti = 5', "unknown entry 'penalti'; did you mean 'penalty'?"),
        ("penalty = 5", "a backend's own options need its name, backend = ..."),
        ("time_limt = 5", "did you mean 'time_limit'?"),
        ("throw = false", "unknown entry 'throw'"),
    ],
)
def test_a_wrong_solve_option(read: Read, lines: str, told: str) -> None:
    message = refusal(read, f'preset = "fig3"\n[solve]\n{lines}')
    assert told in message
    assert "[solve] " in message
