"""The cells that searches found."""

from __future__ import annotations

from nas_lightning.architecture import Genotype
from nas_lightning.drawing.cells import draw_genotype
from nas_lightning.studies.report.agreement import FoundCell
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.collapse import counts
from nas_lightning.studies.report.numbers import count
from nas_lightning.studies.report.page import Picture, Section, Table
from nas_lightning.studies.report.plotting import MANY, to_svg


def section(a: Analysis) -> Section:
    """List the distinct cells and their searches, and draw a cell for each method."""
    title = "Found cells"
    reading = (
        "A digest names a cell: cells with the same operations on the same edges have the same "
        "digest. For each method the drawing shows the cell that it found most often, or that of "
        "its first seed."
    )
    if not a.cells:
        return Section(title, reading, ("No search has found a cell yet.",))
    found = sum(len(cell.runs) for cell in a.cells)
    words = [f"{count(found, 'search')} found {count(len(a.cells), 'distinct cell')}."]
    pictures = tuple(
        picture
        for number, method in enumerate(a.searches)
        if (picture := _picture(a, method, number)) is not None
    )
    if not pictures:
        words.append(f"Genotypes with more than {MANY} kinds of cells are not drawn here.")
    return Section(title, reading, tuple(words), pictures, (_table(a),))


def _table(a: Analysis) -> Table:
    rows = tuple(
        (cell.digest, _found_by(cell), str(len(cell.runs)), str(_skips(cell))) for cell in a.cells
    )
    return Table("Distinct cells", ("cell", "found by", "times", "skips"), rows, labels=2)


def _found_by(cell: FoundCell) -> str:
    seeds: dict[str, list[str]] = {}
    for run in cell.runs:
        seeds.setdefault(run.method, []).append(str(run.seed))
    return "; ".join(
        f"{method}, seed{'s' * (len(numbers) > 1)} {', '.join(numbers)}"
        for method, numbers in seeds.items()
    )


def _skips(cell: FoundCell) -> int:
    return sum(counts(cell.genotype, kind)[0] for kind in cell.genotype.cells)


def _picture(a: Analysis, method: str, number: int) -> Picture | None:
    """Draw the cell that a method found most often; of several, that of the lowest seed."""
    own = {cell.digest: [r.seed for r in cell.runs if r.method == method] for cell in a.cells}
    cells = [cell for cell in a.cells if own[cell.digest]]
    if not cells or _many(cells[0].genotype):
        return None
    best = min(cells, key=lambda cell: (-len(own[cell.digest]), own[cell.digest][0]))
    times = len(own[best.digest])
    often = "once" if times == 1 else f"{times} times"
    figure = draw_genotype(best.genotype)
    title = f"{method} found {best.digest} {often}, first with seed {own[best.digest][0]}"
    return Picture(f"cell_{number}", title, to_svg(figure))


def _many(genotype: Genotype) -> bool:
    """Return True if the picture of a genotype would be too large for a report."""
    return len(genotype.cells) > MANY and not genotype.space.of_choices
