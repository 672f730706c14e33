"""DARTS+: when it stops, its genotype, and that a resumed search stops at the same place."""

from collections.abc import Callable
from pathlib import Path

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import DartsPlus, WarmUp
from tests.conftest import SPEC, TrainerFactory

PRIMITIVES = ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
SKIP, SEP, DIL = 1, 2, 3


class Script(SearchStrategy):
    """Sets α of the normal cell (5, 4) at the end of every epoch; that of the other stays equal."""

    def __init__(self, alpha: Callable[[int], Tensor]) -> None:
        self.alpha = alpha

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        pl_module.arch.alpha["normal"].copy_(self.alpha(trainer.current_epoch))
        pl_module.arch.alpha["reduce"].zero_()


def rows(*best: int) -> Tensor:
    """α (5, 4) with the given best operation on each edge."""
    return torch.eye(4)[list(best)]


def skips(epoch: int) -> Tensor:
    """As many skip connections as the epoch's number, on edges that are kept."""
    return rows(*(SKIP if edge < epoch else SEP for edge in range(4)), 0)


def settling(epoch: int) -> Tensor:
    """Two orders of the learned operations, then one; skip and `none` change all the time."""
    alpha = rows(*([DIL] * 5 if epoch == 0 else [SEP] * 5))
    alpha[:, SKIP] = (-1) ** epoch * 2.0
    alpha[:, 0] = epoch
    return alpha


def search(*strategies: SearchStrategy, alpha: Callable[[int], Tensor]) -> SearchModule:
    lightning.seed_everything(0, verbose=False)
    factory = DartsSupernet(channels=8, layers=3, nodes=2, primitives=PRIMITIVES)
    module = SearchModule(SPEC, factory, strategies=list(strategies))
    module.strategies.append(Script(alpha))  # after the check of hyper-parameters: not recorded
    return module


@pytest.mark.parametrize("number", [1, 2, 3])
def test_it_stops_in_the_epoch_with_so_many_skips_and_returns_its_cells(
    number: int, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module = search(DartsPlus(skips=number), alpha=skips)
    trainer = make_trainer(max_epochs=6, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    assert trainer.current_epoch == number + 1  # epochs that ran, counted from 0
    assert module.genotype().count("skip_connect", "normal") == number


def test_it_stops_when_the_order_of_learned_operations_has_settled(
    make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """One order in epoch 0, another from 1 on: found unchanged at the ends of epochs 2, 3, 4."""
    trainer = make_trainer(max_epochs=9, limit_train_batches=1, limit_val_batches=0)
    module = search(DartsPlus("ranking", stable_epochs=3), alpha=settling)
    trainer.fit(module, datamodule=search_data)
    assert trainer.current_epoch == 5
    assert float(trainer.callback_metrics["darts_plus/unchanged"]) == 3


@pytest.mark.parametrize(
    ("rule", "alpha", "last"),
    [(DartsPlus(skips=2), skips, 4), (DartsPlus("ranking", stable_epochs=1), settling, 5)],
)
def test_a_warm_up_is_not_looked_at(
    rule: DartsPlus,
    alpha: Callable[[int], Tensor],
    last: int,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    """In four epochs of warm-up both rules would have stopped."""
    trainer = make_trainer(max_epochs=9, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(search(rule, WarmUp(4), alpha=alpha), datamodule=search_data)
    assert trainer.current_epoch == last + 1


def test_a_resumed_search_stops_in_the_same_epoch_and_then_stays_stopped(
    make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
            if (trainer.current_epoch, trainer.fit_loop.batch_idx) == (3, 1):
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    def fit(checkpoint: str | None, *callbacks: Callback) -> Trainer:
        trainer = make_trainer(max_epochs=9, limit_val_batches=0, callbacks=list(callbacks))
        trainer.fit(
            search(DartsPlus("ranking", stable_epochs=3), alpha=settling),
            datamodule=search_data,
            ckpt_path=None if checkpoint is None else tmp_path / checkpoint,
            weights_only=True if checkpoint else None,
        )
        return trainer

    assert fit(None, Save()).current_epoch == 5
    resumed = fit("middle.ckpt")
    assert resumed.current_epoch == 5
    resumed.save_checkpoint(tmp_path / "stopped.ckpt")
    again = fit("stopped.ckpt")
    assert (again.current_epoch, again.global_step) == (5, resumed.global_step)


def test_a_space_without_that_cell_is_refused() -> None:
    with pytest.raises(
        UsageError, match="counts in the dense cell, but the space 'darts' has normal"
    ):
        search(DartsPlus(kind="dense"), alpha=skips)
    search(DartsPlus("ranking", kind="dense"), alpha=skips)  # looks at all cells


@pytest.mark.parametrize("arguments", [{"skips": 0}, {"stable_epochs": 0}])
def test_numbers_must_be_positive(arguments: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must be at least 1"):
        DartsPlus(**arguments)  # type: ignore[arg-type]
