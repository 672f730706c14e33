"""An export compares its file with the checkpoint; a refusal is one line and leaves no file."""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.architecture import random_genotype
from nas_lightning.data import Digits
from nas_lightning.deploy import export
from nas_lightning.deploy.formats import FORMATS
from nas_lightning.deploy.forms import Runner
from nas_lightning.errors import NASError, RunFailedError, UsageError
from nas_lightning.spaces import DartsNetwork, DartsSpace, register_primitive
from nas_lightning.tasks import Classification
from tests.cli.conftest import Nas, nas, retrained, searched, work
from tests.deploy.saved import CASES, Case, train

__all__ = ["nas", "retrained", "searched", "work"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of digits, outside of a run directory."""
    path = tmp_path_factory.mktemp("saved") / "digits.ckpt"
    train(CASES["darts"], path)
    return path


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_data_of_the_run_is_compared(nas: Nas, retrained: Path) -> None:
    done = nas(f"export {retrained} -o out/net.pt2")
    assert done.code == 0, done.err
    assert left(Path("out")) == ["net.pt2"]
    rows = dict(line.split(maxsplit=2)[0::2] for line in done.out.splitlines())
    assert set(rows) == {"network", "preprocessing", "compared", "largest", "written"}
    # a quarter of 32 samples is validation data
    assert "inputs (8, 3, 8, 8) of the validation data, Synthetic" in done.out
    assert "retrain/checkpoints/best.ckpt" in done.out
    assert done.err == ""


def test_samples_are_made_up_without_the_data(nas: Nas, retrained: Path) -> None:
    config = retrained / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("nas_lightning.data.Synthetic", "gone.Data"), encoding="utf-8")
    done = nas(f"export {retrained} -o net.pt2")
    assert done.code == 0, done.err
    assert "(16, 3, 8, 8), made up (the run's data cannot be read: " in done.out
    assert "gone" in done.out


def test_a_checkpoint_alone_is_exported(nas: Nas, checkpoint: Path) -> None:
    done = nas(f"export {checkpoint} -o net.pt2")
    assert done.code == 0, done.err
    assert "made up (the checkpoint is not in a run directory)" in done.out


REFUSED = {
    "export retrain -o net.h5": (2, ["net.h5", ".pt2, .onnx, .pt"]),
    "export retrain -o net": (2, ["net", ".pt2, .onnx, .pt"]),
    "export retrain -o folder.pt2": (2, ["folder.pt2 is a folder"]),
    "export nowhere -o net.pt2": (1, ["nowhere", "no run directory or checkpoint"]),
    "export empty -o net.pt2": (2, ["empty", "checkpoints/last.ckpt"]),
    "export search -o net.pt2": (1, ["checkpoint of a search", "retraining"]),
    "export search/checkpoints/last.ckpt -o net.pt2": (1, ["checkpoint of a search"]),
    "export genotype.json -o net.pt2": (1, ["genotype.json", "not a checkpoint"]),
    "export retrain": (2, ["--output"]),
    "export retrain -o net.pt2 --tolerance 0": (2, ["--tolerance", "above 0", "'0'"]),
    "export retrain -o net.pt2 --tolerance nan": (2, ["--tolerance", "'nan'"]),
    "export retrain -o net.pt2 --tolerance small": (2, ["--tolerance", "'small'"]),
    "export retrain -o genotype.json/net.pt2": (1, ["genotype.json/net.pt2"]),
}


def test_refusals_are_one_line_each(nas: Nas, searched: Path, retrained: Path) -> None:
    Path("search").symlink_to(searched)
    Path("retrain").symlink_to(retrained)
    Path("empty").mkdir()
    Path("folder.pt2").mkdir()
    before = left(Path())
    for line, (code, texts) in REFUSED.items():
        done = nas(line)
        assert done.code == code, (line, done)
        (message,) = done.err.splitlines()
        assert message.startswith("nas: "), line
        assert all(text in message for text in texts), (line, message)
        assert left(Path()) == before, line


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named(
    package: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec

    def find_spec(name: str) -> Any:
        return None if name == package else there(name)

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    with pytest.raises(UsageError) as caught:
        export(checkpoint, tmp_path / "net.onnx")
    assert str(caught.value) == f".onnx files need {package}: pip install nas-lightning[export]"


def broken(change: Any) -> Any:
    """The format `.pt2`, whose outputs come back changed."""

    def open_changed(content: bytes) -> Runner:
        run = FORMATS[".pt2"].open(content)

        def changed(inputs: Sequence[Tensor]) -> list[Tensor]:
            return [change(output) for output in run(inputs)]

        return changed

    return replace(FORMATS[".pt2"], open=open_changed)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: x + 0.01, "differ from those of the checkpoint by 0.01"),
        (lambda x: x * torch.nan, "differ from those of the checkpoint by nan"),
        (lambda x: x[:, :9], "its output has the shape (1, 9), that of the checkpoint (1, 10)"),
    ],
)
def test_a_file_that_differs_is_not_left_in_place(
    change: Any, text: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_lightning.deploy.files.format_of", lambda _: broken(change))
    path = tmp_path / "net.pt2"
    path.write_bytes(b"an earlier file")
    with pytest.raises(RunFailedError) as caught:
        export(checkpoint, path)
    assert text in str(caught.value)
    assert path.read_bytes() == b"an earlier file"
    assert left(tmp_path) == ["net.pt2"]


def test_a_larger_tolerance_allows_more(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    different = broken(lambda x: x + 0.01)
    monkeypatch.setattr("nas_lightning.deploy.files.format_of", lambda _: different)
    found = export(checkpoint, tmp_path / "net.pt2", tolerance=0.1)
    assert found.difference == pytest.approx(0.01, rel=1e-3)
    assert left(tmp_path) == ["net.pt2"]


@register_primitive("branching")
class Branching(nn.Module):
    """An operation whose path depends on its input, which no program can hold."""

    def __init__(self, channels: int, stride: int, affine: bool) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[..., :: self.stride, :: self.stride]
        return -x if bool(x.sum() > 0) else x


def test_an_operation_that_cannot_be_traced_is_refused(tmp_path: Path) -> None:
    space = DartsSpace(nodes=1, primitives=["branching", "skip_connect"])
    genotype = random_genotype(space, 0)
    assert "branching" in str(genotype)
    case = Case((Digits, {}), genotype, DartsNetwork(channels=4, layers=3), Classification())
    train(case, tmp_path / "x.ckpt")
    with pytest.raises(NASError) as caught:
        export(tmp_path / "x.ckpt", tmp_path / "net.pt2")
    assert "torch.export cannot trace the network: " in str(caught.value)
    assert len(str(caught.value)) < 400
    assert left(tmp_path) == ["x.ckpt"]
