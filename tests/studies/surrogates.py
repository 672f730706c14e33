"""A tiny surrogate in the files of the real ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.spaces.darts import DartsSpace

PREFIX = "NetworkSelectorDatasetInfo_COLON_darts_COLON_"
OPERATIONS = ("avg_pool_3x3", "dil_conv_3x3", "dil_conv_5x5", "max_pool_3x3", "sep_conv_3x3",
              "sep_conv_5x5", "skip_connect")  # fmt: skip
NUMBER = {"#na#": 0, **{name: i for i, name in enumerate(OPERATIONS, start=1)}}


def encoding() -> dict[str, dict[str, int]]:
    """The categories, in the order of plain texts as in the real file: edge 10 before edge 2."""
    found = {f"{PREFIX}edge_{kind}_{i}": NUMBER for kind in ("normal", "reduce") for i in range(14)}
    for kind in ("normal", "reduce"):
        for node in (3, 4, 5):
            pairs = [f"{a}_{b}" for a in range(node) for b in range(a + 1, node)]
            numbers = {pair: i for i, pair in enumerate(pairs, start=1)}
            found[f"{PREFIX}inputs_node_{kind}_{node}"] = {"#na#": 0, **numbers}
    return {name: found[name] for name in sorted(found)}


def arrays() -> dict[str, Any]:
    """A network that looks at edge 10 of the normal cell and the inputs of its node 3.

    Wide: three times the value of edge 10, which is 0.25 for sep_conv_5x5, plus the value of the
    inputs, which is 0.5 for 1 and 2. Deep: half of SELU(-epoch / 98). Deeper: 0.75.
    """
    sizes = [8] * 28 + [4, 7, 11] * 2
    found: dict[str, Any] = {
        f"embedding_{i:02}": np.zeros((size, 1)) for i, size in enumerate(sizes)
    }
    found["embedding_10"][NUMBER["sep_conv_5x5"]] = 0.25
    found["embedding_28"][3] = 0.5
    for name, rows, columns in (("wide.0", 2, 35), ("deep.0.1", 1, 35), ("deep.1.0", 2, 1),
                                ("deeper.0.0", 2, 35)):  # fmt: skip
        found[f"{name}.weight"] = np.zeros((rows, columns))
        found[f"{name}.bias"] = np.zeros(rows)
    found["wide.0.weight"][0, [10, 28]] = 3, 1
    found["deep.0.1.weight"][0, 34] = -52 / 98
    found["deep.1.0.weight"][0, 0] = 0.5
    found["deeper.0.0.bias"][0] = 0.75
    return found


def write(folder: Path) -> Path:
    """Write the network and its encoding."""
    (folder / "tiny_encoding.json").write_text(json.dumps(encoding()), encoding="utf-8")
    np.savez(folder / "tiny.npz", **arrays())
    return folder / "tiny.npz"


def cell(normal: str, reduce: str | None = None, concat: tuple[int, ...] | None = None) -> Genotype:
    """A genotype of cells `op:input op:input …`."""
    found = {}
    for kind, text in (("normal", normal), ("reduce", reduce or normal)):
        pairs = [pair.split(":") for pair in text.split()]
        edges = [NodeInput(op, int(source)) for op, source in pairs]
        nodes = tuple(tuple(edges[i : i + 2]) for i in range(0, len(edges), 2))
        found[kind] = CellGenotype(nodes, concat or tuple(range(2, 2 + len(nodes))))
    return Genotype(DartsSpace(nodes=len(found["normal"].nodes)), found)


def uniform(operation: str, nodes: int = 4) -> str:
    """A cell of one operation whose nodes all have the inputs 0 and 1."""
    return " ".join([f"{operation}:0 {operation}:1"] * nodes)
