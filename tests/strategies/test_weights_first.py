"""The order of the two steps: each sees what the other has done before it, and no more."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.data import Synthetic
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.strategies import BinaryGates, Unrolled, WarmUp, WeightsFirst
from tests.conftest import SearchFactory, TrainerFactory
from tests.search.test_recurrent_search import data as texts
from tests.search.test_recurrent_search import search as recurrent_search

SEARCHES = ("nb201_darts", "cifar_gdas", "cifar_proxyless", "imagenet_proxyless")


class Order(SearchStrategy):
    """Keeps the order of the weight and arch steps, and the gradients of the latter."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.steps: list[ArchStep] = []

    def allow_arch_step(self, module: SearchModule) -> bool:
        if not self.order:
            inner = module.weight_step

            def watched(half: Any, weight: Any) -> Any:
                self.order.append("weights")
                return inner(half, weight)

            module.weight_step = watched  # type: ignore[method-assign]
        return True

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        self.order.append("arch")
        self.steps.append(step)


def sgd(params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=1.0)


def test_the_weights_step_at_the_old_alpha_and_alpha_at_the_new_weights(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """One batch with plain SGD in both steps, computed here again step by step."""
    settings: dict[str, Any] = {
        "arch_optimizer": sgd,
        "weight_optimizer": sgd,
        "gradient_clip": None,
    }
    watch = Order()
    module, twin = make_search([WeightsFirst(), watch], **settings), make_search([], **settings)
    module.double()
    twin.double()
    search_data.setup("fit")
    batch = next(iter(search_data.train_dataloader()))[0]

    def loss(half: str) -> Tensor:
        images, labels = batch[half]
        return F.cross_entropy(twin.supernet(images.double(), twin.arch()), labels)

    for parameters, half in ((twin.supernet, "train"), (twin.arch, "val")):
        values = list(parameters.parameters())
        gradients = torch.autograd.grad(loss(half), values)
        with torch.no_grad():
            for value, gradient in zip(values, gradients, strict=True):
                value.sub_(gradient)
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0, precision="64-true")
    trainer.fit(module, datamodule=search_data)
    assert watch.order == ["weights", "arch"]
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("first", [False, True])
def test_only_due_arch_steps_are_taken(
    first: bool, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """ProxylessNAS steps α after every fifth weight step; here after every second one."""
    watch = Order()
    strategies = [watch, BinaryGates(every=2), WarmUp(1), *([WeightsFirst()] if first else [])]
    module = make_search(strategies)
    make_trainer(max_epochs=2, limit_val_batches=0).fit(module, datamodule=search_data)
    pair = ["weights", "arch"] if first else ["arch", "weights"]
    assert watch.order == ["weights"] * 4 + ["weights", *pair] * 2


@pytest.mark.parametrize("first", [False, True])
def test_both_steps_of_a_text_start_from_the_same_hidden_state(
    first: bool, make_trainer: TrainerFactory
) -> None:
    """An estimator that looks at the inner loss sees the words as the weight step does."""
    module = recurrent_search([Unrolled(), *([WeightsFirst()] if first else [])])
    seen: list[Tensor | None] = []
    inner = module.streams.inputs

    def inputs(stream: str, batch: Any) -> Any:
        found = inner(stream, batch)
        if stream == "weight":
            seen.append(None if found.hidden is None else found.hidden.clone())
        return found

    module.streams.inputs = inputs  # type: ignore[method-assign]
    trainer = make_trainer(limit_train_batches=3, limit_val_batches=0)
    trainer.fit(module, datamodule=texts())
    # three inner losses of `Unrolled` and one of the weight step, batch by batch
    batches = [seen[i : i + 4] for i in range(0, len(seen), 4)]
    assert len(batches) == 3
    assert batches[0] == [None] * 4
    for batch in batches[1:]:
        first_one, *others = (hidden for hidden in batch if hidden is not None)
        assert [torch.equal(first_one, other) for other in others] == [True] * 3
    last, before = batches[2][0], batches[1][0]
    assert last is not None
    assert before is not None
    assert not torch.equal(last, before)


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_whose_released_code_does_so_step_the_weights_first(name: str) -> None:
    with torch.device("meta"):
        module = PlanCLI(["fit", "--config", name, "--data", "Synthetic"]).model
    (line,) = (line for line in module.plan.describe().splitlines() if "step order" in line)
    assert line.split() == ["step", "order", "weights", "first", "WeightsFirst()"]
