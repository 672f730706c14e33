"""A checkpoint with a value that is not finite is refused by the name of its tensor."""

import io
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import nn

from nas_lightning.cli import main
from nas_lightning.data import Synthetic
from nas_lightning.errors import CheckpointError
from nas_lightning.search import SearchModule
from nas_lightning.strategies import EdgeNormalization
from nas_lightning.training.soundness import check_finite, first_broken
from tests.conftest import SPEC, TrainerFactory, quiet_trainer, tiny_supernet


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The checkpoint of a search with β, running statistics and optimizer states."""
    lightning.seed_everything(0, verbose=False)
    factory = tiny_supernet()
    factory.running_stats = True
    module = SearchModule(SPEC, factory, strategies=[EdgeNormalization()])
    data = Synthetic(image_size=8, num_classes=4, train_size=32, test_size=8, batch_size=8)
    trainer = quiet_trainer(limit_train_batches=2, limit_val_batches=0)
    trainer.fit(module, datamodule=data)
    path = tmp_path_factory.mktemp("sound") / "x.ckpt"
    trainer.save_checkpoint(path)
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def spoil(checkpoint: dict[str, Any], place: str, value: float) -> dict[str, Any]:
    """Return a copy with one broken value."""
    copied: dict[str, Any] = torch.load(_bytes(checkpoint), weights_only=True)
    if place.startswith("optimizer"):
        number = int(place[-1])
        state = next(iter(copied["optimizer_states"][number]["state"].values()))
        tensor = next(v for v in state.values() if v.numel() > 1)
    else:
        tensor = next(v for name, v in copied["state_dict"].items() if place in name)
    tensor[(-1,) * tensor.dim()] = value
    return copied


def _bytes(checkpoint: dict[str, Any]) -> Any:
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    buffer.seek(0)
    return buffer


PLACES = [
    ("arch.alpha.normal", "nan", "arch.alpha.normal has 1 nan of "),
    ("arch.beta.reduce", "inf", "arch.beta.reduce has 1 inf of "),
    ("running_var", "inf", "running_var has 1 inf of "),
    ("head", "-inf", "has 1 inf of "),
    ("optimizer 0", "nan", r"optimizer_states\[0\]\.state\.0\.momentum_buffer has 1 nan of "),
    ("optimizer 1", "nan", r"optimizer_states\[1\]\.state\.0\.exp_avg has 1 nan of "),
]


@pytest.mark.parametrize(("place", "value", "text"), PLACES)
def test_no_verb_reads_it(
    place: str, value: str, text: str, written: dict[str, Any], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "broken.ckpt"
    torch.save(spoil(written, place, float(value)), path)
    with pytest.raises(CheckpointError, match=text):
        SearchModule.load_from_checkpoint(path, weights_only=True)
    assert main(["derive", str(path), "-o", str(tmp_path / "cells.json")]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "diverged or is damaged" in said[0]
    assert not (tmp_path / "cells.json").exists()


def test_a_sound_one_is_read(written: dict[str, Any]) -> None:
    assert first_broken(written) is None


def test_no_resume_begins(
    written: dict[str, Any], tmp_path: Path, make_trainer: TrainerFactory, search_data: Any,
) -> None:  # fmt: skip
    path = tmp_path / "broken.ckpt"
    torch.save(spoil(written, "arch.alpha.normal", float("nan")), path)
    factory = tiny_supernet()
    factory.running_stats = True
    module = SearchModule(SPEC, factory, strategies=[EdgeNormalization()])
    with pytest.raises(CheckpointError, match=r"arch\.alpha\.normal has 1 nan"):
        make_trainer(max_epochs=2).fit(
            module, datamodule=search_data, ckpt_path=path, weights_only=True
        )


def test_entries_that_are_infinite_in_the_module_too_are_allowed() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    module = Masked()
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    check_finite(checkpoint, module)
    broken = {"state_dict": {"mask": torch.tensor([torch.nan, -torch.inf])}}
    with pytest.raises(CheckpointError, match="mask has 1 nan of 2"):
        check_finite(broken, module)
