"""`ImageLabels` and `ImageValues`: tables, batches, words at the start, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from nas_lightning.data import ImageLabels, ImageValues
from nas_lightning.errors import DataError

FILES = [f"{number}.png" for number in range(8)]
LABELS = "file,cat,dog\n" + "".join(f"{name},{i % 2},{i // 4}\n" for i, name in enumerate(FILES))
VALUES = "file,height,year\n" + "".join(f"{x},{i / 8},{1990 + i}\n" for i, x in enumerate(FILES))


def made(folder: Path, table: str) -> Path:
    """A training and a test set with a table, whose images have their number as grey level."""
    for part in ("train", "test"):
        (folder / part / "inner").mkdir(parents=True)
        for number, name in enumerate(FILES):
            Image.new("RGB", (8, 8), (30 * number,) * 3).save(folder / part / name)
        (folder / part / "labels.csv").write_text(table, encoding="utf-8")
    return folder


def opened(kind: Any, root: Path, stage: str = "fit", **more: Any) -> Any:
    settings = {
        "image_size": 8,
        "batch_size": 4,
        "mode": "retrain",
        "val_fraction": 0.25,
        "seed": 0,
    }
    data = kind(str(root), **{**settings, **more})
    data.setup(stage)
    return data


def numbers(images: torch.Tensor) -> list[int]:
    """Return the number of each image, from its grey level."""
    return [round(float(255 * (x[0].mean() * 0.229 + 0.485)) / 30) for x in images]


def test_each_image_has_its_labels(tmp_path: Path) -> None:
    data = opened(ImageLabels, made(tmp_path, LABELS))
    assert data.data_spec == {"in_channels": 3, "num_classes": 2, "image_size": 8}
    assert data.class_names == ("cat", "dog")
    seen = []
    for images, labels in (*data.train_dataloader(), *data.val_dataloader()):
        assert labels.dtype == torch.uint8
        assert labels.tolist() == [[i % 2, i // 4] for i in numbers(images)]
        seen += numbers(images)
    assert len(seen) >= 6
    assert dict(data.summary()) == {
        "data": f"ImageLabels, {tmp_path}",
        "labels": "2: cat, dog",
        "images": "training 6, validation 2",
    }


def test_each_image_has_its_values(tmp_path: Path) -> None:
    data = opened(ImageValues, made(tmp_path, VALUES))
    for images, values in data.train_dataloader():
        assert values.dtype == torch.float64
        assert values.tolist() == [[i / 8, 1990 + i] for i in numbers(images)]
    found = dict(data.summary())
    assert found["values"] == "2: height, year"
    assert found["height"] == "mean 0.4375, standard deviation 0.28641"
    assert found["year"] == "mean 1993.5, standard deviation 2.2913"
    assert data.meaning["values"] == ["height", "year"]
    ((images, _), *_) = list(opened(ImageValues, tmp_path, "predict").predict_dataloader())
    assert numbers(images) == [0, 1, 2, 3]


def test_predictions_need_no_table(tmp_path: Path) -> None:
    root = made(tmp_path, VALUES)
    (root / "test/labels.csv").unlink()
    data = opened(ImageValues, root, "predict")
    assert [path.name for path in data.predicted_files.files] == FILES
    with pytest.raises(DataError, match=r"There is no table '.*test/labels.csv': write one"):
        opened(ImageValues, root, "test")


def test_other_files_and_absent_labels_are_named(tmp_path: Path) -> None:
    root = made(
        tmp_path, "\ufefffile,cat,dog\n\n0.png, 1 ,0\r\n1.png,1.0,0\n2.png,0,0\n3.png,1,0\n"
    )
    data = opened(ImageLabels, root)
    found = data.summary()
    assert ("images", "training 3, validation 1") in found
    assert ("ignored in train/", "4 images not in labels.csv") in found
    assert ("warning", "no image of class dog in train/") in found


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (ImageValues, "file,a\n0.png,abc\n", "line 2: 'abc' in the column 'a' is not a finite num"),
        (ImageValues, "file,a\n0.png,\n", "line 2: '' in the column 'a' is not a finite number"),
        (ImageValues, "file,a\n0.png,nan\n", "line 2: 'nan' in the column 'a'"),
        (ImageValues, "file,a\n0.png,1,2\n", "line 2: expected 2 cells, found 3"),
        (ImageValues, "file,a\n0.png,1\n0.png,2\n", "line 3: '0.png' is in line 2, too"),
        (ImageValues, "file,a\n9.png,1\n", r"there is no image '9.png' in '.*train': add it"),
        (ImageValues, "file,a\n../test/0.png,1\n", "there is no image '../test/0.png'"),
        (ImageValues, "file,a,a\n", "line 1: expected a name for the file and a different one"),
        (ImageValues, "file\n0.png\n", "line 1: .* found no column"),
        (ImageValues, "", "line 1: .* found no column"),
        (ImageValues, "file,a\n", "has no image: add a line for each"),
        (ImageValues, 'file,a\n"0.png,1\n', "not a CSV table"),
        (ImageLabels, "file,a\n0.png,2\n", "'0.png' has 2 in the column 'a': write 0 or 1"),
        (ImageLabels, "file,a\n0.png,0.5\n", "has 0.5 in the column 'a'"),
    ],
)  # fmt: skip
def test_malformed_tables_are_refused(kind: Any, text: str, message: str, tmp_path: Path) -> None:
    root = made(tmp_path, VALUES)
    (root / "train/labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        opened(kind, root)
    assert "\n" not in str(caught.value)
    assert "labels.csv" in str(caught.value)


def test_other_columns_in_the_test_set_are_refused(tmp_path: Path) -> None:
    root = made(tmp_path, VALUES)
    (root / "test/labels.csv").write_text("file,year,height\n0.png,1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has the columns 'year', 'height', but the training set"):
        opened(ImageValues, root, "test")
