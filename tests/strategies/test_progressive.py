"""The two stages: removed operations, the first weights of the second stage, and exact resume."""

import pickle
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import DartsSupernet, NasBench201Supernet
from nas_lightning.strategies import (
    DrNAS,
    EdgeNormalization,
    PartialChannels,
    ProgressiveChannels,
    ReferenceCell,
    WarmUp,
)
from nas_lightning.strategies.progressive import strongest
from nas_lightning.supernet.reference import MixedEdge
from nas_lightning.supernet.widening import WideningEdges
from tests.conftest import SPEC, SearchFactory, quiet_trainer
from tests.methods import rest_long
from tests.recorded import data, same

RUN: dict[str, Any] = {"precision": "64-true", "limit_train_batches": 2, "limit_val_batches": 0}


class Watch(SearchStrategy):
    """Keeps α, weights and masks after each batch, and saves checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.alpha: list[dict[str, Tensor]] = []
        self.weights: list[dict[str, Tensor]] = []
        self.kept: list[dict[str, Tensor]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        module: Any = pl_module
        self.alpha.append({n: p.detach().clone() for n, p in module.arch.named().items()})
        supernet = module.supernet.named_parameters()
        self.weights.append({n: p.detach().clone() for n, p in supernet})
        if module.arch.survivors is not None:
            self.kept.append({k: module.arch.survivors.kept(k).clone() for k in module.space.kinds})
        trainer.save_checkpoint(self.folder / f"{trainer.global_step // 2}.ckpt")


def module(*strategies: SearchStrategy, seed: int = 0) -> SearchModule:
    lightning.seed_everything(seed, verbose=False)
    supernet = DartsSupernet(
        channels=12,
        layers=3,
        nodes=2,
        primitives=("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3"),
    )
    return SearchModule(SPEC, supernet, strategies=list(strategies))


def samples() -> Synthetic:
    """The same images, whatever has been seeded before."""
    lightning.seed_everything(0, verbose=False)
    return data()


def two_stages(**settings: Any) -> ProgressiveChannels:
    given = {"first_epochs": 2, "keep": 2, "k": 4, "wide_k": 3, "warmup": 0, **settings}
    return ProgressiveChannels(**given)


class EndOfEpoch(Checkpoint):
    """Saves a checkpoint after each epoch, when the schedules have been stepped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.folder / f"end_{trainer.current_epoch}.ckpt")


def searched(folder: Path, *strategies: SearchStrategy, epochs: int = 3) -> tuple[Any, Watch]:
    watch = Watch(folder)
    found = module(*strategies, watch)
    settings = {**RUN, "max_epochs": epochs, "callbacks": [EndOfEpoch(folder)]}
    settings["enable_checkpointing"] = True
    quiet_trainer(default_root_dir=folder, **settings).fit(found, datamodule=samples())
    return found, watch


def test_the_first_stage_is_a_search_with_partial_channels(tmp_path: Path) -> None:
    _, staged = searched(tmp_path, two_stages(), DrNAS(), epochs=2)
    _, plain = searched(tmp_path, PartialChannels(4), DrNAS(), epochs=2)
    assert same(staged.alpha, plain.alpha)
    for weights, expected in zip(staged.weights, plain.weights, strict=True):
        narrow = {n.replace(".narrow", ""): v for n, v in weights.items() if ".wide" not in n}
        assert same([narrow], [expected])


def test_the_second_stage_has_the_best_operations_on_more_channels(tmp_path: Path) -> None:
    found, watch = searched(tmp_path, two_stages(), DrNAS())
    before, after = watch.weights[3], watch.weights[4]
    wide = {n for n in before if ".wide." in n}
    narrow = {n for n in before if ".narrow." in n}
    # the first stage leaves the wide weights alone, the second the narrow ones
    for step, still in ((1, wide), (2, wide), (3, wide), (4, narrow), (5, narrow)):
        assert all(torch.equal(watch.weights[step][n], watch.weights[step - 1][n]) for n in still)
    assert all(bool(mask.all()) for mask in watch.kept[3].values())
    for kind, mask in watch.kept[4].items():
        assert torch.equal(mask, strongest(watch.alpha[3][f"alpha.{kind}"], 2))
        gone = ~mask
        for alpha in watch.alpha[4:]:
            assert torch.equal(alpha[f"alpha.{kind}"][gone], watch.alpha[3][f"alpha.{kind}"][gone])
            moved = alpha[f"alpha.{kind}"][mask] != watch.alpha[3][f"alpha.{kind}"][mask]
            assert moved.all()
    # of the operations that run, new channels learn, and other things than those that they copy
    edges = next(m for m in found.supernet.modules() if isinstance(m, WideningEdges))
    channels = [part.channels for part in edges.now.modules() if isinstance(part, MixedEdge)]
    assert channels == [4] * 5
    learned = 0
    for name in wide:
        if "cells.0" in name and after[name].dim() == 4 and "ops.2" in name:
            edge = int(name.split(".wide.")[1].split(".")[0])
            if bool(watch.kept[4]["normal"][edge, 2]):
                kernels = watch.weights[5][name]
                assert not torch.equal(kernels[3], before[name][3])
                # a channel and its copy, also inside of the operation
                assert not torch.allclose(kernels[0], kernels[3], rtol=1e-6)
                learned += 1
    assert learned


def test_the_strongest_operations_are_kept_and_ties_go_to_the_first() -> None:
    weights = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25]])
    expected = [[False, True, False, True], [True, True, False, False]]
    assert strongest(weights, 2).tolist() == expected


def test_each_stage_begins_with_a_warm_up(tmp_path: Path) -> None:
    strategy = two_stages(warmup=1)
    _, watch = searched(tmp_path, strategy, epochs=4)
    assert strategy.alpha_from == 1
    moved = [not same([a], [b]) for a, b in zip(watch.alpha, watch.alpha[1:], strict=False)]
    # batches 2 and 3 are those of the second epoch, 6 and 7 those of the fourth
    assert moved == [False, True, True, False, False, True, True]
    _, warm = searched(tmp_path, WarmUp(1), PartialChannels(4), epochs=4)
    assert same(watch.alpha[:4], warm.alpha[:4])


@pytest.mark.parametrize("at", rest_long(["end_0", "3", "end_1", "5"], keep=["3", "end_1", "5"]))
def test_resume_equals_straight_around_the_change(at: str, tmp_path: Path) -> None:
    first = two_stages()
    whole, _ = searched(tmp_path, first, EdgeNormalization(), DrNAS())
    again = module(two_stages(), EdgeNormalization(), DrNAS(), Watch(tmp_path / "x"), seed=9)
    again.double()
    trainer = quiet_trainer(default_root_dir=tmp_path, max_epochs=3, **RUN)
    path = tmp_path / f"{at}.ckpt"
    trainer.fit(again, datamodule=samples(), ckpt_path=path, weights_only=True)
    states = whole.state_dict(), again.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_loaded_checkpoint_is_in_its_stage(tmp_path: Path) -> None:
    searched(tmp_path, two_stages(), DrNAS())
    for step, wide in (("4", False), ("5", True)):
        loaded = SearchModule.load_from_checkpoint(tmp_path / f"{step}.ckpt", weights_only=True)
        edges = [m for m in loaded.supernet.modules() if isinstance(m, WideningEdges)]
        assert edges
        assert all(each.wide_now == wide for each in edges)


def test_a_search_with_both_stages_is_picklable() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = module(two_stages())
    assert torch.equal(pickle.loads(pickle.dumps(found))(x), found(x))


@pytest.mark.parametrize("second", [False, True])
def test_both_stages_run_in_the_fast_cell_as_in_the_reference_cell(second: bool) -> None:
    outputs = []
    for execution in ([], [ReferenceCell()]):
        strategy = two_stages()
        search = module(strategy, *execution).double()
        strategy.load_state_dict({"second": second})
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
        outputs.append(search(x))
    torch.testing.assert_close(*outputs)


def test_without_widening_operations_are_removed_alone(tmp_path: Path) -> None:
    for given in ({"k": 1, "wide_k": 1}, {"k": 2, "wide_k": 2}):
        found, watch = searched(tmp_path, two_stages(first_epochs=1, **given), epochs=2)
        assert not any(isinstance(m, WideningEdges) for m in found.supernet.modules())
        assert [int(mask.sum()) for mask in watch.kept[-1].values()] == [10, 10]


def test_it_works_in_nas_bench_201(tmp_path: Path) -> None:
    strategy = ProgressiveChannels(first_epochs=1, keep=3, k=4, wide_k=2, warmup=0)
    search = SearchModule(SPEC, NasBench201Supernet(8, 1), strategies=[strategy, DrNAS()])
    trainer = quiet_trainer(default_root_dir=tmp_path, max_epochs=2, **RUN)
    trainer.fit(search, datamodule=samples())
    assert search.arch.survivors is not None
    assert search.arch.survivors.kept("cell").sum(1).tolist() == [3] * 6


def test_what_does_not_fit_is_refused(make_search: SearchFactory) -> None:
    with pytest.raises(UsageError, match="wide_k must be at most k, which is 4, found 6"):
        ProgressiveChannels(k=4, wide_k=6)
    with pytest.raises(UsageError, match="keep must be at most 4, the number of operations"):
        make_search([ProgressiveChannels(keep=5, k=4, wide_k=2)])
    with pytest.raises(UsageError, match="ProgressiveChannels and PartialChannels both decide"):
        make_search([ProgressiveChannels(k=4, wide_k=2), PartialChannels(2)])
    with pytest.raises(UsageError, match="K = 3 must divide the 8 channels"):
        make_search([ProgressiveChannels(k=4, wide_k=3)])
