"""`nas_lightning.load` returns the trained network, with its preprocessing and its classes."""

import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning import LightningDataModule
from PIL import Image
from torch import Tensor

import nas_lightning
from nas_lightning.deploy import TrainedNetwork
from nas_lightning.deploy.images import predict_images
from nas_lightning.errors import CheckpointError, DataError, UsageError
from nas_lightning.layers.text import TextInput
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import PUBLISHED, DartsNetwork
from nas_lightning.tasks import Regression, Segmentation, Task
from tests.cli.conftest import nas, retrained, searched, work
from tests.deploy.saved import CASES, Case, train

__all__ = ["nas", "retrained", "searched", "work"]


class Saved(NamedTuple):
    path: Path
    module: RetrainModule
    data: LightningDataModule
    picture: Path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A trained network of digits, and a digit of the test set as a picture."""
    folder = tmp_path_factory.mktemp("digits")
    module, data = train(CASES["darts"], folder / "x.ckpt")
    data.setup("test")
    image = data._sets["test"].images[0, 0]  # type: ignore[attr-defined] # bytes (8, 8)
    Image.fromarray(image.numpy()).save(folder / "digit.png")
    return Saved(folder / "x.ckpt", module, data, folder / "digit.png")


def test_outputs_are_those_of_the_trained_module(digits: Saved) -> None:
    network = nas_lightning.load(digits.path)
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())
    x, _ = next(iter(digits.data.test_dataloader()))
    with torch.no_grad():
        assert torch.equal(network(x), digits.module(x))
    assert torch.equal(network.preprocess(digits.picture), x[0])
    assert torch.equal(network.preprocess(Image.open(digits.picture)), x[0])
    assert network.classes == tuple(map(str, range(10)))
    assert network.run_dir is None


@torch.no_grad()
def test_predictions_are_the_best_classes(digits: Saved) -> None:
    network = nas_lightning.load(str(digits.path))
    x = network.preprocess(digits.picture)
    wanted = digits.module(x[None]).softmax(dim=1)[0]
    found = network.predict(digits.picture, top=3)
    assert [one.label for one in found] == wanted.argsort(descending=True)[:3].tolist()
    assert [one.name for one in found] == [str(one.label) for one in found]
    for one in found:
        assert one.probability == pytest.approx(float(wanted[one.label]))
    assert len(network.predict(digits.picture)) == 5
    assert len(network.predict(digits.picture, top=99)) == 10
    with pytest.raises(UsageError, match="top must be at least 1, found 0"):
        network.predict(digits.picture, top=0)
    with pytest.raises(DataError, match=r"nowhere\.png"):
        network.predict("nowhere.png")


def test_a_run_directory_means_its_best_checkpoint(retrained: Path) -> None:
    network = nas_lightning.load(retrained)
    assert network.checkpoint == retrained / "checkpoints" / "best.ckpt"
    assert network.run_dir == retrained
    network = nas_lightning.load(retrained / "checkpoints" / "last.ckpt")
    assert network.run_dir == retrained
    (retrained / "checkpoints" / "best.ckpt").unlink()
    assert nas_lightning.load(retrained).checkpoint.name == "last.ckpt"
    with pytest.raises(UsageError, match="does not say how an image file becomes an input"):
        network.preprocess("x.png")  # `Synthetic` has no pictures


def test_a_checkpoint_of_an_earlier_release_asks_the_data_of_the_run(
    nas: Any, retrained: Path
) -> None:
    line = (
        "fit --config digits_retrain --model.genotype DARTS_V2 --run_dir old --trainer.max_epochs 1"
    )
    quick = (
        "--trainer.limit_train_batches 1 --trainer.limit_val_batches 1 --model.network.channels 4"
    )
    assert nas(f"{line} {quick} --trainer.accelerator cpu").code == 0
    path = Path("old/checkpoints/best.ckpt")
    content = torch.load(path, weights_only=True)
    wanted = content["nas_lightning"].pop("preprocessing")
    torch.save(content, path)
    network = nas_lightning.load("old")
    assert network.preprocessing is None
    assert network.steps().to_dict() == wanted


def test_other_things_are_refused(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a checkpoint of a search: name one of a retr"):
        nas_lightning.load(searched)
    with pytest.raises(CheckpointError, match="no run directory or checkpoint nowhere"):
        nas_lightning.load("nowhere")
    content = torch.load(searched / "checkpoints" / "last.ckpt", weights_only=True)
    content["nas_lightning"]["kind"] = "retrain"
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"x\.ckpt is not valid: at \$\.hyper_parameters"):
        nas_lightning.load(tmp_path / "x.ckpt")


def test_a_damaged_description_is_refused(digits: Saved, tmp_path: Path) -> None:
    content = torch.load(digits.path, weights_only=True)
    content["nas_lightning"]["preprocessing"]["size"] = -1
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"at \$\.nas_lightning\.preprocessing: .*size"):
        nas_lightning.load(tmp_path / "x.ckpt")


def test_a_language_model_reads_and_returns_a_state(tmp_path: Path) -> None:
    module, _ = train(CASES["recurrent"], tmp_path / "x.ckpt")
    network = nas_lightning.load(tmp_path / "x.ckpt")
    words = torch.randint(7, (6, 2), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = module(TextInput(words, None))
        first, state = network(words[:2])
        rest, last = network(words[2:], state)
    torch.testing.assert_close(torch.cat([first, rest]), wanted.logits)
    torch.testing.assert_close(last, wanted.hidden)


def other_task(digits: Saved, task: Task) -> TrainedNetwork:
    """The network of digits as if it had been trained for another task."""
    network = nas_lightning.load(digits.path)
    network.task = task
    return network


def test_numbers_have_a_column_each(digits: Saved) -> None:
    network = other_task(digits, Regression(center=1.0, scale=2.0))
    with torch.no_grad():
        output: Tensor = network(network.preprocess(digits.picture)[None])[0]
    values = pytest.approx((1 + 2 * output).tolist())
    network.classes = None
    for names, expected in ((None, range(10)), (tuple("abcdefghij"), "abcdefghij")):
        network.values = names
        (found,) = predict_images(network, [digits.picture])
        (row,) = found.rows
        assert list(row) == [f"value_{name}" for name in expected]
        assert list(row.values()) == values
    with pytest.raises(UsageError, match="Regression predicts no classes: call the network"):
        network.predict(digits.picture)


def test_masks_are_files_beside_the_table(
    digits: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two images of one name have a file each."""
    network = other_task(digits, Segmentation())
    classes = torch.arange(64).view(1, 1, 8, 8) % 3  # of each pixel

    def forward(x: Tensor) -> Tensor:
        return torch.cat(
            [(classes == one).float().expand(len(x), -1, -1, -1) for one in range(3)], 1
        )

    monkeypatch.setattr(network, "forward", forward)
    files = [digits.picture, tmp_path / "no.png", tmp_path / "digit.png"]
    shutil.copy(digits.picture, files[-1])
    found = list(predict_images(network, files, 1, tmp_path))
    assert [one.problem is None for one in found] == [True, False, True]
    rows = [row for one in found for row in one.rows]
    assert rows == [{"mask": "image_masks/digit.png"}, {"mask": "image_masks/digit-2.png"}]
    for row in rows:
        with Image.open(tmp_path / row["mask"]) as image:
            assert torch.equal(torch.tensor(list(image.tobytes())).view(8, 8), classes[0, 0])


def test_a_network_with_an_auxiliary_head_loads_without_it(tmp_path: Path) -> None:
    case = Case(
        CASES["auxiliary"].data,
        PUBLISHED["DARTS_V1"],
        DartsNetwork(channels=4, layers=3),
        CASES["auxiliary"].task,
        auxiliary=0.4,
    )
    module, _ = train(case, tmp_path / "x.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = nas_lightning.load(tmp_path / "x.ckpt")
    assert [name for name in module.state_dict() if "auxiliary" in name]
    assert not [name for name in network.state_dict() if "auxiliary" in name]
    with pytest.raises(UsageError, match="does not say how"):
        network.steps()
