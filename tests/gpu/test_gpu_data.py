"""Images on an accelerator: `make test-gpu`. Skipped where there is none."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_lightning.data import Digits, Preparation
from tests.conftest import SearchFactory, TrainerFactory
from tests.data.test_data_modules import rank_of
from tests.data.test_on_device_training import Shifted, small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


class FlippedDigits(Digits):
    """With every step there is."""

    def preparation(self) -> Preparation:
        return Preparation(padding=1, flip=True, mean=(0.3053,), std=(0.3760,))


def loader(device: str) -> Any:
    data = FlippedDigits(mode="retrain", batch_size=32, cutout=4, on_device=True)
    strategy = SimpleNamespace(root_device=torch.device(device))
    return rank_of(data, 0, 1, strategy=strategy).train_dataloader()


@pytest.fixture
def waiting_is_an_error() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("waiting_is_an_error")
def test_an_epoch_is_that_of_the_cpu_and_the_host_does_not_wait() -> None:
    batches: list[tuple[Tensor, Tensor]] = []
    for number, batch in enumerate(loader("cuda:0")):
        batches.append(batch)
        if number == 0:  # the plan of the epoch is there
            torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")
    for (x, y), (x_cpu, y_cpu) in zip(batches, loader("cpu"), strict=True):
        assert x.device == y.device == torch.device("cuda:0")
        assert torch.equal(y.cpu(), y_cpu)
        torch.testing.assert_close(x.cpu(), x_cpu)


def test_a_search_runs_on_images_that_lie_there(
    make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    data = small(Shifted, "search")
    module = make_search([])
    make_trainer(accelerator="gpu", devices=1, max_epochs=2).fit(module, datamodule=data)
    assert data._resident["train"].images.device.type == "cuda"
    assert all(bool(p.isfinite().all()) for p in module.parameters())
