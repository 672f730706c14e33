"""A search on an accelerator: `make test-gpu`. Skipped where there is none."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule
from nas_lightning.strategies import Backtracking, EdgeNormalization, PartialChannels
from tests.conftest import SearchFactory, TrainerFactory
from tests.golden.test_golden_traces import golden, normal
from tests.methods import METHODS, fresh
from tests.recorded import run
from tests.search.test_recurrent_search import data as text
from tests.search.test_recurrent_search import search as recurrent_search

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def idarts(make_search: SearchFactory) -> SearchModule:
    rule = Backtracking(start=-10, rate=0.1, coefficient=0.04)
    return make_search([PartialChannels(2), EdgeNormalization(), rule])


def test_outputs_and_gradients_equal_the_cpus(make_search: SearchFactory) -> None:
    images = torch.randn(8, 3, 8, 8, dtype=torch.float64, generator=torch.manual_seed(0))
    results = []
    for device in ("cpu", "cuda"):
        module = idarts(make_search).double().to(device)
        output = module.supernet(images.to(device), module.arch())
        gradients = torch.autograd.grad(output.square().sum(), list(module.parameters()))
        results.append([t.cpu() for t in (output.detach(), *gradients)])
    for cpu, gpu in zip(*results, strict=True):
        torch.testing.assert_close(gpu, cpu, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_search_runs_and_its_checkpoint_loads_on_the_cpu(
    precision: str,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    module = idarts(make_search)
    trainer = make_trainer(accelerator="gpu", devices=1, max_epochs=2, precision=precision)
    trainer.fit(module, datamodule=search_data)
    assert all(bool(p.isfinite().all()) for p in module.parameters())
    trainer.test(module, datamodule=search_data, verbose=False)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = SearchModule.load_from_checkpoint(
        tmp_path / "a.ckpt", map_location="cpu", weights_only=True
    )
    assert again.genotype().cells == module.genotype().cells


def test_fp16_is_refused(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    trainer = make_trainer(accelerator="gpu", devices=1, precision="16-mixed")
    with pytest.raises(UsageError, match="bf16-mixed"):
        trainer.fit(idarts(make_search), datamodule=search_data)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_does_what_it_does_on_the_cpu(method: str, tmp_path: Path) -> None:
    found = run(fresh(method), tmp_path, accelerator="gpu", devices=1).trace
    torch.testing.assert_close(normal(found).cpu(), golden(method), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_recurrent_search_goes_on_from_its_checkpoint(
    precision: str, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    """The hidden states that a checkpoint holds come from the CPU."""
    path = tmp_path / "middle.ckpt"

    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
            if (trainer.current_epoch, trainer.fit_loop.batch_idx) == (0, 1):
                trainer.save_checkpoint(path)

    module = recurrent_search()
    settings: dict[str, Any] = {"accelerator": "gpu", "devices": 1, "precision": precision}
    make_trainer(callbacks=[Save()], **settings).fit(module, datamodule=text())
    again = recurrent_search()
    make_trainer(**settings).fit(again, datamodule=text(), ckpt_path=path, weights_only=True)
    for name, value in module.arch.named().items():
        # kernels that add in any order make it equal up to a few steps of Adam only
        torch.testing.assert_close(again.arch.named()[name], value, rtol=0, atol=2e-3)
