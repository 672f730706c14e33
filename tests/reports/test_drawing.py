import hashlib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from nas_lightning.architecture import (
    CellGenotype,
    Genotype,
    NodeInput,
    SearchSpace,
    random_genotype,
    state_name,
)
from nas_lightning.drawing.cells import draw_cell, draw_genotype, family, save_drawing
from nas_lightning.drawing.layout import Curve, Point, layout, short_name
from nas_lightning.drawing.shapes import Box
from nas_lightning.errors import NASError, UsageError
from nas_lightning.spaces import PUBLISHED, DartsSpace, NasBench201Space, RecurrentSpace

PRIMITIVES = sorted(DartsSpace().known_primitives)
WITH_CELLS = {n: g for n, g in PUBLISHED.items() if not g.space.of_choices}
CELLS = {f"{n}-{kind}": cell for n, g in WITH_CELLS.items() for kind, cell in g.cells.items()}
PARALLEL = CellGenotype(
    ((NodeInput("avg_pool_3x3", 0),) * 2, (NodeInput("skip_connect", 2),) * 5), (3,)
)
# one input, every edge kept, the output is the last node: a cell of NAS-Bench-201
DENSE = CellGenotype(
    (
        (NodeInput("nor_conv_3x3", 0),),
        (NodeInput("none", 0), NodeInput("nor_conv_1x1", 1)),
        (NodeInput("skip_connect", 0), NodeInput("avg_pool_3x3", 1), NodeInput("none", 2)),
    ),
    (3,),
    inputs=1,
)

# digests of the numbers of each layout, from before cells with one input could be drawn
LAYOUTS = {
    "DARTS_V1-normal": "df1d9a84b69b",
    "DARTS_V1-reduce": "76cdb1245659",
    "DARTS_V2-normal": "75c61a564f9e",
    "DARTS_V2-reduce": "67297df46f00",
    "PC_DARTS_CIFAR-normal": "692eef0002a5",
    "PC_DARTS_CIFAR-reduce": "4f650a280195",
    "PC_DARTS_IMAGENET-normal": "ff639fef91a4",
    "PC_DARTS_IMAGENET-reduce": "564a8848bca3",
    "NASNet-normal": "6549030f63b2",
    "NASNet-reduce": "a41a8089035e",
    "AmoebaNet-normal": "1d07fee127e9",
    "AmoebaNet-reduce": "c15bad606f95",
}


@st.composite
def cells(draw: st.DrawFn) -> CellGenotype:
    """Cells of any number of inputs; nodes without edges among them."""
    inputs = draw(st.integers(1, 3))
    nodes = []
    for i in range(draw(st.integers(1, 5))):
        edge = st.builds(NodeInput, st.sampled_from(PRIMITIVES), st.integers(0, inputs + i - 1))
        nodes.append(tuple(draw(st.lists(edge, max_size=5))))
    states = st.integers(inputs, inputs + len(nodes) - 1)
    return CellGenotype(tuple(nodes), tuple(draw(st.sets(states, min_size=1))), inputs)


def samples(curve: Curve) -> Iterator[Point]:
    """Points along a curve, without its two ends, which touch nodes."""
    for start in range(0, len(curve.points) - 1, 3):
        p = curve.points[start : start + 4]
        for k in range(1, 10):
            t = k / 10
            w = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            x, y = (sum(a * q[axis] for a, q in zip(w, p, strict=True)) for axis in (0, 1))
            yield x, y


def inside(point: Point, box: Box) -> bool:
    across, up = abs(point[0] - box.x), abs(point[1] - box.y)
    return across < box.width / 2 - 1e-6 and up < box.height / 2 - 1e-6


def check(cell: CellGenotype) -> None:
    drawn = layout(cell)
    edges = [c for c in drawn.curves if c.primitive is not None]
    expected = [
        (e.source, t, e.primitive) for t, n in enumerate(cell.nodes, cell.inputs) for e in n
    ]
    assert [(c.source, c.target, c.primitive) for c in edges] == expected
    connectors = [(c.source, c.target) for c in drawn.curves if c.primitive is None]
    assert connectors == [(state, cell.inputs + len(cell.nodes)) for state in cell.concat]
    labels = [c.label for c in edges if c.label is not None]
    assert len(labels) == len(edges)
    boxes = [*labels, *drawn.nodes]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    for box in boxes:
        assert box.width / 2 < box.x < drawn.width - box.width / 2
        assert box.height / 2 < box.y < drawn.height - box.height / 2
    for curve in drawn.curves:
        others = [box for box in boxes if box is not curve.label]
        for point in samples(curve):
            assert 0 < point[0] < drawn.width
            assert 0 < point[1] < drawn.height
            assert not any(inside(point, box) for box in others)
        # edges run left to right
        assert all(a[0] <= b[0] + 1e-9 for a, b in pairwise(curve.points))
    # however alike two edges are, they are two curves
    assert len({c.points for c in drawn.curves}) == len(drawn.curves)
    inputs = drawn.nodes[: cell.inputs]
    assert drawn.inputs == len(inputs)
    if len(inputs) > 1:
        assert inputs[0].y > inputs[-1].y  # as the papers draw it
    assert all(box.x - box.width / 2 < other.x for box in inputs for other in drawn.nodes)


@pytest.mark.parametrize("name", CELLS)
def test_nothing_overlaps_in_published_cells(name: str) -> None:
    check(CELLS[name])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(cells())
def test_nothing_overlaps_in_any_cell(cell: CellGenotype) -> None:
    check(cell)


def test_a_node_that_nothing_reads_and_an_unused_input_are_placed() -> None:
    check(CellGenotype(((NodeInput("skip_connect", 1),), (NodeInput("skip_connect", 1),)), (2,)))


@pytest.mark.parametrize("seed", range(3))
def test_nothing_overlaps_in_recurrent_cells(seed: int) -> None:
    check(random_genotype(RecurrentSpace(), seed).cells["recurrent"])


def test_nothing_overlaps_in_a_cell_with_every_edge() -> None:
    check(DENSE)


@pytest.mark.parametrize("inputs", [1, 2])
def test_nodes_without_edges_are_drawn(inputs: int) -> None:
    last = inputs + 1
    check(CellGenotype(((), (NodeInput("skip_connect", inputs),)), (last,), inputs))
    check(CellGenotype(((), ()), (inputs, last), inputs))  # no edge at all
    figure = draw_cell(CellGenotype(((), ()), (inputs, last), inputs), "Empty cell")
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]


def test_layers_are_longest_paths() -> None:
    x = [box.x for box in layout(CELLS["AmoebaNet-normal"]).nodes]
    assert x[0] == x[1] < x[2] == x[5] == x[6] < x[3] < x[4] < x[7]


def test_parallel_edges_keep_apart() -> None:
    check(PARALLEL)
    first, second = [list(samples(c)) for c in layout(PARALLEL).curves[:2]]
    gaps = [abs(a[1] - b[1]) for a, b in zip(first, second, strict=True)]
    assert min(gaps) > 0.05


@pytest.mark.parametrize("name", ["AmoebaNet-reduce", "NASNet-normal"])
def test_rendered_text_fits_its_box(name: str) -> None:
    figure = draw_cell(CELLS[name], "A cell")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    texts = figure.axes[0].texts
    extents = [text.get_window_extent(renderer) for text in texts]
    for a, b in combinations(extents, 2):
        assert not a.overlaps(b)
    for extent in extents:
        assert figure.bbox.containsx(extent.x0)
        assert figure.bbox.containsx(extent.x1)
    curves = layout(CELLS[name]).curves
    width = {short_name(c.primitive): c.label.width for c in curves if c.primitive and c.label}
    for text, extent in zip(texts, extents, strict=True):
        if text.get_text() in width:
            assert extent.width / figure.dpi < width[text.get_text()] - 0.05


@pytest.mark.parametrize("name", WITH_CELLS)
def test_every_edge_is_labelled(name: str, tmp_path: Path) -> None:
    genotype = PUBLISHED[name]
    root = ET.parse(save_drawing(genotype, tmp_path / "g.svg")).getroot()
    drawn = Counter("".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text"))
    primitives = [
        i.primitive for cell in genotype.cells.values() for node in cell.nodes for i in node
    ]
    expected = Counter(map(short_name, primitives))
    expected.update({family(primitive) for primitive in primitives})
    titles = {"normal": "Normal cell", "reduce": "Reduction cell", "recurrent": "Recurrent cell"}
    for kind, cell in genotype.cells.items():
        states = range(cell.inputs, cell.inputs + len(cell.nodes))
        expected.update([titles[kind], *(state_name(state, cell.inputs) for state in states)])
        expected.update(["0", "out"] if cell.inputs == 1 else [])
    # what is left over are the inputs and outputs of cells with two inputs, which are mathtext
    assert not expected - drawn
    rest = [text for text in (drawn - expected).elements() if "c" not in text and "k" not in text]
    assert not [text for text in rest if text.strip() and text.strip() not in "−12"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_cells_are_laid_out_as_they_always_were(name: str) -> None:
    drawn = layout(CELLS[name])
    numbers = [(box.x, box.y, box.width, box.height) for box in drawn.nodes]
    numbers += [point for curve in drawn.curves for point in curve.points]  # type: ignore[misc]
    labels = [curve.label for curve in drawn.curves if curve.label]
    numbers += [(label.x, label.y, label.width) for label in labels]  # type: ignore[misc]
    text = " ".join(f"{value:.4f}" for item in numbers for value in item)
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == LAYOUTS[name]


@pytest.mark.parametrize(
    ("ending", "magic"), [("svg", b"<?xml"), ("png", b"\x89PNG\r\n"), ("PDF", b"%PDF-")]
)
def test_files_start_with_their_magic(ending: str, magic: bytes, tmp_path: Path) -> None:
    path = save_drawing(PUBLISHED["DARTS_V2"], str(tmp_path / "new" / "folder" / f"g.{ending}"))
    assert path == tmp_path / "new" / "folder" / f"g.{ending}"
    assert path.read_bytes().startswith(magic)


@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_bytes_are_deterministic_in_threads_too(ending: str, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    paths = [tmp_path / f"{i}.{ending}" for i in range(4)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda path: save_drawing(PUBLISHED["PC_DARTS_CIFAR"], path), paths))
    assert len({path.read_bytes() for path in paths}) == 1
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", ["g.jpg", "g", "g.svg.gz"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.svg, \.png or \.pdf"):
        save_drawing(PUBLISHED["DARTS_V2"], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_unwritable_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NASError, match="cannot write the drawing"):
        save_drawing(PUBLISHED["DARTS_V2"], tmp_path / "file" / "g.svg")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(NASError, match="cannot write the drawing"):
        save_drawing(PUBLISHED["DARTS_V2"], tmp_path / "folder.png")


def test_cells_of_other_kinds_and_odd_names() -> None:
    cell = CellGenotype(((NodeInput("my_op_$x_1x1$", 0), NodeInput("none", 1)),), (2,))
    figure = draw_genotype(Genotype(SearchSpace("mine", (), 2), {"stem": cell}))
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0] == "Stem cell"
    assert "my op $x 1×1$" in texts
    assert texts[-2:] == ["other operation", "no operation"]


def test_a_cell_with_one_input_is_numbered_from_it() -> None:
    figure = draw_genotype(Genotype(NasBench201Space(), {"cell": DENSE}))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0] == "Cell"
    assert [text for text in texts if text.isdigit()] == ["0", "1", "2", "3"]
    assert texts.count("none") == 2
    assert {"out", "conv 3×3", "conv 1×1", "convolution", "no operation"} <= set(texts)


def test_many_cells_have_a_title_each() -> None:
    cells = {f"layer_{i:02}_normal": CELLS["DARTS_V2-normal"] for i in range(20)}
    texts = [
        text.get_text()
        for text in draw_genotype(Genotype(SearchSpace("mine", (), 2), cells)).axes[0].texts
    ]
    assert {f"Layer {i:02} normal cell" for i in range(20)} <= set(texts)
