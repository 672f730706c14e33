"""Studies that never ran: folders such as `nas study` leaves, of made-up numbers."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nas_lightning.architecture import Genotype, SearchSpace, random_genotype
from nas_lightning.spaces import get_space
from nas_lightning.spaces.nas_bench_201 import from_string
from nas_lightning.studies.plan import (
    Method,
    Study,
    random_cell,
    retrain_dir,
    retrain_seeds,
    search_dir,
    write_study,
)
from nas_lightning.studies.results import write_result

RETRAIN = Method("retrain", ("configs/made_up_retrain.yaml",), "r" * 8)


def plan(methods: Sequence[str], seeds: int, **more: object) -> Study:
    """The plan of a study; by default each cell is retrained once."""
    made = tuple(
        Method(name, (f"configs/{name}.yaml",), f"{i:08}") for i, name in enumerate(methods)
    )
    return replace(Study(made, seeds, RETRAIN, metric="accuracy"), **more)  # type: ignore[arg-type]


def write_search(
    folder: Path,
    method: str,
    seed: int,
    genotype: Genotype,
    *,
    one_shot: float | None = None,
    supernet: float | None = None,
    scores: Mapping[int, float] | None = None,
    history: Sequence[Mapping[str, float]] = (),
    seconds: float = 100.0,
) -> None:
    """A search that has ended."""
    place = search_dir(folder, method, seed)
    genotype.save(place / "genotype.json")
    result = {
        "supernet": supernet,
        "one_shot": one_shot,
        "scores": {str(number): score for number, score in (scores or {}).items()},
        "seconds": seconds,
        "cpu_seconds": 2 * seconds,
        "peak_memory_mib": 1000.0 + seed,
    }
    write_result(place, result)
    if history:
        write_history(place, history)


def write_history(place: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the metrics of a search to the files of its loggers."""
    who = {"began": "", "outcome": "finished", "process": 1, "host": ""}
    start = {**who, "first_step": 0, "csv": "fit"}
    record: dict[str, object] = {
        "format": "nas-lightning run",
        "version": 1,
        "kind": "search",
        "seed": "0",
    }
    record |= {"config_hash": "", "starts": [start]}
    (place / "run.json").write_text(json.dumps(record))
    path = place / "csv/fit/metrics.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted({name for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)


def write_finals(
    folder: Path, study: Study, genotype: Genotype, seed: int, finals: Sequence[float]
) -> None:
    """Retrainings that have ended."""
    seeds = retrain_seeds(seed, study.retrain_seeds)
    for each, final in zip(seeds, finals, strict=True):
        result = {"final": final, "parameters": 1000 + seed, "seconds": 300.0}
        write_result(retrain_dir(folder, genotype, each), result)


def draw_random(folder: Path, space: SearchSpace, number: int) -> Genotype:
    """A randomly drawn cell of a study."""
    genotype = random_genotype(space, 1000 + number)
    genotype.save(random_cell(folder, number))
    return genotype


def history(
    space: SearchSpace, seed: int, epochs: int, lean: str, *, simplex: bool = False
) -> list[dict[str, float]]:
    """α that drift towards one operation, with the entropy and skips that go with them."""
    draw = random.Random(seed)
    speed = 0.02 + 0.01 * len(lean) % 0.04 + 0.02 * draw.random()
    drift = draw.randint(0, 5)
    rows = []
    alpha = {
        (cell.kind, str(edge), name): draw.gauss(0, 1e-3)
        for cell in space.cells
        for edge in cell.edges
        for name in cell.primitives
    }
    for epoch in range(epochs):
        row = {"epoch": float(epoch), "step": float(10 * epoch + 9)}
        for key in alpha:
            alpha[key] += draw.gauss(speed if key[2] == lean else 0.0, 0.06)
        for cell in space.cells:
            entropies = []
            for edge in cell.edges:
                found = [alpha[cell.kind, str(edge), name] for name in cell.primitives]
                total = sum(map(math.exp, found))
                shares = [math.exp(value) / total for value in found]
                entropies.append(-sum(p * math.log(p) for p in shares))
                for name, value, share in zip(cell.primitives, found, shares, strict=True):
                    row[f"alpha/{cell.kind}/{edge}/{name}"] = share if simplex else value
            row[f"search/entropy_{cell.kind}"] = sum(entropies) / len(entropies)
            row[f"search/skips_{cell.kind}"] = float(
                drift * epoch // epochs + (draw.random() < 0.05)
            )
        rows.append(row)
    return rows


def large_study(folder: Path, epochs: int = 50, seeds: int = 10) -> Study:
    """Three methods and ten random cells in the DARTS space; all has run."""
    space = get_space("darts")
    study = plan(("darts", "pcdarts", "gaea_pcdarts"), seeds, random=10, retrain_seeds=2)
    write_study(folder, study)
    draw = random.Random(0)
    cells = {}
    for number in range(study.random):
        genotype = draw_random(folder, space, number)
        cells[number] = draw.gauss(0.968, 0.0025)
        write_finals(folder, study, genotype, number, [cells[number], cells[number] + 0.001])
    for index, method in enumerate(("darts", "pcdarts", "gaea_pcdarts")):
        for seed in range(seeds):
            genotype = random_genotype(space, 100 * index + (seed if seed % 4 else 0))
            if method == "darts" and seed in (3, 7):
                genotype = skipping(genotype)
            final = draw.gauss(0.966 + 0.003 * index, 0.003 if index else 0.005)
            write_search(
                folder,
                method,
                seed,
                genotype,
                one_shot=0.5 + 10 * (final - 0.966) + draw.gauss(0, 0.04),
                supernet=0.85 + draw.gauss(0, 0.01),
                scores={n: 0.4 + 8 * (v - 0.966) + draw.gauss(0, 0.03) for n, v in cells.items()},
                history=history(space, 100 * index + seed, epochs, ("skip_connect", "sep_conv_3x3",
                                "dil_conv_5x5")[index], simplex=index == 2),
                seconds=3600.0 * (index + 1) + seed,
            )  # fmt: skip
            write_finals(folder, study, genotype, seed, [final - 0.0005, final + 0.0005])
    return study


def skipping(genotype: Genotype) -> Genotype:
    """The genotype with nothing but skip connections in its normal cell."""
    cell = genotype.cells["normal"]
    nodes = tuple(tuple(replace(i, primitive="skip_connect") for i in node) for node in cell.nodes)
    return replace(genotype, cells={**genotype.cells, "normal": replace(cell, nodes=nodes)})


TABLE_HEAD = "arch,cifar10_test"


def table_study(folder: Path, table: Path, cells: Mapping[str, float], seeds: int = 3) -> Study:
    """Two methods and three random cells in the NAS-Bench-201 space, judged by a table.

    Args:
        folder: Of the study.
        table: Written there.
        cells: Accuracy in percent by architecture string; searches find them in turn.
        seeds: Of the searches.
    """
    rows = [f"{cell},{accuracy}" for cell, accuracy in cells.items()]
    table.write_text("\n".join([TABLE_HEAD, *rows]) + "\n")
    study = plan(("gaea", "darts"), seeds, random=3, retrain=None, table=str(table))
    write_study(folder, study)
    found = [from_string(cell) for cell in cells]
    for index, method in enumerate(("gaea", "darts")):
        for seed in range(seeds):
            genotype = found[(index + 2 * seed) % len(found)]
            rows_logged = history(get_space("nas_bench_201"), seed, 4, "none")
            write_search(folder, method, seed, genotype, one_shot=0.1 * seed, history=rows_logged)
    for number in range(study.random):
        found[-1 - number % len(found)].save(random_cell(folder, number))
    return study


def predicted_study(folder: Path, model: Path, trained: Path | None = None) -> Study:
    """A method with two searches and two random cells in the DARTS space, judged by a surrogate.

    The cell of the first search has nothing but skip connections in its normal cell.
    """
    study = plan(("darts",), 2, random=2, retrain=None, table=str(model),
                 trained=trained and str(trained))  # fmt: skip
    write_study(folder, study)
    cells = [random_genotype(get_space("darts"), number) for number in range(4)]
    for seed, genotype in enumerate((skipping(cells[0]), cells[1])):
        write_search(folder, "darts", seed, genotype, one_shot=0.1 * seed)
    for number, genotype in enumerate(cells[2:]):
        genotype.save(random_cell(folder, number))
    return study
