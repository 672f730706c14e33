"""The search module: its two steps, its optimizers, its logs, and what it refuses."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.errors import CheckpointError, UsageError
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy, one_hot
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import EdgeNormalization, PartialChannels, WarmUp
from nas_lightning.training.schedules import CosineSchedule
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, TrainerFactory


class Watch(SearchStrategy):
    """Keeps what the hooks see."""

    def __init__(self) -> None:
        self.steps: list[ArchStep] = []
        self.weights: list[Tensor] = []

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        self.steps.append(step)
        self.weights.append(next(module.supernet.parameters()).detach().clone())


def sgd(params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=1.0)


def test_the_architecture_step_is_the_optimizers_on_the_gradient_of_the_outer_loss(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """One batch with plain SGD: α moves by minus the gradient, computed here a second time."""
    watch = Watch()
    module = make_search([EdgeNormalization(), watch], arch_optimizer=sgd)
    search_data.setup("fit")
    batch = next(iter(search_data.train_dataloader()))[0]
    before = {name: p.detach().clone() for name, p in module.arch.named().items()}
    mixing = module.arch()
    loss = torch.nn.functional.cross_entropy(
        module.supernet(batch["val"][0], mixing), batch["val"][1]
    )
    gradients = torch.autograd.grad(loss, list(module.arch.parameters()))
    make_trainer(limit_train_batches=1, limit_val_batches=0).fit(module, datamodule=search_data)
    for (name, parameter), gradient in zip(module.arch.named().items(), gradients, strict=True):
        torch.testing.assert_close(parameter.detach(), before[name] - gradient)
        torch.testing.assert_close(watch.steps[0].gradients[name], gradient)
        assert torch.equal(watch.steps[0].before[name], before[name])


def test_the_weight_step_comes_after_and_sees_the_weight_half(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """One batch with plain SGD: weights move by minus the gradient at the *new* α."""
    watch = Watch()
    module = make_search([watch], arch_optimizer=sgd, weight_optimizer=sgd, gradient_clip=None)
    twin = make_search([], arch_optimizer=sgd)
    search_data.setup("fit")
    batch = next(iter(search_data.train_dataloader()))[0]
    make_trainer(limit_train_batches=1, limit_val_batches=0).fit(module, datamodule=search_data)
    twin.arch.load_state_dict(module.arch.state_dict())
    output = twin.supernet(batch["train"][0], twin.arch())
    torch.autograd.backward(torch.nn.functional.cross_entropy(output, batch["train"][1]))
    for mine, theirs in zip(module.supernet.parameters(), twin.supernet.parameters(), strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(mine, theirs - theirs.grad)
    assert torch.equal(watch.weights[0], next(make_search([]).supernet.parameters()))


def test_warm_up_leaves_the_architecture_alone(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    watch = Watch()
    module = make_search([WarmUp(2), watch])
    make_trainer(max_epochs=3).fit(module, datamodule=search_data)
    assert len(watch.steps) == 4  # the batches of the third epoch only


def test_optimizers_hold_disjoint_and_named_parameters(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module = make_search([EdgeNormalization()])
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    weight, arch = (
        {id(p) for g in o.param_groups for p in g["params"]} for o in trainer.optimizers
    )
    assert not weight & arch
    assert weight | arch == {id(p) for p in module.parameters()}
    assert [group["name"] for group in trainer.optimizers[1].param_groups] == ["alpha", "beta"]
    shapes = [[tuple(p.shape) for p in g["params"]] for g in trainer.optimizers[1].param_groups]
    assert shapes == [[(5, 4), (5, 4)], [(5,), (5,)]]


@pytest.mark.parametrize("half", ["weight", "arch"])
def test_clipping_bounds_the_step(
    half: str, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """Plain SGD with rate 1: the step's norm is the clip, which is far below the gradient's."""
    settings: dict[str, Any] = {
        "weight_optimizer": sgd,
        "arch_optimizer": sgd,
        "gradient_clip": 1e-4 if half == "weight" else None,
        "arch_gradient_clip": 1e-4 if half == "arch" else None,
    }
    module = make_search([], **settings)
    clipped = module.supernet if half == "weight" else module.arch
    before = [p.detach().clone() for p in clipped.parameters()]
    make_trainer(limit_train_batches=1, limit_val_batches=0).fit(module, datamodule=search_data)
    moved = [a - b for a, b in zip(clipped.parameters(), before, strict=True)]
    norm = torch.cat([m.flatten() for m in moved]).norm()
    # weights far from zero lose digits of so small a step, hence the tolerance
    torch.testing.assert_close(norm.detach(), torch.tensor(1e-4), rtol=0.05, atol=0)


def test_both_schedules_are_stepped_once_an_epoch(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    rates: list[tuple[float, float]] = []

    class Rates(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            weight, arch = (o.param_groups[0]["lr"] for o in trainer.optimizers)
            rates.append((weight, arch))

    module = make_search(
        [], weight_schedule=CosineSchedule(), arch_schedule=CosineSchedule(eta_min=1e-4)
    )
    make_trainer(max_epochs=4, callbacks=[Rates()]).fit(module, datamodule=search_data)
    for number, initial, minimum in ((0, 0.025, 0.0), (1, 3e-4, 1e-4)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=initial)
        reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4, eta_min=minimum)
        for epoch in range(4):
            assert rates[epoch][number] == pytest.approx(optimizer.param_groups[0]["lr"])
            optimizer.step()
            reference.step()


def test_the_loggers_axis_counts_batches(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    """`global_step` grows by two a batch here; the axis of the curves must not."""
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = make_trainer(max_epochs=2, logger=logger, log_every_n_steps=1)
    trainer.fit(make_search([]), datamodule=search_data)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows if row["search/train_loss_step"]]
    assert steps == list(range(8))
    assert trainer.global_step == 16


def test_metrics_of_search_and_one_shot_have_names_of_their_own(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module = make_search([])
    trainer = make_trainer()
    trainer.fit(module, datamodule=search_data)
    names = set(trainer.callback_metrics)
    assert {"search/train_accuracy", "search/arch_accuracy", "search/val_accuracy"} <= names
    assert not any(name.startswith("one_shot") for name in names)
    trainer.test(module, datamodule=search_data, verbose=False)
    assert set(trainer.callback_metrics) == {"one_shot/test_loss", "one_shot/test_accuracy"}


def test_one_shot_accuracy_is_that_of_the_discrete_cells(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module = make_search([])
    trainer = make_trainer(max_epochs=3)
    trainer.fit(module, datamodule=search_data)
    trainer.test(module, datamodule=search_data, verbose=False)
    weights = one_hot(module.space, module.genotype(), torch.device("cpu"))
    right = total = 0
    with torch.no_grad():
        for images, labels in search_data.test_dataloader():
            right += int((module.supernet(images, weights).argmax(1) == labels).sum())
            total += len(labels)
    assert float(trainer.callback_metrics["one_shot/test_accuracy"]) == pytest.approx(right / total)


def test_running_statistics_are_an_option(make_search: SearchFactory) -> None:
    def buffers(running_stats: bool) -> int:
        factory = DartsSupernet(8, 3, nodes=2, primitives=PRIMITIVES, running_stats=running_stats)
        return len(list(SearchModule(SPEC, factory).supernet.buffers()))

    assert buffers(running_stats=False) == 0
    assert buffers(running_stats=True) > 0


def test_fp16_is_refused(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module = make_search([])
    trainer = make_trainer()
    trainer.strategy.precision_plugin.precision = "16-mixed"
    with pytest.raises(UsageError, match="bf16-mixed"):
        trainer.fit(module, datamodule=search_data)


def test_data_without_halves_is_refused(
    make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    data = Synthetic(in_channels=3, num_classes=4, image_size=8, mode="retrain", batch_size=8)
    with pytest.raises(UsageError, match="set data mode to search"):
        make_trainer().fit(make_search([]), datamodule=data)


def test_a_strategy_among_the_trainers_callbacks_is_refused(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    trainer = make_trainer(callbacks=[WarmUp(1)])
    with pytest.raises(UsageError, match="WarmUp is a search strategy: list it under model"):
        trainer.fit(make_search([]), datamodule=search_data)


def test_a_checkpoint_of_another_supernet_is_refused(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(make_search([PartialChannels(2)]), datamodule=search_data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(
        CheckpointError, match=r"model.strategies is PartialChannels in .* empty now"
    ):
        make_trainer(max_epochs=2).fit(
            make_search([]), datamodule=search_data, ckpt_path=tmp_path / "a.ckpt"
        )


def test_the_architecture_step_does_not_move_running_statistics(
    make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """One batch is an architecture pass and a weight pass; batch norm counts only the second."""
    factory = DartsSupernet(8, 3, nodes=2, primitives=PRIMITIVES, running_stats=True)
    module = SearchModule(SPEC, factory)
    make_trainer(limit_train_batches=1, limit_val_batches=0).fit(module, datamodule=search_data)
    counts = [
        int(b) for name, b in module.supernet.named_buffers() if name.endswith("batches_tracked")
    ]
    assert counts
    assert set(counts) == {1}
