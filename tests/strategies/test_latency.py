"""Latency as a resource: the sum of a table's rows, their measurement, and other tables."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.architecture import Genotype, NetworkFactory, SearchSpace, random_genotype
from nas_lightning.architecture.budgets import amount, quantity
from nas_lightning.architecture.latency import FORMAT, Latency, LatencyTable, Row
from nas_lightning.architecture.units import Place
from nas_lightning.bench.latency import LatencyOptions, measure_latencies
from nas_lightning.errors import ContentError, UsageError
from nas_lightning.operators import Identity
from nas_lightning.search import one_hot
from nas_lightning.search.selection import Selection
from nas_lightning.spaces import (
    ChoiceNetwork,
    ChoiceSupernet,
    DartsNetwork,
    DartsSpace,
    NasBench201Network,
    NasBench201Space,
    ReconstructionNetwork,
    ReconstructionSpace,
    RecurrentNetwork,
    RecurrentSpace,
    family_of,
)
from nas_lightning.strategies import ResourcePenalty
from tests.cli.conftest import Nas, nas, work

__all__ = ["nas", "work"]
IMAGES = {"in_channels": 3, "num_classes": 5, "image_size": 16}
CASES: dict[str, tuple[SearchSpace, NetworkFactory]] = {
    "darts": (DartsSpace(2), DartsNetwork(4, 5)),
    "nas_bench_201": (NasBench201Space(), NasBench201Network(4, 2)),
    "choice": (ChoiceSupernet("tests.spaces.nested.Nested").space_of(IMAGES), ChoiceNetwork()),
}
HOLDERS = {"CellNetwork", "DiscreteCell", "PlainNetwork", "Skeleton", "PlainCell", "ModuleList"}
"""Modules that hold others and compute nothing but sums and concatenations."""


def made_up(name: str) -> LatencyTable:
    """A table with every row that is measured, in which no two sums of rows are equal."""
    space, factory = CASES[name]
    table = measure_latencies(space, factory, IMAGES, LatencyOptions(repeat=1, warm_up=0))
    assert all(row.milliseconds >= 0 for row in table.rows)
    rows = [Row(*row.place, 1 + 2.0**-i) for i, row in enumerate(table.rows)]
    return LatencyTable(FORMAT, 1, "made up", 1, rows)


def calls(network: nn.Module) -> list[tuple[str, torch.Size, torch.Size]]:
    """Name, input and output of the modules that a network runs, inside all of `HOLDERS`."""
    found = []

    def watch(prefix: str, module: nn.Module) -> None:
        for name, child in module.named_children():
            path = f"{prefix}.{name}".lstrip(".")
            if type(child).__name__ in HOLDERS:
                watch(path, child)
                continue

            def record(_: nn.Module, args: Any, out: Any, path: str = path) -> None:
                first = out if isinstance(out, Tensor) else out[0]
                found.append((path, args[0].shape, first.shape))

            child.register_forward_hook(record)

    watch("", network)
    with torch.no_grad():
        network.eval()(torch.randn(1, 3, 16, 16))
    return found


def operation(network: nn.Module, path: str) -> str:
    """The primitive of an edge, or the name of another module without numbers."""
    cell, _, place = path.partition(".nodes.")
    if not place:
        return ".".join(word for word in path.split(".") if not word.isdigit())
    node, position = map(int, place.split("."))
    genotype: Any = network.get_submodule(cell).genotype
    primitive: str = genotype.nodes[node][position].primitive
    return primitive


@pytest.mark.parametrize("name", ["darts", "nas_bench_201"])
def test_one_hot_weights_cost_the_rows_of_the_modules_that_run(name: str) -> None:
    space, factory = CASES[name]
    table = made_up(name)
    prices = family_of(space).prices(space, factory, IMAGES, Latency(table, "t.json"))
    low, high = prices.bounds(space)
    selection = Selection(space, torch.device("cpu"))
    for seed in range(4):
        genotype = random_genotype(space, seed)
        network = factory.build(genotype, IMAGES)
        total = 0.0
        for path, before, after in calls(network):
            stride = before[2] // after[2] if len(after) == 4 else 1
            place = Place(operation(network, path), before[1], after[1], stride, before[2])
            total += table.by_place[place]
        kept = selection.expected(one_hot(space, genotype, torch.device("cpu")))
        expected = prices.total({kind: weights.double() for kind, weights in kept.items()})
        assert prices.of(genotype) == pytest.approx(total, rel=1e-12)
        assert float(expected) == pytest.approx(total, rel=1e-12)
        assert low <= total <= high


def test_modules_around_a_nested_choice_belong_to_the_candidate() -> None:
    space, factory = CASES["choice"]
    table = made_up("choice")
    prices = family_of(space).prices(space, factory, IMAGES, Latency(table, "t.json"))
    rows = {row.operation: row.milliseconds for row in table.rows}
    around = ("stem", "outer.candidates.deep.0", "outer.candidates.deep.2")
    parts = {
        ("small", "b8"): ("stem", "outer.small"),
        ("deep", "b8"): (*around, "inner.b8"),
        ("deep", "b20"): (*around, "inner.b20"),
    }
    for (outer, inner), names in parts.items():
        chosen = {"outer": outer, "inner": inner}
        kept = {
            cell.kind: torch.tensor(
                [[float(one == chosen[cell.kind]) for one in cell.primitives]], dtype=torch.float64
            )
            for cell in space.cells
        }
        expected = sum(rows[name] for name in names)
        assert float(prices.total(kept)) == pytest.approx(expected, rel=1e-12)
    assert len(rows) == 6


def test_a_table_is_measured_and_used_by_a_search(nas: Nas, work: Path) -> None:
    small = "{class_path: DartsNetwork, init_args: {channels: 4, layers: 3}}"
    arguments = f"resource: latency, budget: 1 s, table: t.json, network: {small}"
    (work / "budget.yaml").write_text(
        "model:\n  init_args:\n    strategies+:\n"
        f"      - {{class_path: ResourcePenalty, init_args: {{{arguments}}}}}\n"
    )
    line = "--config search --config budget.yaml"
    said = nas(f"latency {line} -o t.json --threads 1 --repeat 2 --warm-up 0 --batch-size 2")
    assert said.code == 0, said.err
    written = json.loads((work / "t.json").read_text())
    assert f"{len(written['rows'])} rows for {written['device']} written to t.json" in said.out
    assert (written["batch_size"], written["threads"], written["repeat"]) == (2, 1, 2)
    assert written["warm_up"] == 0
    sizes = {(row["operation"], row["channels_in"], row["channels_out"]) for row in written["rows"]}
    assert {("stem", 3, 12), ("sep_conv_3x3", 8, 8), ("sep_conv_3x3", 16, 16)} <= sizes
    for row in written["rows"]:
        row["milliseconds"] = 300.0 if row["operation"] == "sep_conv_3x3" else 1.0
    (work / "t.json").write_text(json.dumps(written))
    run = nas(f"fit {line} --run_dir runs/fast")
    assert run.code == 0, run.err
    found = Genotype.load(work / "runs/fast/genotype.json").provenance["budget"]
    assert found["budget"] == 1000
    assert ("kept: " in run.out) == (found["cost"] <= 1000)
    assert " ms, of at most 1000 ms" in run.out

    kept = [row for row in written["rows"] if row["operation"] != "stem"]
    (work / "t.json").write_text(json.dumps({**written, "rows": kept}))
    lacking = nas(f"fit {line} --run_dir runs/lacking")
    assert lacking.code == 2
    row = "stem (3 to 12 channels, stride 1, size 8)"
    assert f"t.json has no row for {row}: add them, or measure by nas latency" in lacking.err
    assert len(lacking.err.strip().splitlines()[-1]) < 1000
    assert nas("latency --config retrain -o t.json").code == 2


ROW = {"operation": "a", "channels_in": 1, "channels_out": 1, "stride": 1, "size": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, r"\$\.format: expected"),
        ({"version": 2}, r"\$\.version: expected"),
        ({"rows": [ROW]}, r"\$\.rows\[0\]: .*the key 'milliseconds' is missing"),
        ({"rows": [{**ROW, "milliseconds": -1}]}, r"rows\[0\]: Row: milliseconds must be at least"),
        ({"rows": [{**ROW, "milliseconds": 1, "size": 0}]}, "Row: size must be at least 1"),
        ({"rows": [{**ROW, "milliseconds": 1}] * 2}, r"the row a \(1 to 1 .*\) occurs twice"),
        ({"rows": [], "speed": 1}, "unknown key 'speed'"),
    ],
)
def test_tables_that_do_not_fit(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    table: dict[str, Any] = {
        "format": FORMAT, "version": 1, "device": "a phone", "batch_size": 1, "rows": [],
    }  # fmt: skip
    path = tmp_path / "t.json"
    path.write_text(json.dumps(table))
    assert LatencyTable.load(path).device == "a phone"
    path.write_text(json.dumps({**table, **change}))
    with pytest.raises(ContentError, match=message):
        LatencyTable.load(path)


def test_other_networks_have_no_latency() -> None:
    empty = Latency(LatencyTable(FORMAT, 1, "a phone", 1, []), "t.json")
    texts, signals = RecurrentSpace(2), ReconstructionSpace(2)
    with pytest.raises(UsageError, match="the latency of recurrent cells cannot be measured"):
        family_of(texts).prices(texts, RecurrentNetwork(4), {"num_tokens": 5}, empty)
    spec = {"in_channels": 1, "image_size": 8, "dims": 1, "operator": Identity().to_config()}
    with pytest.raises(UsageError, match="is known for images of a given size only"):
        family_of(signals).prices(signals, ReconstructionNetwork(), spec, empty)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resource": "latency", "budget": 5}, "needs a table: measure one by nas latency"),
        ({"resource": "macs", "budget": 5, "table": "t.json"}, "and no other, needs a table"),
        (
            {"resource": "latency", "budget": "5M", "table": "t.json"},
            "budget must be a number of ms, alone or with us, ms, s, found '5M'",
        ),
    ],
)
def test_arguments_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"ResourcePenalty: .*{message}"):
        ResourcePenalty(**arguments)


def test_milliseconds_are_read_and_written() -> None:
    assert [amount("A", text, Latency) for text in ("5 ms", "2s", "40 us", 3)] == [5, 2000, 0.04, 3]
    assert quantity(5.1234, Latency) == "5.123 ms"
