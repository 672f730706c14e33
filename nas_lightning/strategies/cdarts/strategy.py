"""CDARTS: a search network and an evaluation network that train together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from nas_lightning.architecture import Cell
from nas_lightning.ranges import NOT_NEGATIVE, POSITIVE, PROBABILITY, Range, at_least, check
from nas_lightning.search import (
    ARCH_GRADIENT,
    ARCH_STEP,
    EDGE_RELAXATION,
    OP_SAMPLING,
    OUTER_BATCH,
    ArchStep,
    OwnNetwork,
    SearchModule,
    SearchPlan,
    SearchStrategy,
    first_order,
    no_sampling,
)
from nas_lightning.search.step_context import StepContext
from nas_lightning.strategies.cdarts.cycles import Cycles, Phase
from nas_lightning.strategies.cdarts.distillation import Distance, Join
from nas_lightning.strategies.cdarts.evaluation import NAME, EvaluationNetwork, evaluation_network
from nas_lightning.strategies.cdarts.steps import JointLoss, evaluation_step, joint_step
from nas_lightning.supernet import ArchitectureParameters, EqualEdges, Supernet
from nas_lightning.training.optimizers import restart
from nas_lightning.training.schedules import TorchSchedule, planned_epochs

REGULARISED = ("max_pool_3x3", "avg_pool_3x3", "skip_connect")
"""Operations whose α the regulariser pulls to zero."""
STAGES = 3
"""Times that α counts in the regulariser: once for each stage of the network, as in the released
code, although all stages share it."""


class MeanEdges(EqualEdges):
    """A node is the mean of its edges."""

    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """Return 1/n for the n edges into each node (E,)."""
        return torch.cat([torch.full((n,), 1 / n, device=device) for n in cell.fan_in])


@final
class CDARTS(SearchStrategy):
    """Train an evaluation network in the search, and learn α from both (Yu et al., TPAMI 2022).

    The supernet is the search network S. The evaluation network E has the stem of S, the cells of
    the present genotype at full depth, and a classifier of its own. A head after each of the two
    reduction cells serves both networks. The search begins with epochs in which only the weights of
    S learn. Then it runs in cycles. Each begins with a genotype read off α and with optimizers
    without a state:

    - in its warm-up epochs E learns alone, on the architecture half;
    - in its joint epochs each batch takes a joint step and then a weight step of S. The joint step
      minimises (loss(S) + loss(E)) / a + a T² D(S, E) + R on the architecture half. It steps α by
      its optimizer, and E, stem, heads and e by that of E.

    D is a distance between the logits of heads and classifier, weighted by softmax(e). R is
    3 c(t) times the sum of |α| of max pooling, average pooling and skip, where c falls linearly to
    zero over the joint epochs. The gradients of the joint step are clipped together, those of the
    weights of S included, which it does not step.

    E holds the weights of all operations, of which the chosen ones run and learn, see
    `EvaluationNetwork`. Adds: network and penalty. Fills: architecture step; edge relaxation (with
    the mean of a node's edges) with `mean_edges`; architecture gradient, operation sampling and
    outer batch with their defaults, so that others cannot. Hooks: `allow_arch_step`,
    `allow_weight_step`, `on_weight_gradients`. Cost: passes and memory of E at full depth.

    Logs `cdarts/evaluation_loss`, `cdarts/distillation` and `cdarts/regulariser`.

    Args:
        layers: Number of cells of E.
        pretrain_epochs: Number of first epochs in which only the weights of S learn.
        warmup_epochs: Epochs of each cycle in which only E learns.
        joint_epochs: Epochs of each cycle with joint steps.
        distance: The kind of D, see `distillation.distance`.
        temperature: T.
        balance: a.
        join: `stack` compares the weighted logits of heads and classifier one by one, `sum` their
            sums.
        learn_shares: Learn e, which starts uniform in (0, 0.333). Otherwise all logits weigh the
            same.
        learn_heads: Learn the heads. Otherwise they keep their initial weights.
        coefficient: c at the beginning.
        decay_until: Share of the joint epochs after which c is 0.
        mean_edges: A node of S is the mean of its edges. If False, other strategies decide, and
            without one a node is the sum.
        rate: Learning rate of E, in the warm-up and in the first joint epoch of each cycle.
        rate_end: Rate to which a cosine falls over the joint epochs of each cycle.
        momentum: Momentum of the SGD of E.
        weight_decay: Weight decay of the SGD of E.
        clip: Largest norm of the gradients of a step of E or a joint step; 0 for no clipping.

    Raises:
        UsageError: An argument is out of range, the supernet is not one of normal and reduction
            cells with a classifier, or another strategy decides what CDARTS fixes.
    """

    logs = ("cdarts/",)

    def __init__(
        self,
        layers: int = 20,
        pretrain_epochs: int = 2,
        warmup_epochs: int = 1,
        joint_epochs: int = 1,
        distance: Distance = "smooth_l1",
        temperature: float = 2.0,
        balance: float = 1.0,
        join: Join = "stack",
        learn_shares: bool = True,
        learn_heads: bool = False,
        coefficient: float = 5.0,
        decay_until: float = 0.667,
        mean_edges: bool = True,
        rate: float = 0.08,
        rate_end: float = 0.001,
        momentum: float = 0.9,
        weight_decay: float = 3e-4,
        clip: float = 5.0,
    ) -> None:
        self.layers = layers
        self.pretrain_epochs = pretrain_epochs
        self.warmup_epochs = warmup_epochs
        self.joint_epochs = joint_epochs
        self.distance: Distance = distance
        self.temperature = temperature
        self.balance = balance
        self.join: Join = join
        self.learn_shares = learn_shares
        self.learn_heads = learn_heads
        self.coefficient = coefficient
        self.decay_until = decay_until
        self.mean_edges = mean_edges
        self.rate = rate
        self.rate_end = rate_end
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.clip = clip
        check(self, layers=at_least(3, 1000), pretrain_epochs=at_least(0))
        check(self, warmup_epochs=at_least(0), joint_epochs=at_least(1))
        check(self, temperature=POSITIVE, balance=POSITIVE, coefficient=NOT_NEGATIVE)
        check(self, decay_until=Range(high=1, above=True), rate=POSITIVE, rate_end=NOT_NEGATIVE)
        check(self, momentum=PROBABILITY, weight_decay=NOT_NEGATIVE, clip=NOT_NEGATIVE)
        self.cycles = Cycles(pretrain_epochs, warmup_epochs, joint_epochs)
        self._phase: Phase = "joint"
        self._c = coefficient
        self._seen: Mapping[str, Tensor] = {}

    @property
    def alpha_from(self) -> int:
        """The first joint epoch."""
        return self.pretrain_epochs + self.warmup_epochs

    def configure(self, plan: SearchPlan) -> None:
        """Add the evaluation network and the regulariser, and fill the architecture step."""
        plan.fill(ARCH_STEP, self.step, by=self)
        # others would have no effect on the joint step
        plan.fill(ARCH_GRADIENT, first_order, by=self)
        plan.fill(OP_SAMPLING, no_sampling, by=self)
        plan.fill(OUTER_BATCH, "val", by=self)
        if self.mean_edges:
            plan.fill(EDGE_RELAXATION, MeanEdges(), by=self)
        plan.add_penalty(self.regulariser, by=self)
        rates = functools.partial(LambdaLR, lr_lambda=self.factor)
        network = OwnNetwork(
            NAME,
            functools.partial(self.evaluation_network, plan),
            self.optimizer,
            TorchSchedule(rates),
            EvaluationNetwork.also_in_weights,
        )
        plan.add_network(network, by=self)

    def verify(self, plan: SearchPlan) -> None:
        """Check that no other strategy changes the architecture gradient or samples."""
        for slot in (ARCH_GRADIENT, OP_SAMPLING):
            plan.check_unwrapped(slot, by=self)

    def evaluation_network(self, plan: SearchPlan, supernet: Supernet) -> nn.Module:
        """Return a new evaluation network."""
        size = int(plan.data_spec.get("image_size", 1))
        learn = self.learn_heads, self.learn_shares
        return EvaluationNetwork(supernet, plan.space, size, self.layers, *learn)

    def optimizer(self, parameters: Any) -> Optimizer:
        """Return the optimizer of the evaluation network."""
        return SGD(parameters, self.rate, self.momentum, weight_decay=self.weight_decay)

    def factor(self, epoch: int) -> float:
        """Return the rate of the evaluation network in an epoch, in units of `rate`."""
        return self.cycles.rate(epoch, self.rate_end / self.rate)

    def regulariser(self, arch: ArchitectureParameters) -> Tensor:
        """Return R (), for the present epoch."""
        found = []
        for cell in arch.space.cells:
            columns = [m for m, name in enumerate(cell.primitives) if name in REGULARISED]
            found.append(arch.alpha[cell.kind][:, columns].abs().sum())
        total: Tensor = torch.stack(found).sum()
        return STAGES * self._c * total

    # -- the epochs ----------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the epoch, also when resuming within it."""
        self._enter(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the epoch."""
        self._enter(trainer, pl_module)

    def _enter(self, trainer: Trainer, module: Any) -> None:
        """Set what depends on the epoch; in a new cycle, renew genotype and optimizers."""
        epoch = module.current_epoch
        self._phase = self.cycles.phase(epoch)
        epochs = planned_epochs(trainer)
        self._c = self.coefficient * self.cycles.decay(epoch, epochs, self.decay_until)
        network, cycle = evaluation_network(module.networks), self.cycles.cycle(epoch)
        if cycle != int(network.cycle):
            network.begin(cycle, module.genotype())
            for optimizer in trainer.optimizers:
                restart(optimizer)

    def allow_arch_step(self, module: SearchModule) -> bool:
        """Return True after the pretraining."""
        return self.cycles.phase(module.current_epoch) != "pretraining"

    def allow_weight_step(self, module: SearchModule) -> bool:
        """Return False in the warm-up of a cycle."""
        return self.cycles.phase(module.current_epoch) != "warm-up"

    # -- the steps -----------------------------------------------------------------------------

    def step(
        self,
        context: StepContext,
        batch: Mapping[str, Any],
        weight: Optimizer,
        arch: Optimizer,
        limit: float | None,
        after: Callable[[ArchStep], None],
    ) -> None:
        """Step the evaluation network alone or, in joint epochs, with α; see `arch_step`."""
        network, own = evaluation_network(context.networks), context.optimizers[NAME]
        if self._phase == "warm-up":
            self._seen = evaluation_step(context, network, batch["val"], own, self.clip)
            return
        loss = JointLoss(self.distance, self.temperature, self.balance, self.join)
        limits = self.clip, limit
        seen = joint_step(context, network, batch["val"], (own, arch), limits, after, loss)
        self._seen = {**seen, "cdarts/regulariser": self.regulariser(context.losses.arch).detach()}

    def on_weight_gradients(self, module: SearchModule) -> None:
        """Give heads and e gradients of zero, so that the weight step decays them.

        They have no part in its loss. In the released code they have a gradient from the joint
        step, which is set to zero and not to none.
        """
        if self._phase == "joint":
            for value in evaluation_network(module.networks).also_in_weights():
                value.grad = torch.zeros_like(value)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log the losses of the batch."""
        seen, self._seen = self._seen, {}
        if seen:
            assert isinstance(pl_module, SearchModule)
            pl_module.streams.mean(pl_module, seen)
