"""A search for a recurrent cell, from text to the retrained network of its genotype."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback
from torch.optim import SGD

from nas_lightning.architecture import Genotype
from nas_lightning.data import SyntheticText
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import RecurrentNetwork, RecurrentSupernet
from nas_lightning.strategies import (
    GDAS,
    SNAS,
    AmendedGradient,
    Backtracking,
    EdgeNormalization,
    ExponentiatedGradient,
    FairDARTS,
    Neumann,
    Unrolled,
    WarmUp,
)
from nas_lightning.tasks import LanguageModeling
from nas_lightning.training.schedules import ConstantSchedule
from tests.conftest import TrainerFactory

SPEC = {"num_tokens": 8}
DROPOUTS = ("dropout", "dropout_hidden", "dropout_input", "dropout_embedding")


def plain_sgd(parameters: Any) -> SGD:
    return SGD(parameters, lr=10.0)


def data(**kwargs: Any) -> SyntheticText:
    sizes: dict[str, Any] = {"num_tokens": 8, "train_size": 1024, "valid_size": 256}
    sizes |= {
        "test_size": 128,
        "batch_size": 8,
        "eval_batch_size": 4,
        "test_batch_size": 4,
        "bptt": 8,
    }
    return SyntheticText(**{**sizes, **kwargs})


def search(strategies: list[SearchStrategy] | None = None, **kwargs: Any) -> SearchModule:
    lightning.seed_everything(0, verbose=False)
    sizes: dict[str, Any] = {"hidden": 16, "steps": 2, **dict.fromkeys(DROPOUTS, 0.1), **kwargs}
    return SearchModule(
        SPEC,
        RecurrentSupernet(**sizes),
        LanguageModeling(bptt=8),
        strategies,
        weight_optimizer=plain_sgd,
        weight_schedule=ConstantSchedule(),
        gradient_clip=0.25,
    )


def test_it_learns_and_its_cell_is_retrained(make_trainer: TrainerFactory) -> None:
    module, texts = search(), data()
    trainer = make_trainer(max_epochs=5)
    before = make_trainer().validate(search(), data(), verbose=False)[0]["search/val_perplexity"]
    alpha = module.arch.alpha["recurrent"].detach().clone()
    trainer.fit(module, datamodule=texts)
    after = trainer.callback_metrics["search/val_perplexity"]
    assert before == pytest.approx(8, rel=0.2)  # it knows nothing
    assert texts.best_perplexity < after < 5
    assert not torch.equal(module.arch.alpha["recurrent"], alpha)
    assert trainer.test(module, texts, verbose=False)[0]["one_shot/test_perplexity"] > 1

    genotype = Genotype.from_dict(module.genotype().to_dict())
    lightning.seed_everything(0, verbose=False)
    network = RecurrentNetwork(hidden=16, dropout_word=0.0, **dict.fromkeys(DROPOUTS, 0.1))
    retrained = RetrainModule(
        SPEC,
        genotype.to_dict(),
        network,
        LanguageModeling(bptt=8),
        plain_sgd,
        ConstantSchedule(),
        auxiliary_weight=0.0,
        drop_path=0.0,
    )
    trainer = make_trainer(max_epochs=5, gradient_clip_val=0.25)
    trainer.fit(retrained, datamodule=data(mode="retrain"))
    # a batch of one text is as good as any here
    tested = trainer.test(retrained, data(mode="retrain", test_batch_size=1), verbose=False)[0]
    assert texts.best_perplexity < tested["retrain/test_perplexity"] < 4


@pytest.mark.parametrize(
    "strategies",
    [
        [EdgeNormalization()],
        [ExponentiatedGradient(edges=True)],
        [WarmUp(epochs=1)],
        [EdgeNormalization(), Backtracking(start=0)],
        [Unrolled()],
        [AmendedGradient()],
        [Neumann()],
        [GDAS()],
        [SNAS()],
        [FairDARTS()],
    ],
    ids=repr,
)
def test_strategies_go_with_it(
    strategies: list[SearchStrategy], make_trainer: TrainerFactory
) -> None:
    module, warm_up = search(strategies), isinstance(strategies[0], WarmUp)
    before = {name: value.detach().clone() for name, value in module.arch.named().items()}
    make_trainer(limit_train_batches=2, limit_val_batches=1).fit(module, datamodule=data())
    for name, value in module.arch.named().items():
        assert value.isfinite().all()
        assert torch.equal(value, before[name]) == warm_up


class StopAt(Callback):
    """Saves a checkpoint after a batch in the middle of an epoch."""

    def __init__(self, batch: int, path: Path) -> None:
        self.batch, self.path = batch, path

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == self.batch and trainer.current_epoch == 0:
            trainer.save_checkpoint(self.path)


def test_a_resumed_search_is_the_straight_one(make_trainer: TrainerFactory, tmp_path: Path) -> None:
    def fit(module: SearchModule, **kwargs: Any) -> SearchModule:
        saver = StopAt(4, tmp_path / "middle.ckpt")
        trainer = make_trainer(max_epochs=2, limit_val_batches=1, callbacks=[saver])
        texts = data(train_size=600, arch_batch_size=4, seed=0)
        trainer.fit(module, datamodule=texts, weights_only=True, **kwargs)
        return module

    straight = fit(search())
    (tmp_path / "middle.ckpt").rename(tmp_path / "kept.ckpt")
    torch.manual_seed(99)
    resumed = fit(search(), ckpt_path=tmp_path / "kept.ckpt")
    assert resumed.state_dict().keys() == straight.state_dict().keys()
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
