"""Perturbation-based selection: strengths, the order of decisions, and another implementation."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from scipy.stats import kendalltau
from torch import Tensor, nn

from nas_lightning.architecture import SearchSpace
from nas_lightning.data import Synthetic
from nas_lightning.randomness import mix_seed
from nas_lightning.search import SearchModule, SearchPlan, SearchStrategy, one_hot
from nas_lightning.spaces import DartsSpace, DartsSupernet, NasBench201Space, NasBench201Supernet
from nas_lightning.strategies import (
    EdgeNormalization,
    KeepOperations,
    PerturbationSelection,
)
from nas_lightning.strategies.decisions import (
    count_passes,
    count_rounds,
)
from nas_lightning.supernet import Supernet
from nas_lightning.supernet.reference import MixedEdge
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, TrainerFactory

CPU = torch.device("cpu")
# the tiny supernet has 5 edges, and one node with more edges than a genotype keeps
ROUNDS = 6


def all_kept(space: SearchSpace) -> dict[str, Tensor]:
    """Masks (E, O) under which everything runs."""
    return {
        cell.kind: torch.ones(len(cell.edges), len(cell.primitives), dtype=torch.bool)
        for cell in space.cells
    }


def decisions(module: SearchModule) -> list[dict[str, Any]]:
    """The decisions in the provenance of the genotype."""
    found: list[dict[str, Any]] = module.genotype().provenance["selection"]["decisions"]
    return found


# -- counts ----------------------------------------------------------------------------------------


def test_the_space_of_darts_takes_17_rounds_and_81_epochs() -> None:
    """5 · (14 + 3 - 1) + 1 epochs, as in the released code."""
    space = DartsSpace(primitives=DartsSpace().primitives[1:])  # without `none`
    assert count_rounds(space, all_kept(space)) == (14, 3)
    # each edge whole and without each of 7; 3, then 4 and 3, then 5, 4 and 3 edges to remove
    assert count_passes(space, all_kept(space)) == 2 * (14 * 8 + 3 + 7 + 12) == 268
    module = SearchModule(SPEC, DartsSupernet(8, 3), strategies=[PerturbationSelection()])
    assert module.ending_epochs == 81


def test_nas_bench_201_selects_operations_only() -> None:
    space = NasBench201Space()
    assert count_rounds(space, all_kept(space)) == (6, 0)
    assert count_passes(space, all_kept(space)) == 6 * (1 + 5)  # `none` is a candidate there
    strategy = PerturbationSelection(tuning_epochs=2)
    module = SearchModule(SPEC, NasBench201Supernet(4, 1), strategies=[strategy])
    assert module.ending_epochs == strategy.epochs == 2 * 5 + 1


def test_edges_with_one_candidate_are_not_decided(make_search: SearchFactory) -> None:
    given: dict[str, Any] = {"normal": {"0-2": ["skip_connect"], "1-2": ["skip_connect"]}}
    keep = KeepOperations(candidates=given)
    strategy = PerturbationSelection(tuning_epochs=2)
    assert make_search([strategy, keep]).ending_epochs == 2 * (ROUNDS - 1) + 1
    both: dict[str, Any] = {"normal": ["skip_connect"], "reduce": {"0-2": ["skip_connect"]}}
    keep = KeepOperations(candidates=both)
    strategy = PerturbationSelection(tuning_epochs=2)
    assert make_search([strategy, keep]).ending_epochs == 2 * (4 + 1 - 1) + 1


# -- what wins -------------------------------------------------------------------------------------


class OnlyOne(SearchStrategy):
    """Makes the outputs of all operations but one zero."""

    def __init__(self, name: str) -> None:
        self.name = name

    def configure(self, plan: SearchPlan) -> None:
        plan.alter_supernet(self.silenced, by=self)

    def silenced(self, supernet: Supernet) -> Supernet:
        for edge in list(supernet.modules()):
            if isinstance(edge, MixedEdge):
                for m, op in enumerate(edge.ops):
                    if PRIMITIVES[m] != self.name:
                        edge.ops[m] = Silent(op)
        return supernet


class Silent(nn.Module):
    """An operation with an output of zero."""

    def __init__(self, op: nn.Module) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :, ::2, ::2] if self._halves(x) else x)

    def _halves(self, x: Tensor) -> bool:
        return bool(self.op(x).shape[2] != x.shape[2])


@pytest.mark.parametrize(
    "name", ["max_pool_3x3", pytest.param("sep_conv_3x3", marks=pytest.mark.long)]
)
def test_the_only_operation_with_an_output_wins(
    name: str, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """Measured by the loss, which the others do not change at all."""
    strategy = PerturbationSelection(tuning_epochs=0, metric="loss")
    module = make_search([OnlyOne(name), strategy])
    trainer = make_trainer(max_epochs=2, limit_train_batches=2, limit_val_batches=1)
    trainer.fit(module, datamodule=search_data)
    # the first decisions: later ones may be about edges whose nodes were already cut off
    for decision in decisions(module)[:2]:
        strengths = decision["strengths"]
        assert all(abs(value) < 1e-6 for key, value in strengths.items() if key != name)
        assert (decision["operation"] == name) == (strengths[name] > 0)
        assert strengths[name] != 0


def test_magnitude_is_the_argmax_of_alpha_with_darts_edges(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """Without tuning it is the discretisation of DARTS, and measures nothing."""
    strategy = PerturbationSelection("magnitude", tuning_epochs=0)
    module = make_search([EdgeNormalization(), strategy])
    plain = make_search([EdgeNormalization()])
    make_trainer(max_epochs=3, limit_val_batches=0).fit(module, datamodule=search_data)
    trainer = make_trainer(max_epochs=2, limit_val_batches=0)
    trainer.fit(plain, datamodule=search_data)
    found, expected = module.genotype(), plain.genotype()
    for kind in ("normal", "reduce"):
        for node, other in zip(found.cells[kind].nodes, expected.cells[kind].nodes, strict=True):
            assert set(node) == set(other)


class Logged(Callback):
    """Keeps the agreement that was logged, by epoch."""

    def __init__(self) -> None:
        self.found: dict[int, float] = {}

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        trainer.callback_metrics.pop("perturbation/agreement", None)  # of the epoch before

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (value := trainer.callback_metrics.get("perturbation/agreement")) is not None:
            self.found[trainer.current_epoch] = float(value)


def test_the_agreement_of_strengths_and_weights_is_logged(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """Of the decisions of each epoch, against SciPy; those without any agreement are left out."""
    logged = Logged()
    module = make_search([PerturbationSelection(tuning_epochs=1, metric="loss")])
    settings: dict[str, Any] = {"limit_train_batches": 1, "limit_val_batches": 1}
    trainer = make_trainer(max_epochs=ROUNDS + 1, callbacks=[logged], **settings)
    trainer.fit(module, datamodule=search_data)
    expected: dict[int, list[float]] = {}
    for one in decisions(module):
        if "strengths" in one:
            rows = [list(one[name].values()) for name in ("strengths", "weights")]
            expected.setdefault(one["epoch"], []).append(float(kendalltau(*rows).statistic))
    assert list(logged.found) == list(expected) == [1, 2, 3, 4, 5]
    for epoch, values in expected.items():
        assert logged.found[epoch] == pytest.approx(sum(values) / len(values), abs=1e-6)


@pytest.mark.parametrize("blank", [False, True])
def test_the_genotype_is_what_is_left(
    blank: bool, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module = make_search([PerturbationSelection(tuning_epochs=1, blank=blank)])
    before = {name: value.detach().clone() for name, value in module.arch.named().items()}
    epochs = ROUNDS + 1
    trainer = make_trainer(max_epochs=epochs, limit_train_batches=1, limit_val_batches=1)
    trainer.fit(module, datamodule=search_data)
    assert all(torch.equal(v, before[n]) == blank for n, v in module.arch.named().items())
    taken = decisions(module)
    assert [one["epoch"] for one in taken] == [e for e in range(1, 7) for _ in range(2)]
    removed = {(one["kind"], one["removed"]) for one in taken if "removed" in one}
    kept = {
        (one["kind"], one["edge"]): one["operation"] for one in taken if "operation" in one
        and (one["kind"], one["edge"]) not in removed
    }  # fmt: skip
    genotype, discrete = module.genotype(), one_hot(module.space, module.genotype(), CPU)
    for cell in module.space.cells:
        nodes = zip(cell.nodes, genotype.cells[cell.kind].nodes, strict=True)
        names = {f"{k.source}-{node}": k.primitive for node, row in nodes for k in row}
        assert names == {edge: op for (kind, edge), op in kept.items() if kind == cell.kind}
        # the supernet is the discrete network, exactly
        assert torch.equal(module.arch().ops[cell.kind], discrete.ops[cell.kind])
        assert module.arch().active[cell.kind] == tuple(
            tuple(torch.nonzero(row)[:, 0].tolist()) for row in discrete.ops[cell.kind]
        )
    assert "none" not in kept.values()


# -- another implementation ------------------------------------------------------------------------


class Accuracy(Callback):
    """Selects as the paper says, in plain loops, at the start of the second epoch.

    It works on a copy of the mixing weights, without anything of the strategy.
    """

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module = pl_module
        assert isinstance(module, SearchModule)
        if trainer.current_epoch != 1 or self.found:
            return
        batches = list(trainer.datamodule.val_dataloader())  # type: ignore[attr-defined]
        mixing = module.arch().detach()
        ops = {kind: weights.clone() for kind, weights in mixing.ops.items()}

        def right(changed: dict[str, Tensor]) -> int:
            with torch.no_grad():
                return sum(
                    int((module.supernet(x, replace(mixing, ops=changed)).argmax(1) == y).sum())
                    for x, y in batches
                )

        open_edges = {kind: list(range(5)) for kind in ops}
        for turn in range(6):
            generator = torch.Generator()
            generator.manual_seed(mix_seed(module.draw_seed, 1, -1 - turn))
            for cell in module.space.cells:
                kind = cell.kind
                if turn < 5:
                    at = int(torch.randint(len(open_edges[kind]), (), generator=generator))
                    edge = open_edges[kind].pop(at)
                    scores = []
                    for m in (1, 2, 3):  # without `none`
                        changed = ops[kind].clone()
                        changed[edge, m] = 0
                        scores.append(right({**ops, kind: changed}))
                    best = 1 + scores.index(min(scores))
                    ops[kind][edge] = 0
                    ops[kind][edge, best] = 1
                    self.found.append((str(cell.edges[edge]), PRIMITIVES[best]))
                else:
                    torch.randint(1, (), generator=generator)
                    left = {}
                    for edge in (2, 3, 4):
                        changed = ops[kind].clone()
                        changed[edge] = 0
                        left[edge] = right({**ops, kind: changed})
                    gone = max(left, key=lambda e: (left[e], e))
                    ops[kind][gone] = 0
                    self.found.append((str(cell.edges[gone]), "removed"))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_another_implementation_decides_the_same(
    seed: int, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    """All rounds at once, so that nothing is trained between them."""
    data = Synthetic(in_channels=3, num_classes=4, image_size=8, train_size=48, test_size=8,
                     batch_size=16)  # fmt: skip
    other = Accuracy()
    module = make_search([PerturbationSelection(tuning_epochs=0)], seed=seed)
    trainer = make_trainer(max_epochs=2, callbacks=[other])
    trainer.fit(module, datamodule=data)
    names = [
        (one["edge"], one["operation"]) if "edge" in one else (one["removed"], "removed")
        for one in decisions(module)
    ]
    assert names == other.found
    assert len(names) == 12
