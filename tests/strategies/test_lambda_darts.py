"""Λ-DARTS: its gradient against double backward, its ramp, and what it leaves alone."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.search.agreement import agreement
from nas_lightning.spaces import DartsSupernet, NasBench201Supernet
from nas_lightning.strategies import CheckpointCells, LambdaDARTS, ReferenceCell, SmoothDARTS
from nas_lightning.supernet import Mixing, SupernetFactory
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, TrainerFactory
from tests.recorded import run, same


class Gradients(SearchStrategy):
    """Keeps the gradients of the weights that the strategies before it left."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []
        self.exact: list[dict[str, Tensor]] = []

    def on_weight_gradients(self, module: SearchModule) -> None:
        weights = module.supernet.named_parameters()
        self.seen.append({n: w.grad.clone() for n, w in weights if w.grad is not None})


class Before(Gradients):
    """Also computes the gradient of Λ by double backward, on the batch of the step."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        self.half = pl_module.halves(batch)["train"]

    def on_weight_gradients(self, module: SearchModule) -> None:
        super().on_weight_gradients(module)
        measure = next(each.measure for each in module.strategies if hasattr(each, "measure"))
        images, labels = self.half
        mixing = module.arch().detach()
        kind, count = max(module.supernet.cell_counts.items(), key=lambda each: each[1])
        own = tuple(mixing.ops[kind].clone().requires_grad_() for _ in range(count))
        output = module.supernet(images, Mixing(mixing.ops, mixing.edges, {}, {kind: own}))
        slopes = torch.autograd.grad(F.cross_entropy(output, labels), own, create_graph=True)
        rows = torch.stack([slope.flatten() for slope in slopes])
        found = agreement(rows) if measure == "cosine" else signs(rows)
        weights = dict(module.supernet.named_parameters())
        exact = torch.autograd.grad(found, list(weights.values()), materialize_grads=True)
        self.exact.append(dict(zip(weights, exact, strict=True)))


def signs(rows: Tensor) -> Tensor:
    """Λ± of the gradients of the cells."""
    pairs = itertools.combinations(rows, 2)
    return torch.stack([(a * b).sum() / (a * b).abs().sum() for a, b in pairs]).mean()


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
    """All differences side by side."""
    assert one.keys() == other.keys()
    return torch.cat([(other[name] - value).flatten() for name, value in one.items()])


SUPERNETS: dict[str, tuple[SupernetFactory, list[SearchStrategy]]] = {
    "darts": (DartsSupernet(4, 4, nodes=2, primitives=PRIMITIVES), []),
    "reference": (DartsSupernet(4, 4, nodes=2, primitives=PRIMITIVES), [ReferenceCell()]),
    "nas_bench_201": (NasBench201Supernet(4, 1), []),
}


@pytest.mark.parametrize(
    ("name", "measure"), [*((name, "cosine") for name in SUPERNETS), ("darts", "signs")]
)
def test_what_it_adds_is_the_gradient_of_lambda(
    name: str,
    measure: Literal["cosine", "signs"],
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    """By double backward, with steps so short that no ReLU switches between the two ends."""
    factory, plain = SUPERNETS[name]
    before, after = Before(), Gradients()
    strategies = [*plain, before, LambdaDARTS(0.5, 1e-7, measure=measure), after]
    torch.manual_seed(0)
    module = SearchModule(SPEC, factory, strategies=strategies)
    trainer = make_trainer(precision="64-true", limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    found = difference(before.seen[0], after.seen[0])
    exact = torch.cat([before.exact[0][part].flatten() for part in before.seen[0]])
    assert exact.norm() > 1e-3
    assert (found + 0.5 * exact).norm() < 1e-4 * exact.norm()


@pytest.mark.parametrize(("epochs", "expected"), [(4, [0, 0.2, 0.4, 0.6]), (1, [0.6])])
def test_lambda_grows_from_zero(
    epochs: int, expected: list[float], make_trainer: TrainerFactory
) -> None:
    strategy = LambdaDARTS(0.6)
    trainer = make_trainer(max_epochs=epochs)
    found = []
    for epoch in range(epochs):
        trainer.fit_loop.epoch_progress.current.completed = epoch
        assert trainer.current_epoch == epoch
        strategy._enter(trainer)
        found.append(strategy._now)
    assert found == pytest.approx(expected)


def test_with_weight_zero_the_search_is_that_of_darts(tmp_path: Path) -> None:
    traces = [run(strategies, tmp_path).trace for strategies in ([], [LambdaDARTS(0)])]
    assert same(*traces)


@pytest.mark.parametrize("others", [[], [CheckpointCells()], [SmoothDARTS()]], ids=repr)
def test_the_extra_passes_move_no_buffers(
    others: list[SearchStrategy], make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """The first step is at the same weights with and without it."""
    states = []
    for weight in (0.0, 0.5):
        torch.manual_seed(0)
        factory = DartsSupernet(4, 4, nodes=2, primitives=PRIMITIVES, running_stats=True)
        module = SearchModule(SPEC, factory, strategies=[*others, LambdaDARTS(weight)])
        trainer = make_trainer(precision="64-true", limit_train_batches=1, limit_val_batches=0)
        trainer.fit(module, datamodule=search_data)
        states.append(dict(module.supernet.named_buffers()))
    assert any("running_mean" in name for name in states[0])
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-12, atol=1e-12)


def test_it_needs_cells_that_share_alpha(make_search: SearchFactory) -> None:
    single = DartsSupernet(4, 3, nodes=2, primitives=PRIMITIVES, individual=True)
    with pytest.raises(UsageError, match="LambdaDARTS compares cells that share α"):
        SearchModule(SPEC, single, strategies=[LambdaDARTS()])
    with pytest.raises(UsageError, match="kinds must be among reduce, found 'normal'"):
        make_search([LambdaDARTS(kinds=["normal"])])
    make_search([LambdaDARTS(kinds=["reduce"])])


def test_scaled_gradients_are_refused(make_search: SearchFactory) -> None:
    module = make_search([LambdaDARTS()])
    plugin = SimpleNamespace(scaler=object())
    trainer: Any = SimpleNamespace(precision_plugin=plugin, precision="16-mixed")
    with pytest.raises(UsageError, match=r"precision 16-mixed scales: use bf16-mixed"):
        module.strategies[0].setup(trainer, module, "fit")
