"""CDARTS: its steps against autograd, its cycles in a run, and runs resumed at any point of one."""

import copy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.architecture import random_genotype
from nas_lightning.callbacks.cell_agreement import CellAgreement
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.search.own_network import learned
from nas_lightning.spaces import DartsSupernet
from nas_lightning.spaces.darts.supernet import CellSupernet
from nas_lightning.strategies import CDARTS, ReferenceCell
from nas_lightning.strategies.cdarts.evaluation import evaluation_network
from tests.conftest import PRIMITIVES, SPEC, quiet_trainer
from tests.contract.test_methods import assert_equal
from tests.recorded import Recording, data, run, search
from tests.strategies.test_cdarts import network_of, small

FIXED = {"max_pool_3x3", "skip_connect"}
PHASES = CDARTS(3, pretrain_epochs=1, warmup_epochs=1, joint_epochs=1, learn_heads=True)
"""Epoch 0 trains the supernet; 1 and 3 the evaluation network; 2 and 4 both."""


class Gradients(SearchStrategy):
    """Keeps the gradients of the first joint step: of α, and of the evaluation network."""

    def __init__(self) -> None:
        self.alpha: dict[str, Tensor] = {}

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        self.alpha = self.alpha or {n: g.clone() for n, g in step.gradients.items()}


def by_hand(
    module: SearchModule, half: Any, strategy: CDARTS, through: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """The joint loss, and its gradients by name; E is a constant unless `through` is `both`."""
    network = evaluation_network(module.networks)
    supernet = cast("CellSupernet", module.supernet)
    images, labels = half
    logits: list[list[Tensor]] = []
    for stack, mixing in ((supernet, module.arch()), (network.stack, network.mixing())):
        states = list(stack.outputs(*stack.stem(images), mixing))
        at = [i for i, kind in enumerate(stack.kinds) if kind == "reduce"]
        inner = [head(states[i]) for head, i in zip(network.heads, at, strict=True)]
        logits.append([*inner, stack.head(states[-1])])
    if through == "search":
        logits[1] = [part.detach() for part in logits[1]]
    shares = network.shares.softmax(0)
    one, two = (
        sum((s * part for s, part in zip(shares, each, strict=True)), torch.zeros(()))
        for each in logits
    )
    losses = [F.cross_entropy(each[-1], labels) for each in logits]
    loss = sum(losses) / 2 + 2 * 9 * F.mse_loss(one, two)
    for kind, alpha in module.arch.alpha.items():
        names = module.space.cell(kind).primitives
        columns = [m for m, name in enumerate(names) if name in FIXED]
        loss = loss + 3 * strategy.coefficient * alpha[:, columns].abs().sum()
    named = {n: p for n, p in module.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return loss, {n: g for n, g in zip(named, found, strict=True) if g is not None}


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_the_joint_step_is_that_of_autograd(clip: float, tmp_path: Path) -> None:
    """α sees the evaluation network as a constant. All gradients are clipped together."""
    strategy = small(
        distance="mse", temperature=3.0, balance=2.0, join="sum", coefficient=0.1, clip=clip
    )
    gradients = Gradients()
    module = search([strategy, gradients, ReferenceCell()])
    module.double()
    before: dict[str, Tensor] = {}
    expected: dict[str, dict[str, Tensor]] = {}

    class Look(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
        ) -> None:
            module.train()
            for through in ("both", "search"):
                expected[through] = by_hand(module, batch["val"], strategy, through)[1]
            before.update({n: p.detach().clone() for n, p in module.named_parameters()})

    class After(SearchStrategy):
        def on_weight_gradients(self, module: Any) -> None:
            """Between the joint step and the weight step."""
            after.update({n: p.detach().clone() for n, p in module.named_parameters()})

    after: dict[str, Tensor] = {}
    module.strategies.append(After())
    trainer = quiet_trainer(
        precision="64-true", limit_train_batches=1, limit_val_batches=0, callbacks=[Look()],
        default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, datamodule=data())
    both, through_search = expected["both"], expected["search"]
    squares = sum(float(g.square().sum()) for g in both.values())
    scale = min(1.0, clip / (squares**0.5 + 1e-6)) if clip else 1.0
    assert (scale < 1) == bool(clip)
    for name, gradient in gradients.alpha.items():
        torch.testing.assert_close(both[f"arch.{name}"], through_search[f"arch.{name}"])
        torch.testing.assert_close(gradient, scale * both[f"arch.{name}"])
    own = [n for n in both if n.startswith(("networks.", "supernet.stem."))]
    for name in own:  # SGD's first step: rate · (gradient + decay · value)
        step = strategy.rate * (scale * both[name] + strategy.weight_decay * before[name])
        torch.testing.assert_close(after[name], before[name] - step)
    still = [n for n in after if n.startswith("supernet.") and "stem" not in n]
    assert {n for n in still if n in both}  # they have gradients
    assert all(torch.equal(after[n], before[n]) for n in still)
    # the weight step moves the stem too, and decays heads and shares
    last = dict(module.named_parameters())
    assert all(not torch.equal(last[n], after[n]) for n in own if n.startswith("supernet.stem."))
    decayed = [n for n in own if "heads" in n or "shares" in n]
    assert len(decayed) == 2 * 4 + 1
    for name in decayed:
        torch.testing.assert_close(last[name], after[name] * (1 - 0.025 * 3e-4), rtol=1e-12, atol=0)
    stack = [n for n in own if ".stack." in n]
    assert all(torch.equal(last[n], after[n]) for n in stack)


class Watch(Callback):
    """Keeps everything at the start of each epoch, and the states of the optimizers."""

    def __init__(self) -> None:
        self.values: list[dict[str, Tensor]] = []
        self.momenta: list[list[float]] = []
        self.active: list[Any] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx:
            return
        self.keep(trainer, pl_module)
        found = []
        for optimizer in trainer.optimizers:
            tensors = [t for s in optimizer.state.values() for t in s.values()]
            found.append(max((float(abs(t).max()) for t in tensors), default=0.0))
        self.momenta.append(found)

    def keep(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, SearchModule)
        self.values.append({n: v.detach().clone() for n, v in module.named_parameters()})
        self.active.append(evaluation_network(module.networks).mixing().active)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.keep(trainer, pl_module)


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The parts of which something has changed."""
    changed = [n for n in before if not torch.equal(before[n], after[n])]
    own = [f"networks.cdarts.{part}" for part in ("stack", "heads", "shares")]
    parts = ["supernet.stem", "supernet.cells", "supernet.head", "arch.alpha", *own]
    return {part for part in parts for n in changed if n.startswith(part)}


def test_each_epoch_moves_its_parts_and_each_cycle_starts_afresh(tmp_path: Path) -> None:
    watch = Watch()
    settings = {"max_epochs": 5, "limit_train_batches": 2, "precision": "32-true"}
    found = run([copy.deepcopy(PHASES)], tmp_path, watch, **settings)
    search_parts = {"supernet.stem", "supernet.cells", "supernet.head"}
    own = {"networks.cdarts.stack"}
    expected = [
        search_parts,
        own | {"supernet.stem"},
        search_parts | own | {"arch.alpha", "networks.cdarts.heads", "networks.cdarts.shares"},
        own | {"supernet.stem"},
        search_parts | own | {"arch.alpha", "networks.cdarts.heads", "networks.cdarts.shares"},
    ]
    pairs = zip(watch.values, watch.values[1:], strict=False)
    assert [moved(before, after) for before, after in pairs] == expected
    # optimizers of the weights, of α and of the evaluation network at the start of each epoch
    has_moments = [[m > 0 for m in each] for each in watch.momenta]
    assert has_moments == [
        [False] * 3,
        [False] * 3,  # the first cycle begins
        [False, False, True],
        [False] * 3,  # the second one
        [False, False, True],
    ]
    assert watch.active[1] == watch.active[2]
    assert watch.active[3] == watch.active[4]
    rates = found.trainer.lr_scheduler_configs[2].scheduler._last_lr
    assert rates == [PHASES.rate]
    logged = found.trainer.callback_metrics
    assert {"cdarts/evaluation_loss", "cdarts/distillation", "cdarts/regulariser"} <= set(logged)


def test_weights_wait_while_their_operations_are_not_chosen() -> None:
    """As if they were copied out of a pool for a cycle, and back after it."""
    module = search([small()])
    network = network_of(module, seed=0)
    genotypes = [random_genotype(module.space, seed=seed) for seed in (0, 1)]
    chosen = []
    for genotype in genotypes:
        network.begin(0, genotype)
        chosen.append(dict(network.mixing().active))
    assert chosen[0] != chosen[1]
    optimizer = small().optimizer(learned(network))
    before = copy.deepcopy(network.state_dict())
    for _ in range(2):  # in the second step momentum moves too
        optimizer.zero_grad()
        network(torch.randn(4, 3, 8, 8)).square().sum().backward()
        optimizer.step()
    cells: list[Any] = list(network.stack.cells)
    alone, learns = 0, 0
    for i, (cell, kind) in enumerate(zip(cells, network.stack.kinds, strict=True)):
        for e, edge in enumerate(cell.edges):
            for m, op in enumerate(edge.ops):
                for name, weight in op.named_parameters():
                    kept = before[f"stack.cells.{i}.edges.{e}.ops.{m}.{name}"]
                    assert torch.equal(weight, kept) == (m not in chosen[1][kind][e])
                    alone += m in chosen[0][kind][e] and m not in chosen[1][kind][e]
                    learns += m in chosen[1][kind][e]
    assert alone
    assert learns
    network.begin(2, genotypes[0])
    assert network.mixing().active == chosen[0]


POINTS = {"pretraining": (0, 0), "warm-up": (1, 0), "joint": (2, 0), "a new cycle": (3, 0)}
"""Epoch and batch after which a checkpoint is saved."""


class SaveAt(Checkpoint):
    """Saves a checkpoint after the batch of each point, and at the end of a cycle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        place = trainer.current_epoch, trainer.fit_loop.batch_idx
        for name in [name for name, point in POINTS.items() if point == place]:
            trainer.save_checkpoint(self.folder / f"{name}.ckpt")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 2:
            trainer.save_checkpoint(self.folder / "the end of a cycle.ckpt")


SETTINGS: dict[str, Any] = {"max_epochs": 5, "limit_train_batches": 2, "limit_val_batches": 0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, Path]:
    """An uninterrupted run, and its checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    strategies = [copy.deepcopy(PHASES)]
    settings = {**SETTINGS, "precision": "32-true", "enable_checkpointing": True}
    return run(strategies, folder, SaveAt(folder), **settings), folder


@pytest.mark.parametrize("point", [*POINTS, "the end of a cycle"])
def test_resume_equals_straight_bit_for_bit(point: str, whole: tuple[Recording, Path]) -> None:
    found, folder = whole
    again = search([copy.deepcopy(PHASES)], seed=99)
    trainer = quiet_trainer(default_root_dir=folder, **SETTINGS)
    trainer.fit(again, datamodule=found.data, ckpt_path=folder / f"{point}.ckpt", weights_only=True)
    assert_equal(found.module, again)
    for one, two in zip(found.trainer.optimizers, trainer.optimizers, strict=True):
        states = zip(one.state.values(), two.state.values(), strict=True)
        for mine, other in states:
            assert all(torch.equal(mine[key], other[key]) for key in mine)
    for name, value in found.trainer.callback_metrics.items():
        assert torch.equal(value, trainer.callback_metrics[name]), name


def test_the_agreement_of_cells_is_measured_in_joint_steps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    supernet = DartsSupernet(channels=8, layers=3, nodes=2, primitives=PRIMITIVES)
    module = SearchModule(SPEC, supernet, strategies=[small(layers=3)])
    settings: dict[str, Any] = {"limit_train_batches": 1, "limit_val_batches": 0}
    trainer = quiet_trainer(callbacks=[CellAgreement()], default_root_dir=tmp_path, **settings)
    trainer.fit(module, datamodule=data())
    assert -1 <= float(trainer.callback_metrics["search/lambda_reduce"]) <= 1
