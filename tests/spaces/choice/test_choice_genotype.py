"""Genotypes of choices: files that map names to candidates, text, pictures and curves."""

import csv
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.callbacks.search_monitor import SearchMonitor
from nas_lightning.cli import main
from nas_lightning.drawing.cells import save_drawing
from nas_lightning.drawing.choices import weight_maps
from nas_lightning.errors import GenotypeError, UsageError
from nas_lightning.runs.ending import in_words
from nas_lightning.search import SearchModule
from nas_lightning.spaces import ChoiceSpace
from nas_lightning.studies.report.collapse import ALL, counts
from tests.conftest import quiet_trainer
from tests.spaces.choice.test_choice_search import data, search

CHOSEN = {"kernel": "k3", "last": "deep", "activation": "relu"}


def many(number: int = 21) -> ChoiceSpace:
    """Blocks with three candidates, of which every fourth cannot be skipped."""
    names = ["mb3", "mb6", "skip"]
    choices = {f"block_{i:02d}": names[: 2 if i % 4 == 0 else 3] for i in range(number)}
    skips = {name: ["skip"] for name, candidates in choices.items() if "skip" in candidates}
    return ChoiceSpace("some.Network", {}, choices, skips)


def form(**choices: Any) -> dict[str, Any]:
    """The JSON form of a genotype of `Chain`."""
    space = search().space
    return {
        "format": "nas-lightning genotype",
        "version": 2,
        "space": space.to_config(),
        "choices": {**CHOSEN, **choices},
    }


def test_a_file_maps_names_to_candidates(tmp_path: Path) -> None:
    found = Genotype.from_dict(form())
    assert str(found).splitlines() == ["kernel      k3", "last        deep", "activation  relu"]
    found.save(tmp_path / "g.json")
    text = (tmp_path / "g.json").read_text(encoding="utf-8")
    assert '"choices": {"kernel": "k3", "last": "deep", "activation": "relu"}' in text
    assert Genotype.load(tmp_path / "g.json") == found
    assert "cells" not in json.loads(text)
    # many choices have a line each
    whole = random_genotype(many(), seed=0)
    whole.save(tmp_path / "many.json")
    lines = (tmp_path / "many.json").read_text(encoding="utf-8").splitlines()
    chosen = whole.cells["block_07"].nodes[0][0].primitive
    assert f'  "block_07": "{chosen}",' in lines


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"last": "depe"}, r"g.json: .*\$\.choices\.last: .*'depe'; the choice has skip, deep"),
        ({"block": "k3"}, r"\$\.choices: .* has no choice 'block'; it has kernel, last, activ"),
        ({"last": None}, r"\$\.choices\.last: expected a string"),
        ({"last": ["deep"]}, r"\$\.choices\.last: expected a string"),
        ("missing", r"\$\.choices\.last: the choice is missing; its candidates are skip, deep"),
        ("none", r"\$\.choices: expected an object"),
    ],
)
def test_errors_name_the_file_and_the_place(
    choices: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = form(**(choices if isinstance(choices, dict) else {}))
    if choices == "missing":
        del data["choices"]["last"]
    elif choices == "none":
        del data["choices"]
    (tmp_path / "g.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(GenotypeError, match=message.removeprefix("g.json: .*")):
        Genotype.load(tmp_path / "g.json")
    assert main(["info", str(tmp_path / "g.json")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "g.json" in line


def test_spaces_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="skips: 'a' is no choice with the candidates y"):
        ChoiceSpace("some.Network", {}, {"a": ["x"]}, {"a": ["y"]})
    with pytest.raises(UsageError, match="the choice 'a' needs candidates, each once"):
        ChoiceSpace("some.Network", {}, {"a": ["x", "x"]})


def test_info_takes_the_sizes_of_the_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """3·4·9 + 4·4·9·3 weights of convolutions, batch norms of 4 channels, and the head."""
    data = {**form(), "provenance": {"data": {"num_classes": 7, "image_size": 6}}}
    (tmp_path / "g.json").write_text(json.dumps(data), encoding="utf-8")
    assert main(["info", str(tmp_path / "g.json"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    convolutions = 3 * 4 * 9 + 3 * 4 * 4 * 9
    assert found["parameters"] == convolutions + 4 * 8 + 4 * 7 + 7
    # the last block runs twice
    assert found["multiply_adds"] == 36 * (convolutions + 4 * 4 * 9) + 4 * 7
    assert main(["info", str(tmp_path / "g.json"), "--json", "--classes", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == convolutions + 4 * 8 + 4 * 3 + 3
    assert main(["info", str(tmp_path / "g.json"), "--channels", "3"]) != 0


@pytest.mark.parametrize("number", [3, 21])
def test_a_drawing_is_a_column(number: int, tmp_path: Path) -> None:
    genotype = random_genotype(many(number), seed=1)
    weights = {
        cell.kind: [1 / len(cell.primitives)] * len(cell.primitives) for cell in many(number).cells
    }
    mixing = {kind: {"ops": [row]} for kind, row in weights.items()}
    drawn = Genotype(genotype.space, genotype.cells, mixing=mixing)
    root = ET.parse(save_drawing(drawn, tmp_path / "g.svg")).getroot()
    texts = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    rows = [line.split() for line in str(genotype).splitlines()]
    for kind, candidate in rows:
        assert texts[texts.index(kind) + 1] == candidate
    assert sum(text.endswith(("0.33", "0.50")) for text in texts) == 3 * number - -(-number // 4)
    assert save_drawing(genotype, tmp_path / "plain.svg").stat().st_size > 0


def test_heat_maps_join_choices_with_the_same_candidates() -> None:
    space = many(9)
    weights = {c.kind: [float(i) for i, _ in enumerate(c.primitives)] for c in space.cells}
    first, second = weight_maps(space, weights)
    assert first.choices == ("block_00", "block_04", "block_08")
    assert (first.candidates, first.weights) == (("mb3", "mb6"), [[0.0, 1.0]] * 3)
    assert (len(second.choices), second.candidates) == (6, ("mb3", "mb6", "skip"))
    different = ChoiceSpace("some.Network", {}, {f"c{i}": ["a", f"b{i}"] for i in range(5)})
    (joined,) = weight_maps(different, {f"c{i}": [0.25, 0.75] for i in range(5)})
    assert joined.candidates == ("a", "b0", "b1", "b2", "b3", "b4")
    assert joined.weights[1][:3:2] == [0.25, 0.75]
    assert [math.isnan(value) for value in joined.weights[1]] == [False, True, False] + [True] * 3


def test_skips_are_counted_over_all_choices() -> None:
    space = many(5)
    chosen = dict.fromkeys(space.kinds, "mb3") | {"block_01": "skip", "block_02": "skip"}
    data = {**form(), "space": space.to_config(), "choices": chosen}
    assert counts(Genotype.from_dict(data), ALL) == (2, 5)


def test_the_monitor_shows_sums_and_one_heat_map(tmp_path: Path) -> None:
    loggers = [TensorBoardLogger(tmp_path, name="", version=""), CSVLogger(tmp_path, name="csv")]
    module: SearchModule = search()
    trainer = quiet_trainer(
        max_epochs=1, logger=loggers, callbacks=[SearchMonitor()], default_root_dir=tmp_path
    )
    trainer.fit(module, datamodule=data())
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    tags = board.Tags()
    maps = {f"weights/candidates_{number}" for number in (1, 2, 3)}  # three sets of candidates
    assert set(tags["images"]) == {"overview/picture_cells", *maps}
    found = {tag for tag in tags["scalars"] if "entropy" in tag or "skips" in tag}
    assert found == {"search/entropy", "search/skips"}
    rows = [ops[0] for ops in module.arch().ops.values()]
    by_hand = torch.stack([-(row * row.log()).sum() for row in rows]).mean().item()
    assert board.Scalars("search/entropy")[-1].value == pytest.approx(by_hand, rel=1e-5)
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        names = next(csv.reader(file))
    assert {"alpha/last/0-1/skip", "alpha/last/0-1/deep"} <= set(names)
    lines = list(in_words(module.genotype()))
    assert [line.split()[0] for line in lines] == ["kernel", "last", "activation"]
    assert all(0.4 < float(line.split()[2]) < 0.7 for line in lines)
