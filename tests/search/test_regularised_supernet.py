"""Auxiliary head and drop path inside a search act as they do in a retraining."""

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.layers.drop_path import DropPath, set_drop_path
from nas_lightning.search import SearchModule
from nas_lightning.spaces import PUBLISHED, DartsNetwork, DartsSupernet
from nas_lightning.strategies import AmendedGradient
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, TrainerFactory

LARGE = {**SPEC, "image_size": 32}


def with_head(**kwargs: object) -> SearchModule:
    """Features of 8x8 pixels, the smallest that the head takes."""
    lightning.seed_everything(0, verbose=False)
    supernet = DartsSupernet(channels=4, layers=3, nodes=2, primitives=PRIMITIVES)
    return SearchModule(LARGE, supernet, auxiliary_weight=0.4, **kwargs)  # type: ignore[arg-type]


def large_data() -> Synthetic:
    return Synthetic(num_classes=4, image_size=32, train_size=32, test_size=8, batch_size=8)


def test_the_auxiliary_loss_is_part_of_the_inner_loss_only() -> None:
    """The weights' gradient has the head's share; the architecture gradient does not."""
    module = with_head()
    x, y = torch.randn(4, 3, 32, 32), torch.arange(4)
    weights = list(module.supernet.parameters())
    arch = list(module.arch.parameters())

    def inner(weight: float) -> tuple[Tensor | None, ...]:
        module.auxiliary_weight = weight
        loss = module.losses.inner((x, y)).loss
        return torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)

    plain, full = inner(0.0), inner(0.4)
    logits = module.supernet.with_auxiliary(x, module.arch())[1]
    head = torch.nn.functional.cross_entropy(logits, y)
    own = torch.autograd.grad(head, weights, materialize_grads=True)
    for a, b, c in zip(plain, own, full, strict=True):
        assert a is not None
        torch.testing.assert_close(a + 0.4 * b, c, rtol=1e-4, atol=1e-6)
    assert any(value.abs().max() > 0 for value in own)
    # what an architecture step differentiates is the output alone
    outer = torch.nn.functional.cross_entropy(module.supernet(x, module.arch()), y)
    task = module.losses.inner((x, y)).task_loss
    for a, b in zip(torch.autograd.grad(outer, arch), torch.autograd.grad(task, arch), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("strategy", [None, AmendedGradient()], ids=["darts", "amended"])
def test_a_search_with_a_head_trains_it_and_evaluates_without(
    strategy: AmendedGradient | None, make_trainer: TrainerFactory
) -> None:
    module = with_head(strategies=[strategy] if strategy else [], drop_path=0.2)
    head = module.supernet.auxiliary
    assert isinstance(head, torch.nn.Module)
    before = [parameter.detach().clone() for parameter in head.parameters()]
    trainer = make_trainer(limit_train_batches=1)
    trainer.fit(module, datamodule=large_data())
    assert not any(torch.equal(a, b) for a, b in zip(before, head.parameters(), strict=True))
    module.supernet.eval()
    assert module.supernet.with_auxiliary(torch.randn(2, 3, 32, 32), module.arch())[1] is None


class Probabilities(Callback):
    """Drop path of each batch, and of validation."""

    def __init__(self) -> None:
        self.train: list[float] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, *_: object
    ) -> None:
        (p,) = {m.p for m in pl_module.modules() if isinstance(m, DropPath)}
        self.train.append(p)


def test_drop_path_ramps_as_in_a_retraining(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    seen = Probabilities()
    module = make_search([], drop_path=0.4)
    make_trainer(max_epochs=4, limit_train_batches=1, callbacks=[seen]).fit(
        module, datamodule=search_data
    )
    # drop_path · epoch / epochs, see tests/retrain
    assert seen.train == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert any(isinstance(m, DropPath) for m in module.supernet.modules())


def test_drop_path_changes_training_and_not_evaluation(make_search: SearchFactory) -> None:
    module = make_search([])
    x = torch.randn(4, 3, 8, 8)

    def output() -> Tensor:
        torch.manual_seed(0)
        with torch.no_grad():
            result: Tensor = module(x)
        return result

    module.eval()
    evaluated = output()
    module.train()
    trained = output()
    set_drop_path(module.supernet, 0.5)
    assert not torch.equal(output(), trained)
    module.eval()
    assert torch.equal(output(), evaluated)


def test_features_too_small_for_the_head_are_refused_as_in_a_retraining() -> None:
    with pytest.raises(UsageError) as search:
        SearchModule(SPEC, DartsSupernet(4, 3), auxiliary_weight=0.4)
    with pytest.raises(UsageError) as retrain:
        DartsNetwork(4, 3).build(PUBLISHED["DARTS_V2"], SPEC, auxiliary=True)
    assert str(search.value) == str(retrain.value)
    assert "at least 8x8 pixels, found 2x2: set auxiliary_weight to 0" in str(search.value)
