"""The surrogates of the DARTS space: values by hand, the real files, and what is refused."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_lightning.architecture import Genotype
from nas_lightning.errors import DataError, NASError, UsageError
from nas_lightning.spaces import load_genotype
from nas_lightning.studies.surrogate import Encoding, Surrogate, SurrogateLookup, TrainedCells
from tests.studies import surrogates
from tests.studies.surrogates import cell, uniform

SEEN = "sep_conv_3x3:0 sep_conv_3x3:1 skip_connect:2 sep_conv_3x3:1 {} sep_conv_5x5:1"
"""Node 3 has the inputs 1 and 2; the last node is edge 9 and edge 10."""


def value(wide: float) -> float:
    """Accuracy of the tiny network."""
    selu = 1.0507009873554805 * 1.6732632423543772 * (math.exp(-1) - 1)
    return 1 / (1 + math.exp(-(wide + selu / 2 + 0.75)))


def test_values_by_hand(tmp_path: Path) -> None:
    model = Surrogate.load(surrogates.write(tmp_path))
    seen = SEEN.format("skip_connect:0 skip_connect:1 sep_conv_3x3:0")
    assert model.predict(cell(seen)) == pytest.approx(value(3 * 0.25 + 0.5), abs=1e-6)
    assert model.predict(cell(uniform("skip_connect"), seen)) == pytest.approx(value(0), abs=1e-6)
    fives = model.predict(cell(uniform("sep_conv_5x5")))
    assert fives == pytest.approx(value(3 * 0.25), abs=1e-6)


def test_the_order_of_a_node_does_not_matter(tmp_path: Path) -> None:
    coded = Encoding.beside(surrogates.write(tmp_path))
    words = uniform("skip_connect", 3) + " sep_conv_3x3:4 dil_conv_5x5:0"
    numbers = coded.encode(cell(words))
    assert numbers == coded.encode(
        cell(uniform("skip_connect", 3) + " dil_conv_5x5:0 sep_conv_3x3:4")
    )
    # edges 0, 1, 2, 3, 5, 6 are skips; edge 9 + 0 and edge 9 + 4
    edges = [7, 7, 7, 7, 0, 7, 7, 0, 0, 3, 0, 0, 0, 5]
    assert numbers == [*edges, *edges, 1, 1, 4, 1, 1, 4]


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        (cell("skip_connect:0 skip_connect:0 " + uniform("skip_connect", 3)),
         "2 different inputs, found 0, 0 at node 2 of the cell 'normal'"),
        (cell(uniform("none")), "does not know 'none' (edge_normal_0)"),
        (cell(uniform("sep_conv_7x7")), "does not know 'sep_conv_7x7'"),
        (cell(uniform("skip_connect", 3)), "cells of 4 nodes and 2 inputs, found 3 nodes"),
        (cell(uniform("skip_connect"), concat=(3, 4, 5)), "whose output is all 4 nodes"),
        (load_genotype("|skip_connect~0|+|none~0|none~1|+|none~0|none~1|none~2|"),
         "of the space 'nas_bench_201'"),
    ],
)  # fmt: skip
def test_cells_that_are_refused(genotype: Genotype, message: str, tmp_path: Path) -> None:
    model = Surrogate.load(surrogates.write(tmp_path))
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        model.predict(genotype)
    assert "\n" not in str(error.value)


def test_files_that_are_refused(tmp_path: Path) -> None:
    file = surrogates.write(tmp_path)
    arrays = surrogates.arrays()
    with pytest.raises(DataError, match="no such file"):
        Surrogate.load(tmp_path / "other.npz")
    with pytest.raises(UsageError, match=r"expected \.npz or \.onnx"):
        Surrogate.load(tmp_path / "tiny_encoding.json")
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({**arrays, "embedding_10": np.zeros((7, 1))}, "needs embedding_10 with 8 rows"),
        ({k: v for k, v in arrays.items() if "deeper" not in k}, "not a surrogate.*deeper"),
        ({**arrays, "wide.0.bias": np.full(2, np.nan)}, "predicts nan"),
        ({**arrays, "wide.0.bias": np.zeros(3)}, "not a surrogate"),
        ({**arrays, "x": np.asarray([{}])}, "allow_pickle=False"),
    ]
    for broken, message in wrongs:
        np.savez(file, **broken)
        with pytest.raises(DataError, match=message):
            Surrogate.load(file)
    file.write_bytes(b"PK")
    with pytest.raises(DataError, match=r"cannot read .*tiny\.npz"):
        Surrogate.load(file)


def test_encodings_that_are_refused(tmp_path: Path) -> None:
    file = surrogates.write(tmp_path)
    good = surrogates.encoding()
    first = next(iter(good))
    wrongs: list[Any] = [{}, {**good, "x": {"#na#": 0}}, {**good, first: {"#na#": 0, "none": 2}},
                  {**good, first: {"none": 0}}, [], {**good, first: 3}]  # fmt: skip
    for wrong in wrongs:
        (tmp_path / "tiny_encoding.json").write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(NASError, match=r"tiny_encoding\.json"):
            Surrogate.load(file)
    (tmp_path / "b_encoding.json").touch()
    with pytest.raises(UsageError, match=r"2 files \*encoding\.json are beside it.*--encoding"):
        Surrogate.load(file)


def real(name: str) -> Path:
    folder = Path(os.environ.get("NAS_TEST_DATA", "")) / "ground-truth"
    if "NAS_TEST_DATA" not in os.environ or not (folder / name).is_file():
        pytest.skip(f"needs ground-truth/{name} in the folder that NAS_TEST_DATA names")
    return folder / name


@pytest.mark.realdata
def test_the_archive_equals_onnx() -> None:
    pytest.importorskip("onnxruntime")
    files = [real(f"nb301_yahpo_2021{end}") for end in (".onnx", "_float16.npz")]
    exact, archive = map(Surrogate.load, files)
    cells = [cell(uniform(name)) for name in surrogates.OPERATIONS]
    cells += TrainedCells.load(real("darts_random_214.csv")).cells[:100]
    gaps = [abs(exact.predict(one) - archive.predict(one)) for one in cells]
    assert max(gaps) < 1e-4  # 0.01 %: the archive is rounded to float16


@pytest.mark.realdata
def test_figures_of_the_real_surrogate() -> None:
    lookup = SurrogateLookup.load(
        [real("nb301_yahpo_2021_float16.npz")], trained=real("darts_random_214.csv")
    )
    (model,) = lookup.surrogates
    published = lookup.look_up(["DARTS_V2", "PC_DARTS_CIFAR"])
    shown = [round(100 * row["predicted"], 1) for row in published["cells"]]
    assert shown == [95.5, 95.8]
    assert [row["flagged"] for row in published["cells"]] == [False, False]
    uniforms = {"skip_connect": 95.3, "max_pool_3x3": 94.0, "sep_conv_3x3": 95.9}
    for name, percent in uniforms.items():
        assert 100 * model.predict(cell(uniform(name))) == pytest.approx(percent, abs=0.06)
    spearman, kendall = published["models"][0]["error"]["correlations"]
    assert (round(spearman["value"], 3), round(kendall["value"], 3)) == (0.519, 0.363)
    assert (spearman["low"], spearman["high"]) == pytest.approx((0.41, 0.61), abs=0.02)


@pytest.mark.realdata
def test_the_second_model_sees_collapse() -> None:
    pytest.importorskip("onnxruntime")
    model = Surrogate.load(real("nb301_yahpo_v2.onnx"))
    skips = model.predict(cell(uniform("skip_connect")))
    assert skips == pytest.approx(0.899, abs=5e-4)
    assert model.predict(load_genotype("DARTS_V2")) > skips + 0.02
