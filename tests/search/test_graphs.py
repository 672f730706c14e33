"""Replayed passes: the same search, and only of methods that can be replayed.

There is no GPU here: `Traces` fixes what Python decides, as a CUDA graph does, and reads weights, α
and buffers where they are. `tests/gpu` has the graphs themselves.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.search.passes import WARM, Graphs
from nas_lightning.spaces import DartsSupernet, NasBench201Supernet
from nas_lightning.strategies import ReferenceCell
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.methods import fresh, rest_long
from tests.search.tracing import FROM_HOST, Traces

REPLAYED = {
    "darts",
    "pcdarts",
    "idarts",
    "gaea_darts",
    "gaea_pcdarts",
    "fair_darts",
    "budget",
    "beta_decay",
    "weights_first",
    "darts_minus",
}
WHY_NOT = {
    "amended": "reads numbers on the host",
    "darts_second_order": "reads numbers on the host",
    "neumann": "reads numbers on the host",
    "snas": "drawn on the host",
    "gdas": "drawn on the host",
    "gaea_gdas": "drawn on the host",
    "gdas_second_order": "reads numbers on the host",
    "gdas_amended": "reads numbers on the host",
    "a2m": "reads numbers on the host",
    "oles": "reads numbers on the host",
    "drnas": "DrNAS may change",
    "progressive": "ProgressiveChannels may change",
    "binary_gates": "reads numbers on the host",
    "binary_gates_second_order": "reads numbers on the host",
    "sdarts_rs": "SmoothDARTS may change",
    "sdarts_adv": "SmoothDARTS may change",
    "lambda_darts": "LambdaDARTS may change",
    "pdarts": "SkipDropout may change",
    "cdarts": "CDARTS may change",
    "sgas": "SGAS may change",
    "sgas_second_order": "reads numbers on the host",
    "darts_pt": "PerturbationSelection may change",
    "two_stage": "TwoStage may change",
    "amended_gaea_two_stage": "reads numbers on the host",
    "amended_gaea_idarts": "reads numbers on the host",
}
EPOCHS, BATCHES = 2, 5


class Trace(Callback):
    """Everything that is trained, and all buffers, after each batch."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        parts = [*pl_module.parameters(), *pl_module.supernet.buffers()]
        self.steps.append(torch.cat([p.detach().double().flatten() for p in parts]))


class Replays(Callback):
    """Hands the module what captures, where `Speed` would do so for a GPU."""

    def __init__(self) -> None:
        self.graphs: Graphs | None = None
        self.traces: Traces | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, SearchModule)
        self.traces = Traces(pl_module)
        self.graphs = pl_module.graphs = Graphs(self.traces)


def data() -> Synthetic:
    return Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=16 * BATCHES, test_size=16,
        batch_size=8,
    )  # fmt: skip


def fit(
    module: SearchModule, make_trainer: TrainerFactory, *callbacks: Callback, **kwargs: Any
) -> Tensor:
    """What is trained and all buffers, after every batch (steps, numbers)."""
    trace = Trace()
    settings: dict[str, Any] = {"precision": "64-true", "max_epochs": EPOCHS, **kwargs}
    make_trainer(**settings, callbacks=[trace, *callbacks]).fit(module, datamodule=data())
    assert len(trace.steps) == BATCHES * EPOCHS
    return torch.stack(trace.steps)


@pytest.mark.parametrize("method", rest_long(sorted(REPLAYED), keep=["idarts"]))
def test_a_replayed_search_is_the_same(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    def make() -> SearchModule:
        return make_search(fresh(method), arch_gradient_clip=1.0)

    expected = fit(make(), make_trainer)
    replays = Replays()
    found = fit(make(), make_trainer, replays)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert replays.graphs is not None
    assert replays.traces is not None
    count = EPOCHS * BATCHES - WARM
    assert replays.graphs.replayed == {"arch step": count, "weight step": count}
    assert [name for name in FROM_HOST if replays.traces.operations[name]] == []
    assert replays.traces.operations["convolution"] > 0


@pytest.mark.long
@pytest.mark.parametrize(
    "supernet",
    [
        DartsSupernet(channels=8, layers=3, nodes=2, running_stats=True,
                      primitives=("sep_conv_3x3", "skip_connect", "none", "avg_pool_3x3")),
        NasBench201Supernet(4, 1, affine=True, running_stats=True),
    ],
    ids=["darts", "nas_bench_201"],
)  # fmt: skip
@pytest.mark.parametrize("strategies", [(), (ReferenceCell(),)], ids=["fast", "reference"])
def test_running_statistics_move_once_a_step(
    supernet: Any, strategies: Sequence[SearchStrategy], make_trainer: TrainerFactory
) -> None:
    def make() -> SearchModule:
        lightning.seed_everything(0, verbose=False)
        return SearchModule(SPEC, supernet, strategies=copy.deepcopy(list(strategies)))

    expected = fit(make(), make_trainer)
    replays = Replays()
    found = fit(make(), make_trainer, replays)
    assert replays.graphs is not None
    assert replays.graphs.replayed["weight step"] > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


class Drifts(SearchStrategy):
    """Says that it can be replayed, although Python decides what its steps compute."""

    replayable = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, SearchModule)
        pl_module.auxiliary_weight = 0.1
        pl_module.task.loss = _louder(pl_module.task.loss, trainer.current_epoch)  # type: ignore[method-assign] # what is tested


def _louder(loss: Callable[..., Tensor], epoch: int) -> Callable[..., Tensor]:
    return lambda output, batch: loss(output, batch) * (1 + epoch)


@pytest.mark.long
def test_a_method_that_decides_in_python_would_show(make_trainer: TrainerFactory) -> None:
    def make() -> SearchModule:
        lightning.seed_everything(0, verbose=False)
        supernet = DartsSupernet(8, 3, nodes=1, primitives=("sep_conv_3x3", "skip_connect"))
        return SearchModule(SPEC, supernet, strategies=[Drifts()])

    expected = fit(make(), make_trainer)
    found = fit(make(), make_trainer, Replays())
    assert not torch.allclose(found, expected, rtol=1e-6, atol=0)


@pytest.mark.long
def test_a_replayed_search_goes_on_in_the_middle_of_an_epoch(
    make_search: SearchFactory, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    path = tmp_path / "middle.ckpt"

    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
            if (trainer.current_epoch, trainer.fit_loop.batch_idx) == (0, 1):
                trainer.save_checkpoint(path)

    single: dict[str, Any] = {"precision": "32-true", "max_epochs": EPOCHS}
    whole = fit(make_search(fresh("idarts")), make_trainer, Replays(), Save(), **single)
    trace, replays = Trace(), Replays()
    again = make_search(fresh("idarts"))
    trainer = make_trainer(**single, callbacks=[trace, replays])
    trainer.fit(again, datamodule=data(), ckpt_path=path, weights_only=True)
    assert replays.graphs is not None
    assert replays.graphs.replayed["weight step"] == EPOCHS * BATCHES - 2 - WARM
    found = torch.stack(trace.steps)
    torch.testing.assert_close(found, whole[-len(found) :], rtol=0, atol=0)
