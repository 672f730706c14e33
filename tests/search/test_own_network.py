"""A strategy's own network and optimizer, its architecture step, and batches that rest."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from nas_lightning.data import Synthetic
from nas_lightning.errors import CheckpointMismatchError, UsageError
from nas_lightning.search import (
    ARCH_GRADIENT,
    ARCH_STEP,
    ArchStep,
    OwnNetwork,
    SearchModule,
    SearchPlan,
    SearchStrategy,
)
from nas_lightning.search.own_network import learned
from nas_lightning.search.step_context import StepContext
from nas_lightning.strategies import RobustDARTS
from nas_lightning.supernet import Supernet
from nas_lightning.training.optimizers import prepare, restart
from nas_lightning.training.schedules import CosineSchedule
from tests.conftest import SearchFactory, TrainerFactory


class Beside(nn.Module):
    """The stem of the supernet and a linear layer."""

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.stem: Any = supernet.stem
        self.head = nn.Linear(24, 4)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stem(x)[0].mean((2, 3)))
        return logits


class Trained(SearchStrategy):
    """Trains a network on every other batch, in which the weights rest."""

    def __init__(self, adam: bool = False) -> None:
        self.adam = adam

    def configure(self, plan: SearchPlan) -> None:
        kind: Any = Adam if self.adam else functools.partial(SGD, momentum=0.9)
        optimizer = functools.partial(kind, lr=0.1)
        also = head_of if self.adam else no_head
        network = OwnNetwork("beside", Beside, optimizer, CosineSchedule(0.01), also)
        plan.add_network(network, by=self)
        plan.fill(ARCH_STEP, self.step, by=self)

    def verify(self, plan: SearchPlan) -> None:
        plan.check_unwrapped(ARCH_GRADIENT, by=self)

    def step(
        self,
        context: StepContext,
        batch: Any,
        weight: Optimizer,
        arch: Optimizer,
        limit: float | None,
        after: Callable[[ArchStep], None],
    ) -> None:
        network, optimizer = context.networks["beside"], context.optimizers["beside"]
        losses = context.losses
        loss = losses.task.loss(network(losses.streams.inputs("arch", batch["val"])), batch["val"])
        parameters = learned(network)
        for value, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):  # fmt: skip
            value.grad = gradient
        context.take("step beside", loss, optimizer, None)
        optimizer.zero_grad()
        network.get_buffer("steps").add_(1)

    def allow_weight_step(self, module: SearchModule) -> bool:
        return module.trainer.fit_loop.batch_idx % 2 == 1


def head_of(network: Any) -> list[nn.Parameter]:
    return list(network.head.parameters())


def no_head(network: Any) -> list[nn.Parameter]:
    return []


def test_the_module_holds_the_network_and_its_optimizer(make_search: SearchFactory) -> None:
    module = make_search([Trained()])
    network = module.networks["beside"]
    assert network.stem is module.supernet.stem
    assert "networks.beside.head.weight" in module.state_dict()
    assert module.double().networks["beside"].head.weight.dtype == torch.float64  # type: ignore[union-attr] # mypy takes attributes of modules for tensors
    optimizers = module.build_optimizers()
    assert list(optimizers) == ["weight_optimizer", "arch_optimizer", "networks.beside"]
    (group,) = optimizers["networks.beside"].param_groups
    assert set(group["params"]) == set(network.parameters())
    assert "network                  beside" in module.plan.describe()
    assert module.record()["model.networks.beside"] == "SGD"


def test_ddp_leaves_alone_what_the_supernet_does_not_share(make_search: SearchFactory) -> None:
    ignored = make_search([Trained()])._ddp_params_and_buffers_to_ignore
    own = {name for name in ignored if not name.startswith("arch.")}
    assert own == {f"networks.beside.{name}" for name in ("head.weight", "head.bias", "steps")}


def test_the_optimizer_of_the_weights_can_step_parts_too(make_search: SearchFactory) -> None:
    module = make_search([Trained(adam=True)])
    (group,) = module.build_optimizers()["weight_optimizer"].param_groups
    head = module.networks["beside"].head
    assert {*module.supernet.parameters(), *head.parameters()} == set(group["params"])  # type: ignore[union-attr] # mypy takes attributes of modules for tensors


def test_it_is_trained_saved_and_restored_exactly(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    def fit(epochs: int, resumed: Path | None = None) -> tuple[SearchModule, Any]:
        module = make_search([Trained()])
        trainer = make_trainer(max_epochs=epochs, limit_train_batches=3)
        trainer.fit(module, datamodule=search_data, ckpt_path=resumed, weights_only=True)
        return module, trainer

    start = make_search([Trained()])
    whole, trainer = fit(2)
    moved = {
        name
        for name, value in whole.named_parameters()
        if not torch.equal(value, start.get_parameter(name))
    }
    assert "networks.beside.head.weight" in moved
    assert not any(name.startswith("arch.") for name in moved)
    assert float(whole.networks["beside"].get_buffer("steps")) == 6
    # three steps of the network and one of the weights in each epoch
    assert trainer.global_step == 8
    rates = [config.scheduler._last_lr[0] for config in trainer.lr_scheduler_configs]
    assert rates[2] == pytest.approx(0.01)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    states = torch.load(tmp_path / "end.ckpt", weights_only=True)["optimizer_states"]
    assert len(states) == 3
    further, _ = fit(3, tmp_path / "end.ckpt")
    assert float(further.networks["beside"].get_buffer("steps")) == 9

    other = make_search([Trained(adam=True)])
    resumed = make_trainer(max_epochs=3)
    with pytest.raises(CheckpointMismatchError, match=r"model.networks.beside is SGD .* Adam now"):
        resumed.fit(
            other, datamodule=search_data, ckpt_path=tmp_path / "end.ckpt", weights_only=True
        )  # fmt: skip


def test_a_wrapper_without_effect_is_refused_by_both_names(make_search: SearchFactory) -> None:
    for strategies in ([Trained(), RobustDARTS()], [RobustDARTS(), Trained()]):
        with pytest.raises(UsageError, match=r"Trained has its own .*, RobustDARTS changes the"):
            make_search(strategies)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_restarted_optimizer_steps_as_a_new_one(momentum: float) -> None:
    def stepped(optimizer: Optimizer, value: nn.Parameter) -> Tensor:
        value.grad = torch.ones(3)
        optimizer.step()
        return value.detach().clone()

    value = nn.Parameter(torch.zeros(3))
    for make in (
        functools.partial(SGD, lr=0.1, momentum=momentum),
        functools.partial(Adam, lr=0.1),
    ):
        with torch.no_grad():
            value.zero_()
        used = prepare(make([value]))
        first = stepped(used, value)
        stepped(used, value)
        with torch.no_grad():
            value.zero_()
        restart(used)
        assert torch.equal(stepped(used, value), first)
