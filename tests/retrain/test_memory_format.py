"""The memory format of a retraining: channels last on a CPU, unless it is told otherwise."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.data import Synthetic
from nas_lightning.layers.memory_format import images_last, store
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import DartsNetwork
from tests.conftest import SPEC, TrainerFactory
from tests.recorded import Save

Layouts = tuple[bool, bool]


def retraining(channels_last: bool | None) -> RetrainModule:
    torch.manual_seed(0)
    module = RetrainModule(SPEC, "DARTS_V2", DartsNetwork(4, 3), auxiliary_weight=0.0, drop_path=0)
    module.channels_last = channels_last
    return module.double()


def data() -> Synthetic:
    return Synthetic(
        image_size=8, num_classes=4, train_size=32, test_size=8, batch_size=8, mode="retrain"
    )


def is_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def layouts(module: RetrainModule) -> list[Layouts]:
    """If the first kernel and the output of the first cell are channels last, in each pass."""
    found: list[Layouts] = []
    network: Any = module.network

    def look(_: nn.Module, __: Any, out: Tensor) -> None:
        found.append((is_last(next(network.parameters())), is_last(out)))

    network.cells[0].register_forward_hook(look)
    return found


def weights(module: RetrainModule) -> Tensor:
    return torch.cat([value.detach().flatten() for value in module.parameters()])


def test_a_cpu_retrains_channels_last_and_results_differ_by_rounding(
    make_trainer: TrainerFactory,
) -> None:
    trained = {}
    for channels_last in (None, False):
        module = retraining(channels_last)
        found = layouts(module)
        make_trainer(max_epochs=2, precision="64-true").fit(module, datamodule=data())
        assert set(found) == {(channels_last is None,) * 2}
        trained[channels_last] = weights(module)
    torch.testing.assert_close(trained[None], trained[False], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("first", [False, True])
def test_a_run_of_either_format_goes_on_in_the_other(
    first: bool, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    """Weights and momentum of a release that knew one format only."""
    settings: dict[str, Any] = {"max_epochs": 2, "precision": "64-true"}
    whole, again = retraining(first), retraining(not first)
    saver = Save(tmp_path / "middle.ckpt")
    make_trainer(**settings, callbacks=[saver]).fit(whole, datamodule=data())
    found = layouts(again)
    trainer = make_trainer(**settings)
    trainer.fit(again, datamodule=data(), ckpt_path=saver.path, weights_only=True)
    assert set(found) == {(not first,) * 2}
    torch.testing.assert_close(weights(again), weights(whole), rtol=1e-9, atol=1e-12)


def test_only_kernels_and_images_are_stored_anew() -> None:
    network = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Conv2d(2, 3, 3), nn.Linear(3, 2))
    store(network, True)
    assert [is_last(value) for value in network.parameters() if value.dim() == 4] == [True]
    assert all(value.is_contiguous() for value in network.parameters() if value.dim() != 4)
    store(network, False)
    assert all(value.is_contiguous() for value in network.parameters())
    tokens = torch.zeros(3, 2, 4)
    assert images_last(tokens) is tokens
    assert images_last({"x": 1}) == {"x": 1}
    assert is_last(images_last(torch.zeros(2, 3, 4, 4)))
