"""OLES: both cosines in closed form and in a search, and what a frozen operation still does."""

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import lightning
import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD

from nas_lightning.data import Synthetic
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import (
    ChoiceSupernet,
    DartsSupernet,
    NasBench201Supernet,
)
from nas_lightning.strategies import (
    A2M,
    OLES,
    AuxiliarySkip,
    PartialChannels,
    ReferenceCell,
    Unrolled,
    WeightsFirst,
)
from nas_lightning.strategies.gradient_cosines import Reading
from nas_lightning.supernet import SupernetFactory
from nas_lightning.supernet.operations import OwnWeights, own_weights
from tests.conftest import (
    PRIMITIVES,
    SPEC,
    SearchFactory,
    TrainerFactory,
    tiny_supernet,
)
from tests.methods import rest_long

READINGS: tuple[Reading, Reading] = ("code", "paper")
STILL = partial(SGD, lr=0.0)
"""Leaves α where it is."""


# -- the gradients of a search -------------------------------------------------------------------


class Exact(SearchStrategy):
    """Computes g_V by itself, and keeps g_T, clipped. Listed before OLES."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        images, labels = pl_module.halves(batch)["val"]
        loss = F.cross_entropy(pl_module.supernet(images, pl_module.arch()), labels)
        weights = dict(pl_module.supernet.named_parameters())
        found = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        self.validation = dict(zip(weights, found, strict=True))

    def on_weight_gradients(self, module: SearchModule) -> None:
        weights = module.supernet.named_parameters()
        found = {n: w.grad.clone() for n, w in weights if w.grad is not None}
        size = float(torch.cat([g.flatten() for g in found.values()]).norm())
        limit = module.gradient_clip or math.inf
        self.train = {n: g * min(1, limit / (size + 1e-6)) for n, g in found.items()}

    def cosine(self, names: Sequence[str], reading: Reading) -> Tensor:
        """Compute the cosine of an operation one column after the other."""
        pairs = [(self.train[name], self.validation[name]) for name in names]
        if reading == "paper":
            a, b = (torch.cat([g.flatten() for g in side]) for side in zip(*pairs, strict=True))
            whole: Tensor = a @ b / (a.norm() * b.norm())
            return whole
        means = []
        for a, v in [pair for pair in pairs if pair[0].dim() > 1]:
            columns = [(side[..., None].flatten(1).T) for side in (a, a + v)]
            each = [x @ y / (x.norm() * y.norm()) for x, y in zip(*columns, strict=True)]
            means.append(torch.stack(each).nan_to_num(0).mean())  # columns of zeros
        return torch.stack(means).mean()


CHAIN = ChoiceSupernet("tests.spaces.choice.networks.Chain")
SEARCHES: dict[str, tuple[SupernetFactory, list[SearchStrategy], list[SearchStrategy], int]] = {
    # supernet, strategies before and after, and the number of operations
    "darts": (tiny_supernet(), [], [], 15),
    "reference": (tiny_supernet(), [ReferenceCell()], [], 15),
    "partial": (DartsSupernet(8, 3, nodes=1, primitives=PRIMITIVES), [PartialChannels(2)], [], 6),
    "nas_bench_201": (NasBench201Supernet(4, 1), [], [], 36),
    "choices": (CHAIN, [], [], 5),
    "unrolled": (tiny_supernet(), [Unrolled()], [], 15),
    "around a2m": (CHAIN, [A2M(rho=0.1)], [], 5),
    "inside of a2m": (CHAIN, [], [A2M(rho=0.1)], 5),
}


def fit(
    make_trainer: TrainerFactory, factory: SupernetFactory, strategies: Sequence[SearchStrategy],
    batches: int = 1, precision: str = "64-true", **kwargs: Any,
) -> SearchModule:  # fmt: skip
    """Run some batches."""
    lightning.seed_everything(0, verbose=False)
    module = SearchModule(SPEC, factory, strategies=list(strategies), **kwargs)
    data = Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=64, test_size=8, batch_size=8
    )
    settings: dict[str, Any] = {
        "limit_train_batches": batches,
        "limit_val_batches": 0,
        "precision": precision,
    }
    make_trainer(**settings).fit(module, datamodule=data)
    return module


class Later(Exact):
    """Computes g_V after the weight step."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)


@pytest.mark.parametrize("name", rest_long(SEARCHES, keep=["darts", "inside of a2m"]))
def test_it_compares_the_gradients_of_the_two_losses(
    name: str, make_trainer: TrainerFactory
) -> None:
    factory, before, after, number = SEARCHES[name]
    reading: Reading = "paper" if name in ("reference", "around a2m") else "code"
    exact, oles = Exact(), OLES(count=5, reading=reading)
    strategies = [*copy.deepcopy(before), exact, oles, *copy.deepcopy(after)]
    fit(make_trainer, factory, strategies, gradient_clip=0.3 if name == "darts" else None)
    assert oles._tally is not None
    assert len(oles._operations) == number
    expected = torch.stack([exact.cosine(each.names, reading) for each in oles._operations])
    torch.testing.assert_close(oles._tally[0], expected, rtol=1e-7, atol=1e-9)
    assert oles._tally[1].tolist() == [1] * number


def test_fast_and_reference_cells_give_the_same_cosines(make_trainer: TrainerFactory) -> None:
    """In single precision, and with biases whose gradients are rounding."""
    tallies = []
    for others in ([], [ReferenceCell()]):
        oles = OLES()
        fit(make_trainer, NasBench201Supernet(4, 1), [*others, oles], precision="32-true")
        tallies.append(oles._tally)
    torch.testing.assert_close(*tallies, rtol=1e-3, atol=1e-3)


@pytest.mark.long
def test_after_a_weight_step_it_compares_with_the_gradient_before(
    make_trainer: TrainerFactory,
) -> None:
    """With weights first g_T is of the old weights and g_V of the new ones."""

    exact, oles = Later(), OLES(reading="paper")
    fit(make_trainer, tiny_supernet(), [WeightsFirst(), exact, oles], arch_optimizer=STILL)
    expected = torch.stack([exact.cosine(each.names, "paper") for each in oles._operations])
    assert oles._tally is not None
    torch.testing.assert_close(oles._tally[0], expected, rtol=1e-7, atol=1e-9)


class OneHalf(SearchStrategy):
    """Gives both losses the same samples."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        batch["val"] = batch["train"]


@pytest.mark.parametrize("reading", rest_long(READINGS, keep=["code"]))
def test_on_the_same_samples_nothing_is_frozen(
    reading: Reading, make_trainer: TrainerFactory
) -> None:
    """α is stepped in between, so its rate is 0 here."""
    oles = OLES(threshold=1 - 1e-9, count=1, reading=reading)
    module = fit(make_trainer, tiny_supernet(), [OneHalf(), oles], 2, arch_optimizer=STILL)
    assert not oles._frozen
    assert module.trainer.callback_metrics["oles/cosine"] == pytest.approx(1, abs=1e-9)
    assert module.trainer.callback_metrics["oles/frozen"] == 0


# -- what is frozen ------------------------------------------------------------------------------


class ByHand(SearchStrategy):
    """Freezes weights in another way: after each step it sets them back to what they were."""

    def __init__(self, since: dict[str, int]) -> None:
        self.since = since
        self.kept: dict[str, Tensor] = {}

    def on_weight_gradients(self, module: SearchModule) -> None:
        for name, weight in module.supernet.named_parameters():
            if module.trainer.fit_loop.batch_idx >= self.since.get(name, 99):
                weight.grad = torch.zeros_like(weight)
                self.kept.setdefault(name, weight.detach().clone())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        for name, value in self.kept.items():
            pl_module.supernet.get_parameter(name).data.copy_(value)


class Notes(SearchStrategy):
    """Notes the first batch in which each weight has no gradient. Listed after OLES."""

    def __init__(self) -> None:
        self.since: dict[str, int] = {}

    def on_weight_gradients(self, module: SearchModule) -> None:
        for name, weight in module.supernet.named_parameters():
            if weight.grad is None:
                self.since.setdefault(name, module.trainer.fit_loop.batch_idx)


def test_frozen_weights_stay_and_the_others_learn_as_if_they_were_constants(
    make_trainer: TrainerFactory,
) -> None:
    oles, notes = OLES(threshold=0.74, count=2), Notes()
    module = fit(make_trainer, tiny_supernet(), [oles, notes], 4)
    names = {name for index in oles._frozen for name in oles._operations[index].names}
    assert names == notes.since.keys()
    assert set(notes.since.values()) == {1, 3}  # the batches after which there are enough
    assert len(oles._frozen) < 15
    other = fit(make_trainer, tiny_supernet(), [ByHand(notes.since)], 4)
    for name, value in module.named_parameters():
        torch.testing.assert_close(value, other.get_parameter(name), rtol=1e-9, atol=1e-11)
    state: Any = module.optimizers()[0].state  # type: ignore[index] # two optimizers
    moving = [state[module.supernet.get_parameter(name)]["momentum_buffer"] for name in names]
    assert all(bool(each.any()) for each in moving)  # it would have moved them


def test_all_of_an_operation_is_frozen_and_nothing_else(make_trainer: TrainerFactory) -> None:
    """From the first batch on: scale and shift too, but not running statistics, nor α."""
    oles = OLES(threshold=1, count=1)
    factory = NasBench201Supernet(4, 1, affine=True, running_stats=True)
    lightning.seed_everything(0, verbose=False)
    before = SearchModule(SPEC, factory).double().state_dict()
    module = fit(make_trainer, factory, [oles], 3)
    held = {f"supernet.{name}" for each in oles._operations for name in each.names}
    assert sum("edges" in name for name, _ in module.named_parameters()) == len(held)
    moved = {name for name, value in module.state_dict().items()
             if not torch.equal(value, before[name])}  # fmt: skip
    assert {name for name, _ in module.named_parameters()} - moved == held
    assert any("edges" in name and "running_mean" in name for name in moved)


def test_a_skip_connection_with_weights_is_never_frozen(make_search: SearchFactory) -> None:
    oles = OLES()
    module = make_search([AuxiliarySkip(), oles])
    assert {each.operation for each in oles._operations} == {"sep_conv_3x3"}
    skips = [each for each in own_weights(module.supernet, module.space) if each.names]
    assert {each.operation for each in skips} == {"sep_conv_3x3", "skip_connect"}
    # four edges of stride 2 in each of two reduction cells; none of the auxiliary identities
    assert len(skips) - len(oles._operations) == 8


def test_an_operation_is_judged_once_it_has_enough_comparisons() -> None:
    oles = OLES(threshold=0.6, count=2)
    oles._operations = [OwnWeights("normal", 0, "0-2", str(i), (str(i),)) for i in range(4)]
    oles._frozen, oles._epoch = {1: 3}, 7
    oles._judge(torch.tensor([[1.0, 0.1, 1.5], [2, 1, 2]]))
    assert oles._frozen == {1: 3, 0: 7}
    assert oles._mean == pytest.approx((0.5 + 0.75) / 2)
    assert oles._tally is not None
    assert oles._tally.tolist() == [[pytest.approx(0.1), 0], [1, 0]]
