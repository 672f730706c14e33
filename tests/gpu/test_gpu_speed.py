"""What makes a GPU fast, on a GPU: `make test-gpu`. Skipped where there is none."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import SGD, Adam

from nas_lightning.callbacks import RunCheckpoint, Speed
from nas_lightning.data import Synthetic
from nas_lightning.errors import DivergedError
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.search.passes import WARM
from nas_lightning.spaces import DartsNetwork
from nas_lightning.strategies import WarmUp
from nas_lightning.training.finite import sent_to_host
from nas_lightning.training.stage import Stage
from tests.callbacks.test_late_answers import Break, finite
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.methods import fresh
from tests.search.test_graphs import REPLAYED
from tests.search.test_graphs_in_runs import Smaller

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore:.*grad attribute of a Tensor that is not a leaf.*"),
]

ON_GPU: dict[str, Any] = {"accelerator": "gpu", "devices": 1, "max_epochs": 2}
FIRST_ORDER = ("darts", "pcdarts", "idarts", "gaea_darts", "gaea_pcdarts", "snas", "fair_darts")


class Trace(Callback):
    """What is trained, after each batch."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        self.steps.append(torch.cat([p.detach().flatten() for p in pl_module.parameters()]).clone())


def retraining(**kwargs: Any) -> RetrainModule:
    torch.manual_seed(0)
    spec = {**SPEC, "image_size": 32}
    return RetrainModule(spec, "DARTS_V2", DartsNetwork(8, 3), drop_path=0.2, **kwargs)


def data(module: Stage, batches: int = 8) -> Synthetic:
    search = isinstance(module, SearchModule)
    return Synthetic(
        in_channels=3, num_classes=4, image_size=8 if search else 32, batch_size=8,
        train_size=16 * batches if search else 10 * batches, test_size=16,
        mode="search" if search else "retrain",
    )  # fmt: skip


def fit(module: Stage, make_trainer: TrainerFactory, *callbacks: Callback, **kwargs: Any) -> Tensor:
    """What is trained, after every batch (steps, numbers)."""
    trace = Trace()
    trainer = make_trainer(**{**ON_GPU, "callbacks": [trace, *callbacks], **kwargs})
    trainer.fit(module, datamodule=data(module))
    return torch.stack(trace.steps)


@pytest.mark.parametrize("method", ["idarts", "gaea_pcdarts"])
def test_a_search_in_bfloat16_stays_finite(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    steps = fit(make_search(fresh(method)), make_trainer, precision="bf16-mixed")
    assert steps.isfinite().all()


@pytest.mark.parametrize("kind", ["search", "retrain"])
@pytest.mark.parametrize("mode", [None, "reduce-overhead"])
def test_compiled_cells_with_tf32_train(
    mode: str | None, kind: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    module = make_search(fresh("idarts")) if kind == "search" else retraining()
    steps = fit(module, make_trainer, Speed(tf32=True, compile=True, mode=mode))
    assert steps.isfinite().all()
    assert not torch.equal(steps[0], steps[-1])


@pytest.mark.parametrize("mode", [None, "reduce-overhead"])
def test_compiled_cells_give_the_same_search(
    mode: str | None, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    """Without draws inside the cells, in double precision."""
    exact: dict[str, Any] = {"precision": "64-true", "limit_train_batches": 3}
    plain = fit(make_search(fresh("darts_second_order")), make_trainer, **exact)
    speed = Speed(compile=True, mode=mode)
    found = fit(make_search(fresh("darts_second_order")), make_trainer, speed, **exact)
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-9)


class Replayed(Callback):
    """How often passes were replayed."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, SearchModule)
        self.counts = {} if pl_module.graphs is None else dict(pl_module.graphs.replayed)


@pytest.mark.parametrize("method", sorted(REPLAYED))
def test_cuda_graphs_give_the_same_search(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    exact: dict[str, Any] = {"precision": "64-true"}
    plain = fit(make_search(fresh(method), gradient_clip=1.0), make_trainer, **exact)
    seen = Replayed()
    module = make_search(fresh(method), gradient_clip=1.0)
    found = fit(module, make_trainer, Speed(graphs=True), seen, **exact)
    assert seen.counts == {"arch step": 16 - WARM, "weight step": 16 - WARM}
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", ["idarts", "warm-up"])
def test_cuda_graphs_and_a_smaller_batch_give_the_same_search(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    """Behind a warm-up, passes are captured in another order into the memory that they share."""

    def make() -> SearchModule:
        return make_search([WarmUp(1)] if method == "warm-up" else fresh(method))

    exact: dict[str, Any] = {"precision": "64-true"}
    plain = fit(make(), make_trainer, Smaller(), **exact)
    seen = Replayed()
    found = fit(make(), make_trainer, Speed(graphs=True), Smaller(), seen, **exact)
    arch = 7 if method == "warm-up" else 14
    assert seen.counts == {"arch step": arch - WARM, "weight step": 14 - WARM}
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_cuda_graphs_train_with_fused_optimizers(
    precision: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    sgd = partial(SGD, lr=0.025, momentum=0.9, weight_decay=3e-4, fused=True)
    seen = Replayed()
    module = make_search(fresh("idarts"), weight_optimizer=sgd)
    speed = Speed(tf32=True, graphs=True)
    steps = fit(module, make_trainer, speed, seen, precision=precision)
    assert seen.counts["weight step"] == 16 - WARM
    assert steps.isfinite().all()
    assert not torch.equal(steps[0], steps[-1])


def test_a_method_that_draws_runs_without_graphs(
    make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    seen = Replayed()
    fit(make_search(fresh("gdas")), make_trainer, Speed(graphs=True), seen)
    assert seen.counts == {}


def test_channels_last_and_fused_optimizers(
    make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    sgd = partial(SGD, lr=0.025, momentum=0.9, weight_decay=3e-4, fused=True)
    adam = partial(Adam, lr=6e-4, betas=(0.5, 0.999), weight_decay=1e-3, fused=True)
    steps = fit(retraining(optimizer=sgd), make_trainer, Speed(channels_last=True))
    assert steps.isfinite().all()
    exact: dict[str, Any] = {"precision": "64-true", "limit_train_batches": 3}
    fused = fit(make_search([], weight_optimizer=sgd, arch_optimizer=adam), make_trainer, **exact)
    plain = fit(
        make_search(
            [],
            weight_optimizer=partial(sgd, fused=False),
            arch_optimizer=partial(adam, fused=False),
        ),
        make_trainer,
        **exact,
    )
    torch.testing.assert_close(fused, plain, rtol=1e-6, atol=1e-9)


class WaitingIsAnError(Callback):
    """In each training step of the second epoch, when all is warm."""

    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 1:
            self.steps += 1
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def waiting_is_allowed_again() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("waiting_is_allowed_again")
@pytest.mark.parametrize("method", [*FIRST_ORDER, "retrain", "graphs"])
def test_no_step_waits(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    replays = method == "graphs"
    name = "idarts" if replays else method
    module = retraining() if method == "retrain" else make_search(fresh(name))
    watch = WaitingIsAnError()
    fit(module, make_trainer, watch, *([Speed(graphs=True)] if replays else []))
    assert watch.steps == 8


def test_values_arrive_as_they_were() -> None:
    values = torch.tensor([1.5, float("nan")], device="cuda")
    arrived = sent_to_host(values)
    values.fill_(7)
    host = arrived()
    assert host.device.type == "cpu"
    assert host[0] == 1.5
    assert bool(host[1].isnan())


@pytest.mark.parametrize("batch", [0, 3])
def test_a_broken_step_ends_the_run_later_and_no_checkpoint_has_it(
    batch: int, make_search: SearchFactory, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    module, breaks = make_search([]), Break(1, batch)
    saver = RunCheckpoint(tmp_path / "ckpt")
    with pytest.raises(DivergedError, match=f"epoch 2, batch {batch + 1} ") as caught:
        fit(module, make_trainer, breaks, saver, enable_checkpointing=True)
    assert caught.value.taken
    # the loss of the weight step is read four checks later: after two more batches of two checks
    assert breaks.batches == 8 + batch + 1 + 2
    files = list((tmp_path / "ckpt").glob("*.ckpt"))
    assert files
    assert all(finite(path) for path in files)
