import io

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from nas_lightning.drawing.heatmap import draw_weights
from nas_lightning.spaces import DartsSpace

CELL = DartsSpace().cells[0]
ROWS = [str(edge) for edge in CELL.edges]


def random_weights() -> npt.NDArray[np.float64]:
    rows = np.random.default_rng(0).dirichlet(np.ones(len(CELL.primitives)), len(ROWS))
    return np.asarray(rows)


def luminance(colour: npt.ArrayLike) -> float:
    c = np.asarray(colour)[:3]
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_every_value_is_written_under_its_names() -> None:
    weights = random_weights()
    figure = draw_weights(weights, ROWS, CELL.primitives, "Normal cell")
    axes = figure.axes[0]
    written = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    expected = {(r + 0.5, c + 0.5): f"{value:.2f}" for (r, c), value in np.ndenumerate(weights)}
    assert written == expected
    assert [label.get_text() for label in axes.get_yticklabels()] == ROWS
    assert [label.get_text() for label in axes.get_xticklabels()] == list(CELL.primitives)
    assert axes.get_title(loc="left") == "Normal cell"
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first edge is the first row
    assert axes.collections[0].get_clim() == (0.0, weights.max())


def test_text_contrasts_with_its_cell() -> None:
    ramp = np.linspace(0, 1, 40).reshape(5, 8)
    figure = draw_weights(ramp, ["r"] * 5, ["c"] * 8, "")
    mesh, texts = figure.axes[0].collections[0], figure.axes[0].texts
    for value, text in zip(ramp.ravel(), texts, strict=True):
        dark, light = sorted(
            [
                luminance(mesh.to_rgba(np.array([value]))[0]),
                0.0 if text.get_color() == "black" else 1.0,
            ]
        )
        # what the accessibility guidelines (WCAG 2, level AA) ask of text
        assert (light + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_it_can_be_saved(ending: str) -> None:
    buffer = io.BytesIO()
    draw_weights(random_weights(), ROWS, CELL.primitives, "β $ 1").savefig(buffer, format=ending)
    assert buffer.getvalue()


@pytest.mark.parametrize(
    "weights", [[[0.0, 0.0]], [[float("nan"), 1.0]], [[float("nan")] * 2], [[float("inf"), 0.5]]]
)
def test_flat_and_diverged_weights_are_drawn(weights: list[list[float]]) -> None:
    figure = draw_weights(weights, ["0->2"], ["a_$", "b"], "title")
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == [f"{value:.2f}" for value in weights[0]]


@pytest.mark.parametrize("weights", [[[0.5]], [0.5, 0.5], [], [[0.1, 0.2], [0.3, 0.4]]])
def test_names_must_match(weights: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="shape"):
        draw_weights(weights, ["0->2"], ["a", "b"], "title")


def test_labels_stay_inside_the_figure() -> None:
    figure = draw_weights(random_weights(), ROWS, CELL.primitives, "Normal cell")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    tight = figure.get_tightbbox(canvas.get_renderer())  # type: ignore[no-untyped-call]
    width, height = figure.get_size_inches()
    assert tight.x0 >= 0
    assert tight.y0 >= 0
    assert tight.x1 <= width
    assert tight.y1 <= height
