"""The plan: slots are filled once, wrapped in order, and tell who decided what."""

import pytest
import torch
from torch import Tensor

from nas_lightning.architecture import Cell
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import (
    OP_RELAXATION,
    PARTIAL_CHANNELS,
    ArchStep,
    SearchModule,
    SearchPlan,
    SearchStrategy,
)
from nas_lightning.strategies import EdgeNormalization, PartialChannels
from nas_lightning.supernet import ArchitectureParameters, OpRelaxation, SoftmaxOps
from tests.conftest import SearchFactory, TrainerFactory


class OtherChannels(SearchStrategy):
    """Decides the same slot as PartialChannels."""

    def configure(self, plan: SearchPlan) -> None:
        plan.fill(PARTIAL_CHANNELS, 2, by=self)


class Doubled(OpRelaxation):
    """Twice whatever the inner relaxation gives."""

    def __init__(self, inner: OpRelaxation) -> None:
        self.inner = inner

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        return self.inner.initial(cell, generator)

    def weights(self, alpha: Tensor) -> Tensor:
        return self.inner.weights(alpha) * 2


class Doubling(SearchStrategy):
    """Wraps the relaxation."""

    def configure(self, plan: SearchPlan) -> None:
        plan.wrap(OP_RELAXATION, Doubled, by=self)


class Pull(SearchStrategy):
    """Adds the sum of all α to the outer loss."""

    def configure(self, plan: SearchPlan) -> None:
        plan.add_penalty(self._sum, by=self)

    @staticmethod
    def _sum(arch: ArchitectureParameters) -> Tensor:
        return torch.stack([alpha.sum() for alpha in arch.alpha.values()]).sum()


class Positive(SoftmaxOps):
    """Keeps α from falling below zero."""

    def project_(self, alpha: Tensor) -> None:
        alpha.clamp_(min=0.0)


class Push(SearchStrategy):
    """Takes five off every α after each architecture step."""

    def configure(self, plan: SearchPlan) -> None:
        plan.fill(OP_RELAXATION, Positive(), by=self)

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        for alpha in module.arch.alpha.values():
            alpha.sub_(5.0)


def test_a_second_fill_names_both(make_search: SearchFactory) -> None:
    with pytest.raises(UsageError, match="PartialChannels and OtherChannels both decide"):
        make_search([PartialChannels(2), OtherChannels()])


def test_the_same_strategy_twice_is_refused(make_search: SearchFactory) -> None:
    with pytest.raises(UsageError, match="EdgeNormalization is listed more than once"):
        make_search([EdgeNormalization(), EdgeNormalization()])


def test_a_wrapper_goes_around_what_is_there(make_search: SearchFactory) -> None:
    plain, doubled = make_search([]), make_search([Doubling()])
    for kind in plain.space.kinds:
        torch.testing.assert_close(doubled.arch().ops[kind], 2 * plain.arch().ops[kind])


def test_a_penalty_reaches_the_architecture_gradient(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """The gradient of a sum is one everywhere: with SGD at rate 1 α falls by one more."""

    def alpha(*strategies: SearchStrategy) -> Tensor:
        module = make_search(strategies, arch_optimizer=torch.optim.SGD)
        make_trainer(limit_train_batches=1, limit_val_batches=0).fit(module, datamodule=search_data)
        found: Tensor = module.arch.alpha["normal"].detach()
        return found

    rate = 1e-3  # the default of torch.optim.SGD
    torch.testing.assert_close(alpha() - alpha(Pull()), torch.full((5, 4), rate))


def test_it_says_who_decided_what(make_search: SearchFactory) -> None:
    lines = make_search([PartialChannels(2), Doubling(), Pull()]).plan.describe().splitlines()
    table = {line[:24].strip(): line[24:].split() for line in lines}
    assert table["partial channels K"] == ["2", "PartialChannels(k=2)"]
    assert table["edge relaxation"] == ["EqualEdges", "default"]
    assert table["operation relaxation"] == ["Doubled", "default,", "wrapped", "by", "Doubling()"]
    assert table["penalty"] == ["Pull()"]


def test_projection_runs_after_all_hooks(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """An additive rule after the step cannot leave the relaxation's domain."""
    module = make_search([Push()])
    make_trainer(limit_train_batches=1, limit_val_batches=0).fit(module, datamodule=search_data)
    assert all(alpha.detach().min() == 0 for alpha in module.arch.alpha.values())
