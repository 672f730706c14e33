import pytest

from nas_lightning.errors import UsageError
from nas_lightning.layers.primitives import PRIMITIVES
from nas_lightning.spaces import DARTS_PRIMITIVES, DartsSpace, get_space


def test_edges_have_the_row_order_of_the_released_alpha() -> None:
    # row = offset of the node + predecessor, with the offsets 0, 2, 5, 9 of the released code
    cell = DartsSpace().cell("normal")
    assert len(cell.edges) == 14
    for node, offset in enumerate((0, 2, 5, 9)):
        for predecessor in range(2 + node):
            edge = cell.edges[offset + predecessor]
            assert (edge.source, edge.target) == (predecessor, 2 + node)


@pytest.mark.parametrize(("nodes", "edges"), [(1, 2), (2, 5), (3, 9), (4, 14), (5, 20)])
def test_number_of_edges(nodes: int, edges: int) -> None:
    space = DartsSpace(nodes)
    assert space.kinds == ("normal", "reduce")
    assert [len(cell.edges) for cell in space.cells] == [edges, edges]
    assert len(space.cell("reduce").nodes) == nodes


def test_incoming_edges_of_all_nodes_are_a_partition_of_the_rows() -> None:
    cell = DartsSpace().cell("normal")
    rows = [cell.incoming(node) for node in cell.nodes]
    assert rows == [[0, 1], [2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12, 13]]


def test_columns_have_the_order_of_the_released_code() -> None:
    assert ",".join(DARTS_PRIMITIVES) == (
        "none,max_pool_3x3,avg_pool_3x3,skip_connect,"
        "sep_conv_3x3,sep_conv_5x5,dil_conv_3x3,dil_conv_5x5"
    )


def test_a_genotype_may_contain_every_operation_but_none() -> None:
    known = DartsSpace().known_primitives
    assert known == set(PRIMITIVES) - {"none"}
    assert known > {"sep_conv_7x7", "conv_7x1_1x7"}  # in NASNet and AmoebaNet


def test_the_text_form_of_an_edge_names_its_ends() -> None:
    assert str(DartsSpace().cell("normal").edges[7]) == "2-4"


def test_an_unknown_space_is_refused_with_the_known_names() -> None:
    assert get_space("darts").name == "darts"
    with pytest.raises(UsageError, match=r"'dart'.*known: darts"):
        get_space("dart")
