"""A budget of multiply-adds, parameters or latency for the network that a search derives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast, final

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.func import functional_call

from nas_lightning.architecture import Genotype, NetworkFactory
from nas_lightning.architecture.budgets import (
    RESOURCES,
    ResourceName,
    amount,
    quantity,
    resource_of,
)
from nas_lightning.architecture.prices import Prices
from nas_lightning.distributed import mean_over_ranks
from nas_lightning.errors import UsageError
from nas_lightning.ranges import NOT_NEGATIVE, Range, at_least, check
from nas_lightning.search import (
    DISCRETIZER,
    ArchStep,
    SearchModule,
    SearchPlan,
    SearchStrategy,
    strongest_edges,
)
from nas_lightning.search.selection import Selection
from nas_lightning.spaces import default_network, family_of
from nas_lightning.strategies.relative_cost import Form, RelativeCost
from nas_lightning.supernet import ArchitectureParameters

HEAVIEST = 1e6
"""Largest weight that `hinge` grows to."""


@final
class ResourcePenalty(SearchStrategy):
    """Let the derived network keep a budget of multiply-adds, parameters or latency.

    R is the expected cost of the derived network, which `Selection.expected` defines: an edge
    counts with the probability that its node keeps it, and an operation with its share on the edge.
    Cost is counted for the network that a retraining builds, with stem, preprocessing and head,
    without an auxiliary head. D is the cost of the network that would be derived now, R0 the
    budget, and w the weight:

    * `hinge` adds w · max(0, max(R, D) / R0 - 1), where D counts as a constant. At the start of
      each epoch, while D is above R0, w grows by the factor `growth`;
    * `target` adds w · |R / R0 - 1| (TuNAS, Bender et al., CVPR 2020);
    * `linear` adds w · R / R0;
    * `product` multiplies the outer loss by (R / R0)^w (MnasNet, Tan et al., CVPR 2019; FBNet, Wu
      et al., CVPR 2019), so that loss must be positive.

    Adds a penalty, or wraps the outer loss. Hooks: `on_train_start`, `on_train_epoch_start`,
    `on_after_arch_step`, `provenance`. Cost: none; the costs of all candidates are counted once, at
    the start.

    Logs, as means over every `log_every_n_steps`-th arch step of an epoch: R (`budget/expected`), D
    (`budget/derived`), the amount added to the outer loss (`budget/penalty`), w (`budget/weight`),
    and the norm of its gradient relative to that of the loss (`budget/gradient_ratio`).

    Args:
        resource: `macs` (multiply-adds of convolutions, linear layers and matrix products for one
            sample), `parameters`, or `latency` (milliseconds for a batch, by a table).
        budget: R0, a number or a text such as `600M` or `5 ms`.
        form: One of the forms above.
        weight: w, for `hinge` at the start.
        warmup: Number of epochs at the start in which w is 0.
        growth: Factor of `hinge`; 1 keeps w.
        network: Network that the budget is for; by default that of a retraining.
        sizes: Entries of the data's sizes that differ in the retraining, such as `image_size`.
        table: File of latencies, which `nas latency` writes; for `latency` alone.

    Raises:
        UsageError: An argument is out of range, the budget has another unit, or `table` is missing.
    """

    logs = ("budget/",)
    replayable = True

    def __init__(
        self,
        resource: ResourceName,
        budget: float | str,
        form: Form = "hinge",
        weight: float = 1.0,
        warmup: int = 0,
        growth: float = 2.0,
        network: NetworkFactory | None = None,
        sizes: dict[str, Any] | None = None,
        table: str | None = None,
    ) -> None:
        self.resource: ResourceName = resource
        self.budget = budget
        self.form: Form = form
        self.weight = weight
        self.warmup = warmup
        self.growth = growth
        self.network = network
        self.sizes = sizes
        self.table = table
        check(self, weight=NOT_NEGATIVE, warmup=at_least(0), growth=Range(1, 1000))
        self._amount = amount(type(self).__name__, budget, RESOURCES[resource])
        if (table is not None) != (resource == "latency"):
            raise UsageError(
                "ResourcePenalty: the resource latency, and no other, needs a table: measure one "
                "by nas latency"
            )
        self._weight = float(weight)  # grows
        self._plan: SearchPlan | None = None
        self._cost: RelativeCost | None = None

    def configure(self, plan: SearchPlan) -> None:
        """Add the penalty, or wrap the outer loss."""
        self._plan = plan
        if self.form == "product":
            plan.wrap_loss(self.scaled, by=self)
        else:
            plan.add_penalty(self.penalty, by=self)

    def verify(self, plan: SearchPlan) -> None:
        """Check that cells are derived as R assumes.

        Raises:
            UsageError: Another strategy derives them by another rule.
        """
        if plan[DISCRETIZER] is not strongest_edges:
            others = " and ".join(type(other).__name__ for other in plan.deciders(DISCRETIZER))
            raise UsageError(
                f"conflicting strategies: ResourcePenalty counts the strongest edges of each node, "
                f"{others} derives cells by another rule; keep one of them"
            )

    # -- the costs -----------------------------------------------------------------------------

    @cached_property
    def factory(self) -> NetworkFactory:
        """Factory of the network that the budget is for."""
        assert self._plan is not None, "the strategy belongs to no search"
        return self.network or default_network(self._plan.space)

    @property
    def data_spec(self) -> dict[str, Any]:
        """Sizes of the data of the retraining."""
        return {**cast(SearchPlan, self._plan).data_spec, **(self.sizes or {})}

    @property
    def budgeted(self) -> tuple[NetworkFactory, Mapping[str, Any]]:
        """The network that the budget is for, and the sizes of its data."""
        return self.factory, self.data_spec

    def price(self, genotype: Genotype) -> float:
        """Return the cost of a genotype's network."""
        return self.prices.of(genotype)

    @cached_property
    def prices(self) -> Prices:
        """Cost of every network of the space.

        Raises:
            UsageError: The resource cannot be counted in this space.
        """
        space = cast(SearchPlan, self._plan).space
        resource = resource_of(self.resource, self.table)
        return family_of(space).prices(space, self.factory, self.data_spec, resource)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that some network keeps the budget, before the search begins.

        Raises:
            UsageError: No network does, or all networks cost the same.
        """
        super().setup(trainer, pl_module, stage)
        if stage != "fit":
            return
        low, high = self.prices.bounds(cast(SearchPlan, self._plan).space)
        kind = RESOURCES[self.resource]
        least, most, wanted = (quantity(each, kind) for each in (low, high, self._amount))
        if low == high:
            raise UsageError(
                f"ResourcePenalty: every network of {self.factory!r} has {least}, so there is "
                f"nothing to choose: remove it"
            )
        if low > self._amount:
            raise UsageError(
                f"ResourcePenalty: no network of {self.factory!r} keeps the budget of {wanted}: "
                f"they have {least} to {most}"
            )
        if high <= self._amount:
            rank_zero_warn(
                f"ResourcePenalty: every network of {self.factory!r} keeps the budget of {wanted}: "
                f"they have {least} to {most}"
            )

    # -- the penalty ---------------------------------------------------------------------------

    def penalty(self, arch: ArchitectureParameters) -> Tensor:
        """Return the term () that is added to the outer loss."""
        cost = self.cost(arch)
        return cost.term(self.form, *cost(arch()))

    def scaled(self, loss: Tensor, arch: ArchitectureParameters) -> Tensor:
        """Return the outer loss (), multiplied by a power of the relative cost."""
        cost = self.cost(arch)
        return cost.scaled(loss, cost(arch())[0])

    def cost(self, arch: ArchitectureParameters) -> RelativeCost:
        """Return the cost in multiples of R0, on the device of α."""
        like = next(arch.parameters())
        if self._cost is None or not self._cost.fits(like):
            self._cost = RelativeCost(arch.space, self.prices, self._amount, like)
            self._cost.weight.fill_(self._weight)
        return self._cost

    # -- the weight ----------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the weight, since a run resumed within an epoch skips the start of that epoch."""
        self._weigh(cast(SearchModule, pl_module))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the weight of `hinge` grow if α has learned, but the budget is not met."""
        module = cast(SearchModule, pl_module)
        first = max(self.warmup, *(strategy.alpha_from for strategy in module.strategies))
        if self.form == "hinge" and module.current_epoch > first and self._above(module):
            # a weight that starts above the limit stays
            self._weight = max(self._weight, min(self._weight * self.growth, HEAVIEST))
        self._weigh(module)

    def _above(self, module: SearchModule) -> bool:
        """Return True if the network that would be derived now does not keep the budget."""
        with torch.no_grad():
            kept = Selection(module.space, module.device).decided(module.arch())
        exact = {kind: values.double().cpu() for kind, values in kept.items()}
        return float(self.prices.total(exact)) > self._amount

    def _weigh(self, module: SearchModule) -> None:
        waiting = module.current_epoch < self.warmup
        self.cost(module.arch).weight.fill_(0.0 if waiting else self._weight)

    def state_dict(self) -> dict[str, Any]:
        """Return the weight."""
        return {"weight": self._weight}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the weight."""
        self._weight = state_dict["weight"]

    # -- reports -------------------------------------------------------------------------------

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """Log costs, penalty, and the size of its gradient, at the values before the step."""
        every = max(1, int(module.trainer.log_every_n_steps))  # type: ignore[attr-defined] # set by a connector
        if module.trainer.fit_loop.batch_idx % every:
            return
        arch = module.arch
        before = {name: value.detach().requires_grad_() for name, value in step.before.items()}
        with torch.enable_grad():
            cost = self.cost(arch)
            if self.form == "product":  # the gradient is that of the mean loss, too
                cost.loss.copy_(mean_over_ranks((cost.loss,))[0])
            expected, derived = cost(functional_call(arch, before, ()))
            added = cost.term(self.form, expected, derived)
            gradients = torch.autograd.grad(
                added, list(before.values()), materialize_grads=True, allow_unused=True
            )
        pairs = zip(step.gradients.values(), gradients, strict=True)
        rest = torch.cat([(whole - part).flatten() for whole, part in pairs])
        own = torch.cat([part.flatten() for part in gradients])
        values = {
            "expected": expected * self._amount,
            "derived": derived * self._amount,
            "penalty": added,
            "weight": cost.weight,
            "gradient_ratio": own.norm() / rest.norm().clamp_min(1e-30),
        }
        named = {f"budget/{name}": value.detach() for name, value in values.items()}
        module.streams.mean(module, named)

    def provenance(self, module: SearchModule, genotype: Genotype) -> Mapping[str, Any]:
        """Return budget and cost of the genotype."""
        cost = self.prices.of(genotype)
        found = {
            "resource": self.resource,
            "budget": self._amount,
            "cost": round(cost) if RESOURCES[self.resource].counted else cost,
            "network": repr(self.factory),
        }
        return {"budget": found}
