"""Searches for an unrolled reconstruction: every method, exact gradients, and what they find."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, Trainer
from torch.optim import SGD

from nas_lightning.data import Signals
from nas_lightning.errors import UsageError
from nas_lightning.operators import tikhonov
from nas_lightning.runs.command import run
from nas_lightning.search import BilevelProblem, SearchModule, SearchStrategy
from nas_lightning.spaces import ReconstructionSupernet
from nas_lightning.strategies import (
    CDARTS,
    AuxiliarySkip,
    LambdaDARTS,
    PartialChannels,
    PerturbationSelection,
    ProgressiveChannels,
    ResourcePenalty,
    SkipDropout,
)
from nas_lightning.strategies.amended import amended_gradient
from nas_lightning.strategies.unrolled import unrolled_gradient
from nas_lightning.tasks import Reconstruction
from tests.conftest import TrainerFactory
from tests.methods import METHODS_AND_MONITORS
from tests.search.hypergradient import relative_error

ELSEWHERE = (
    CDARTS,
    AuxiliarySkip,
    LambdaDARTS,
    PartialChannels,
    PerturbationSelection,
    ProgressiveChannels,
    ResourcePenalty,
    SkipDropout,
)
FITTING = {
    name: strategies
    for name, strategies in METHODS_AND_MONITORS.items()
    # others are for a network of another space, for several cells, or take epochs of their own
    if not any(isinstance(strategy, ELSEWHERE) for strategy in strategies)
}


def data(**kwargs: Any) -> Signals:
    return Signals(size=16, train_size=32, test_size=8, batch_size=8, seed=0, **kwargs)


def search(strategies: tuple[SearchStrategy, ...] = (), nodes: int = 4) -> SearchModule:
    lightning.seed_everything(0, verbose=False)
    return SearchModule(
        data().data_spec,
        ReconstructionSupernet(nodes, filters=2, channels=2),
        Reconstruction(),
        copy.deepcopy(list(strategies)),
        weight_optimizer=partial(SGD, lr=0.1, momentum=0.9),
    )


class Doubles(Callback):
    """Brings every batch to float64."""

    def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, index: int) -> None:
        for half, (y, x) in batch.items():
            batch[half] = (y.double(), x.double())


@pytest.mark.parametrize("method", FITTING)
def test_a_step_of_every_method_in_float64(method: str, make_trainer: TrainerFactory) -> None:
    module = search(FITTING[method]).double()
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    settings: dict[str, Any] = {"limit_train_batches": 1, "limit_val_batches": 0}
    make_trainer(callbacks=[Doubles()], **settings).fit(module, datamodule=data())
    moved = {name for name, value in module.named_parameters() if not value.equal(before[name])}
    assert any(name.startswith("arch.") for name in moved)
    assert any(name.startswith("supernet.") for name in moved)
    assert all(value.isfinite().all() for value in module.parameters())


def test_a_budget_for_a_network_of_another_space_is_refused(make_trainer: TrainerFactory) -> None:
    module = search(METHODS_AND_MONITORS["budget"])
    with pytest.raises(UsageError, match=r"'num_classes', .* a network of the space rec"):
        make_trainer().fit(module, datamodule=data())


def problem(module: SearchModule) -> BilevelProblem:
    """The first batch of a search, in float64, at mixing weights that differ."""
    module.double()
    alpha = module.arch.alpha["unrolled"]
    torch.manual_seed(0)
    alpha.data = torch.randn_like(alpha)
    signals = data()
    signals.setup("fit")
    batch = next(iter(signals.train_dataloader()))[0]

    def loss(half: str) -> torch.Tensor:
        y, x = batch[half]
        return module.task.loss(module.supernet(y.double(), module.arch()), (y, x.double()))

    weights = dict(module.supernet.named_parameters())
    optimizer = SGD(weights.values(), lr=0.1)
    return BilevelProblem(
        lambda: loss("train"), lambda: loss("val"), weights, module.arch.named(), optimizer
    )


def test_the_amended_gradient_is_the_product_with_the_matrices() -> None:
    """The Hessian of all weights, column by column, by autograd."""
    seen = problem(search(nodes=2))
    arch, weights = list(seen.arch.values()), list(seen.weights.values())
    direct, *v = torch.autograd.grad(seen.outer(), [*arch, *weights])
    slopes = torch.autograd.grad(seen.inner(), weights, create_graph=True)
    flat = torch.cat([slope.flatten() for slope in slopes])
    rows = [
        torch.autograd.grad(entry, [*weights, *arch], retain_graph=True, materialize_grads=True)
        for entry in flat
    ]
    hessian = torch.stack([torch.cat([g.flatten() for g in row[: len(weights)]]) for row in rows])
    mixed = torch.stack([row[-1].flatten() for row in rows])  # (W, A)
    along = torch.cat([g.flatten() for g in v])
    expected = direct - 0.1 * (mixed.T @ hessian @ along).view_as(direct)
    (found,) = amended_gradient(seen, 0.1, exact=True).gradient
    assert relative_error(found, expected) < 1e-10


def test_the_unrolled_gradient_is_autograd_through_the_step() -> None:
    module = search(nodes=2)
    seen = problem(module)
    (alpha,) = seen.arch.values()
    weights = seen.weights
    slopes = torch.autograd.grad(seen.inner(), list(weights.values()), create_graph=True)
    ahead = {
        name: weight - 0.1 * slope
        for (name, weight), slope in zip(weights.items(), slopes, strict=True)
    }
    signals = data()
    signals.setup("fit")
    y, x = next(iter(signals.train_dataloader()))[0]["val"]
    output = torch.func.functional_call(module.supernet, ahead, (y.double(), module.arch()))
    (expected,) = torch.autograd.grad(module.task.loss(output, (y, x.double())), [alpha])
    (found,) = unrolled_gradient(seen, epsilon=1e-4)
    assert relative_error(found, expected) < 1e-6


@pytest.mark.long
def test_the_shipped_search_leaves_out_what_harms_and_beats_tikhonov(tmp_path: Path) -> None:
    found, retrained = tmp_path / "search", tmp_path / "retrain"
    quick = ["--trainer.logger", "false"]
    module = run(["fit", "--config", "signal_deblur", "--run_dir", str(found), *quick]).model
    genotype = module.genotype()
    assert genotype.count("shift", "unrolled") == 0
    weights = module.arch().ops["unrolled"][:, module.space.cells[0].primitives.index("shift")]
    assert weights.max() < 1 / 7  # it lost on every edge

    config = ["--config", "signal_deblur_retrain", "--run_dir", str(retrained), *quick]
    cli = run(["fit", *config, "--model.genotype", str(found / "genotype.json")])
    test = cli.datamodule.load("test")
    with torch.no_grad():
        learned = cli.model.eval()(test.y)
    operator = cli.datamodule.operator

    def error(u: torch.Tensor) -> float:
        return float((u - test.x).square().mean())

    # the best of a grid, chosen on the test signals themselves
    regularised = min(error(tikhonov(operator, test.y, s)) for s in (1e-3, 3e-3, 1e-2, 3e-2))
    assert error(learned) < regularised < error(operator.adjoint(test.y))
