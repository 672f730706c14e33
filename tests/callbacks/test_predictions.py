"""Predictions as files: columns by class and value, and maps of pixels."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nas_lightning.callbacks.prediction_maps import write_map
from nas_lightning.callbacks.predictions import PredictionWriter
from nas_lightning.data.file_list import FileList
from nas_lightning.data.read_mask import read_mask
from nas_lightning.errors import UsageError
from nas_lightning.tasks import MultiLabel, Regression, Segmentation, Task
from tests.conftest import TrainerFactory
from tests.tasks.pairs import TASKS, Pairs, retraining


def written(
    folder: Path, task: Task, outputs: list[Tensor], data: Any = None
) -> list[dict[str, str]]:
    """Return the rows that a writer makes of the outputs of some batches."""
    writer = PredictionWriter(folder)
    trainer: Any = SimpleNamespace(datamodule=data, world_size=1, global_rank=0)
    module: Any = SimpleNamespace(task=task)
    writer.on_predict_start(trainer, module)
    first = 0
    for number, output in enumerate(outputs):
        indices = [(0, first + i) for i in range(len(output))]
        writer.write_on_batch_end(trainer, module, output, indices, None, number, 0)
        first += len(output)
    writer.on_predict_end(trainer, module)
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_probabilities_are_columns_of_classes(tmp_path: Path) -> None:
    logits = torch.tensor([[0.0, np.log(3)], [-np.log(3), 0.0], [0.0, 0.0]]).float()
    for names in (("cat", "dog"), None, ("one", "two", "three")):
        data = SimpleNamespace(class_names=names)
        rows = written(tmp_path, MultiLabel(), [logits[:2], logits[2:]], data)
        shown = names if names and len(names) == 2 else ("0", "1")
        assert list(rows[0]) == ["index", *[f"probability_{name}" for name in shown]]
        values = [[float(x) for x in list(row.values())[1:]] for row in rows]
        torch.testing.assert_close(torch.tensor(values), logits.sigmoid())
        assert [row["index"] for row in rows] == ["0", "1", "2"]


def test_values_are_in_the_units_of_the_data(tmp_path: Path) -> None:
    data = SimpleNamespace(value_names=("height", "year"), class_names=None)
    task = Regression(center=[1.0, 2000.0], scale=[0.5, 10.0])
    rows = written(tmp_path, task, [torch.tensor([[2.0, -1.0]])], data)
    assert rows == [{"index": "0", "value_height": "2.0", "value_year": "1990.0"}]


def test_masks_are_files_named_as_their_images(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = [torch.randn(count, 5, 6, 7, generator=generator) for count in (2, 1)]
    truth = torch.cat(outputs).argmax(1).numpy()
    files = SimpleNamespace(
        files=FileList(Path("data"), ["a.jpg", "in/b.png", "c.x.png"]), broken=[]
    )
    rows = written(tmp_path, Segmentation(), outputs, SimpleNamespace(predicted_files=files))
    assert [row["mask"] for row in rows] == ["masks/a.png", "masks/in/b.png", "masks/c.x.png"]
    assert [row["file"] for row in rows] == ["data/a.jpg", "data/in/b.png", "data/c.x.png"]
    for row, mask in zip(rows, truth, strict=True):
        assert np.array_equal(read_mask(tmp_path / row["mask"]), mask)
        with Image.open(tmp_path / row["mask"]) as image:  # the classes can be told apart by eye
            colours = {image.convert("RGB").getpixel((x, y)) for x in range(7) for y in range(6)}
        assert len(colours) == len(np.unique(mask))
    rows = written(tmp_path, Segmentation(), outputs)
    assert [row["mask"] for row in rows] == ["masks/0.png", "masks/1.png", "masks/2.png"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (torch.tensor([[0, 300], [65535, 7]]), "m.png"),
        (torch.tensor([[-1, 3]]), "m.npy"),
        (torch.tensor([[0.5, 3.0]]), "m.npy"),
        (torch.tensor([[0.5, 3.0]]).bfloat16(), "m.npy"),
        (torch.arange(8).view(2, 2, 2), "m.npy"),
    ],
)
def test_other_maps(values: Tensor, name: str, tmp_path: Path) -> None:
    path = write_map(tmp_path, Path("m"), values)
    assert path.name == name
    found = read_mask(path) if path.suffix == ".png" else np.load(path)
    assert np.array_equal(found, values.float().numpy())


def test_a_module_without_a_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no attribute task"):
        PredictionWriter(tmp_path).on_predict_start(SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type] # stand-ins


@pytest.mark.parametrize("kind", TASKS)
def test_predictions_of_a_run(kind: str, make_trainer: TrainerFactory, tmp_path: Path) -> None:
    """Twice with the same writer, and without keeping the outputs."""
    data, module = Pairs(kind, count=10, batch_size=4), retraining(kind)
    trainer = make_trainer(callbacks=[PredictionWriter(tmp_path)])
    texts = []
    for _ in range(2):
        trainer.predict(module, datamodule=data, return_predictions=False)
        texts.append((tmp_path / "predictions.csv").read_text())
    assert texts[0] == texts[1]
    assert len(texts[0].splitlines()) == 11
    if kind == "segmentation":
        images = data._sets["test"].y
        expected = module.eval()(images).argmax(1).numpy()
        for number in range(10):
            assert np.array_equal(read_mask(tmp_path / f"masks/{number}.png"), expected[number])
