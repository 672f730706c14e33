"""Two-stage search: β, then the kept edges, then α; nothing is left to lose at discretisation."""

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from nas_lightning.architecture import SearchSpace
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchPlan, SearchStrategy, one_hot
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import (
    AmendedGradient,
    Backtracking,
    EdgeNormalization,
    ExponentiatedGradient,
    PartialChannels,
    TwoStage,
    Unrolled,
)
from nas_lightning.strategies.two_stage import KeptEdges, strongest
from nas_lightning.supernet import Mixing, NodewiseSoftmax, SimplexEdges
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, TrainerFactory, quiet_trainer
from tests.methods import rest_long
from tests.processes import run_two_processes

CPU = torch.device("cpu")
METHODS: dict[str, tuple[SearchStrategy, ...]] = {
    "darts": (EdgeNormalization(), TwoStage(1)),
    "pcdarts": (TwoStage(1), PartialChannels(2), EdgeNormalization()),
    "gaea": (ExponentiatedGradient(edges=True), TwoStage(1)),
    "amended": (EdgeNormalization(), AmendedGradient(), TwoStage(1)),
    "amended_exact": (EdgeNormalization(), AmendedGradient(exact=True), TwoStage(1)),
    "second_order": (EdgeNormalization(), Unrolled(), TwoStage(1)),
}


class Trace(Callback):
    """Keeps α and β after every batch."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        self.steps.append({n: p.detach().clone() for n, p in pl_module.arch.named().items()})


class Count(SearchStrategy):
    """The number of weights with a gradient after the weight step of each batch."""

    def __init__(self) -> None:
        self.without: list[int] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        self.without.append(sum(p.grad is None for p in pl_module.supernet.parameters()))


def moves(steps: Sequence[dict[str, Tensor]], name: str) -> list[bool]:
    """True for each batch but the first that moved a parameter."""
    return [not torch.equal(a[name], b[name]) for a, b in itertools.pairwise(steps)]


def kept_of(module: SearchModule) -> dict[str, Tensor]:
    return {name.removeprefix("edges.kept_"): value for name, value in module.arch.named_buffers()}


@pytest.mark.parametrize("method", METHODS)
def test_beta_moves_first_then_alpha_and_the_genotype_has_the_kept_edges(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """Two epochs of four batches: β in the first, α in the second."""
    trace = Trace()
    module = make_search(copy.deepcopy(METHODS[method]))
    before = {name: p.detach().clone() for name, p in module.arch.named().items()}
    make_trainer(max_epochs=2, callbacks=[trace]).fit(module, datamodule=search_data)
    steps = [before, *trace.steps]
    for kind in ("normal", "reduce"):
        assert moves(steps, f"beta.{kind}") == [True] * 4 + [False] * 4
        assert moves(steps, f"alpha.{kind}") == [False] * 4 + [True] * 4
    genotype = module.genotype()
    for cell in module.space.cells:
        # the choice of β at the switch, here by sorting each node's weights
        beta = trace.steps[3][f"beta.{cell.kind}"]
        for node, kept in zip(cell.nodes, genotype.cells[cell.kind].nodes, strict=True):
            incoming = cell.incoming(node)
            best = beta[incoming].argsort(descending=True)[:2].tolist()
            assert {k.source for k in kept} == {cell.edges[incoming[i]].source for i in best}
        mask = kept_of(module)[cell.kind]
        assert mask.sum() == 2 * len(cell.nodes)
    assert module.arch.named()["beta.normal"].requires_grad is False


def test_discretising_the_edges_changes_nothing(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """The output with all edges computed, those of the genotype times 1 and the others times 0."""
    module = make_search([EdgeNormalization(), TwoStage(1)])
    make_trainer(max_epochs=2).fit(module, datamodule=search_data)
    x = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        mixing = module.arch()
        found = one_hot(module.space, module.genotype(), CPU)
        module.supernet.eval()
        output = module.supernet(x, mixing)
        assert mixing.active
        # all operations of all edges run here, unlike in the search
        torch.testing.assert_close(output, module.supernet(x, Mixing(mixing.ops, found.edges)))
        # with the operations forced too, it is the network of the genotype, with these weights
        forced = Mixing(found.ops, mixing.edges, mixing.active)
        torch.testing.assert_close(module.supernet(x, forced), module.supernet(x, found))
        # plain edge normalisation has such a gap
        plain = make_search([EdgeNormalization()])
        plain.supernet.eval()
        mixing = plain.arch()
        found = one_hot(plain.space, plain.genotype(), CPU)
        gap = plain.supernet(x, mixing) - plain.supernet(x, Mixing(mixing.ops, found.edges))
        assert gap.abs().max() > 1e-3


def test_operations_of_lost_edges_do_not_run_and_get_no_gradient(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    count = Count()
    module = make_search([EdgeNormalization(), TwoStage(1), count])
    make_trainer(max_epochs=2).fit(module, datamodule=search_data)
    assert count.without[:4] == [0] * 4
    assert len(set(count.without[4:])) == 1
    assert count.without[4] > 0
    assert TwoStage.leaves_parameters_unused


@pytest.mark.parametrize("at", [(0, 1), (0, None), (1, 0), (1, 2)], ids=str)
@pytest.mark.parametrize("method", rest_long(["darts", "gaea", "amended"], keep=["darts"]))
def test_resume_equals_straight_bit_for_bit_across_the_switch(
    method: str,
    at: tuple[int, int | None],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    """Checkpoints within the first stage, at its end, and within the second."""

    class Save(Checkpoint):  # those are called last
        def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
            if (trainer.current_epoch, trainer.fit_loop.batch_idx) == at:
                trainer.save_checkpoint(tmp_path / "a.ckpt")

        def on_train_epoch_end(self, trainer: Trainer, *_: object) -> None:
            if (trainer.current_epoch, None) == at:
                trainer.save_checkpoint(tmp_path / "a.ckpt")

    module = make_search(copy.deepcopy(METHODS[method]))
    trainer = make_trainer(max_epochs=2, callbacks=[Save()], enable_checkpointing=True)
    trainer.fit(module, datamodule=search_data)
    again = make_search(copy.deepcopy(METHODS[method]), seed=99)
    make_trainer(max_epochs=2).fit(
        again, datamodule=search_data, ckpt_path=tmp_path / "a.ckpt", weights_only=True
    )
    for name, value in module.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert again.genotype() == module.genotype()


def test_a_loaded_checkpoint_knows_its_edges_without_a_trainer(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    module = make_search([EdgeNormalization(), TwoStage(1)])
    trainer = make_trainer(max_epochs=2)
    trainer.fit(module, datamodule=search_data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = SearchModule.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert again.arch().active == module.arch().active
    assert again.genotype() == module.genotype()
    assert torch.equal(again.arch().edges["normal"], module.arch().edges["normal"])


def test_ties_go_to_the_lower_index(make_search: SearchFactory) -> None:
    module = make_search([ExponentiatedGradient(edges=True), TwoStage(1)])
    assert strongest(module) == {kind: [0, 1, 2, 3] for kind in ("normal", "reduce")}
    with torch.no_grad():
        module.arch.beta["normal"].copy_(torch.tensor([0.5, 0.5, 0.3, 0.3, 0.4]))
    assert strongest(module)["normal"] == [0, 1, 4, 2]


def test_the_wrapped_relaxation_projects_while_it_is_learned(make_search: SearchFactory) -> None:
    space = make_search([]).space
    cell = space.cells[0]
    kept = KeptEdges(SimplexEdges(), space)
    beta = torch.tensor([2.0, 2.0, 1.0, 1.0, 2.0])
    kept.project_(beta, cell)
    torch.testing.assert_close(beta, torch.tensor([0.5, 0.5, 0.25, 0.25, 0.5]))
    kept.fix({"normal": [0, 1, 2, 4], "reduce": [0, 1, 2, 3]})
    spoilt = torch.full((5,), 3.0)
    kept.project_(spoilt, cell)
    assert torch.equal(spoilt, torch.full((5,), 3.0))
    assert kept.weights(spoilt, cell, CPU).tolist() == [1, 1, 1, 0, 1]
    assert kept.pruned(cell) == {3}


def test_a_node_that_keeps_all_its_edges_gives_them_weight_one() -> None:
    """One node with two inputs: nothing is gone, yet the switch must act."""
    space = DartsSupernet(nodes=1, primitives=PRIMITIVES).space
    kept = KeptEdges(NodewiseSoftmax(), space)
    beta = torch.zeros(2)
    assert kept.weights(beta, space.cells[0], CPU).tolist() == [0.5, 0.5]
    kept.fix({kind: [0, 1] for kind in space.kinds})
    assert kept.weights(beta, space.cells[0], CPU).tolist() == [1, 1]
    assert kept.pruned(space.cells[0]) == set()


def test_cells_that_are_searched_one_by_one(
    make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    lightning.seed_everything(0, verbose=False)
    supernet = DartsSupernet(8, 3, nodes=2, primitives=PRIMITIVES, individual=True)
    module = SearchModule(SPEC, supernet, strategies=[EdgeNormalization(), TwoStage(1)])
    make_trainer(max_epochs=2).fit(module, datamodule=search_data)
    assert {kind: int(mask.sum()) for kind, mask in kept_of(module).items()} == {
        "layer_00_normal": 4,
        "layer_01_reduce": 4,
        "layer_02_reduce": 4,
    }


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        ([TwoStage()], "TwoStage needs a strategy that decides the edge relaxation"),
        ([EdgeNormalization(), Backtracking(), TwoStage()], "TwoStage .* Backtracking"),
        ([TwoStage(), EdgeNormalization(), Backtracking()], "TwoStage .* Backtracking"),
    ],
)
def test_what_it_cannot_go_with(
    strategies: list[SearchStrategy], message: str, make_search: SearchFactory
) -> None:
    with pytest.raises(UsageError, match=message):
        make_search(strategies)


def test_a_space_that_keeps_all_edges_is_refused() -> None:
    cells = DartsSupernet(nodes=2).space.cells
    space = SearchSpace("whole", cells, None, frozenset({"skip_connect"}))
    with pytest.raises(UsageError, match="'whole' keeps all of them"):
        SearchPlan(space, [EdgeNormalization(), TwoStage()])
    with pytest.raises(UsageError, match="at least 1, found 0"):
        TwoStage(0)


def search(folder: Path) -> None:
    """The work of each of two processes."""
    lightning.seed_everything(0, verbose=False)
    data = Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=64, test_size=16, batch_size=8
    )
    supernet = DartsSupernet(channels=8, layers=3, nodes=2, primitives=PRIMITIVES)
    strategies: list[SearchStrategy] = [EdgeNormalization(), AmendedGradient(), TwoStage(1)]
    module = SearchModule(SPEC, supernet, strategies=strategies)
    trainer = quiet_trainer(
        devices=2,
        strategy="ddp_find_unused_parameters_true",
        max_epochs=2,
    )
    trainer.fit(module, datamodule=data)
    torch.save(module.state_dict(), folder / f"{trainer.global_rank}.pt")


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_fix_the_same_edges(tmp_path: Path) -> None:
    run_two_processes("tests.strategies.test_two_stage", "search", tmp_path)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert one["arch.edges.kept_normal"].sum() == 4
    for name, value in one.items():
        assert torch.equal(value, two[name]), name
