"""Architecture parameters α and β, a module separate from the supernet's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nas_lightning.architecture import SearchSpace
from nas_lightning.supernet.mixing import Active, Mixing
from nas_lightning.supernet.relaxation import EdgeRelaxation, OpRelaxation, Sample, Step
from nas_lightning.supernet.survivors import Survivors


class ArchitectureParameters(nn.Module):
    """α of every cell kind, and β if the edge relaxation has parameters.

    They are drawn from a separate generator. So every rank and every run with the same seed starts
    from the same architecture, independently of other random draws.

    Args:
        space: The search space.
        ops: Relaxation of operations: α → weights.
        edges: Relaxation of edges: β → weights.
        seed: Seed of the generator.
        kept: Masks (E, O) by cell kind of the operations that run; `None` if none is ever removed.

    Attributes:
        survivors: The operations that run; `None` if none is ever removed.
        generator: Random generator of initial values and samples. It is on the CPU and in the same
            state on every process.
    """

    def __init__(
        self,
        space: SearchSpace,
        ops: OpRelaxation,
        edges: EdgeRelaxation,
        seed: int = 0,
        kept: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.space, self.ops, self.edges = space, ops, edges
        self.survivors = None if kept is None else Survivors(space, kept)
        self.generator = torch.Generator().manual_seed(seed)
        self.alpha = nn.ParameterDict()
        self.beta = nn.ParameterDict()
        for cell in space.cells:
            self.alpha[cell.kind] = nn.Parameter(ops.initial(cell, self.generator))
            beta = edges.initial(cell, self.generator)
            if beta is not None:
                self.beta[cell.kind] = nn.Parameter(beta)
            self._remove_(cell.kind)

    def forward(self) -> Mixing:
        """Return the mixing weights of the present parameters."""
        return self._mixing(
            {kind: Sample(self.ops.weights(self._restricted(kind))) for kind in self.alpha}
        )

    def sample(self, step: Step) -> Mixing:
        """Return mixing weights for a training step, sampled if the method samples."""
        return self._mixing(
            {
                kind: self.ops.sample(
                    self.space.cell(kind), self._restricted(kind), self.generator, step
                )
                for kind in self.alpha
            }
        )

    def keep(self, kind: str, mask: Tensor) -> None:
        """Remove the operations of a cell kind that a mask (E, O) does not keep, for good.

        An edge without survivors does not run. Only in searches whose plan allows it, see
        `SearchPlan.keep_operations`.
        """
        assert self.survivors is not None
        self.survivors.keep(kind, mask)
        self._remove_(kind)

    def frozen(self) -> dict[str, Tensor]:
        """Return masks of the entries that do not learn, by name; empty if nothing is removed."""
        if self.survivors is None:
            return {}
        return {f"alpha.{kind}": self.survivors.frozen(kind) for kind in self.alpha}

    def _usable(self, kind: str) -> Tensor:
        """Return the survivors (E, O), and all operations of edges without any."""
        assert self.survivors is not None
        kept = self.survivors.kept(kind)
        return kept | ~kept.any(dim=1, keepdim=True)

    def _restricted(self, kind: str) -> Tensor:
        """Return α (E, O) under which removed operations have no weight."""
        alpha: Tensor = self.alpha[kind]
        if self.survivors is None or self.survivors.running(kind) is None:
            return alpha
        return self.ops.restricted(alpha, self._usable(kind))

    @torch.no_grad()
    def _remove_(self, kind: str) -> None:
        if self.survivors is not None and self.survivors.running(kind) is not None:
            self.ops.remove_(self.alpha[kind], self._usable(kind))

    def _mixing(self, samples: dict[str, Sample]) -> Mixing:
        device = next(self.parameters()).device
        ops, edges, active = {}, {}, {}
        for cell in self.space.cells:
            kind, sample = cell.kind, samples[cell.kind]
            ops[kind] = sample.weights
            edges[kind] = self.edges.weights(self.beta.get(kind), cell, device)
            runs = sample.active
            if self.survivors is not None and (kept := self.survivors.running(kind)) is not None:
                # edges without survivors were given the weights of all operations
                ops[kind] = ops[kind] * self.survivors.kept(kind).any(dim=1, keepdim=True)
                runs = kept if runs is None else _both(runs, kept)
            if pruned := self.edges.pruned(cell):
                everything = (tuple(range(len(cell.primitives))),) * len(cell.edges)
                chosen = enumerate(everything if runs is None else runs)
                runs = tuple(() if i in pruned else row for i, row in chosen)
            if runs is not None:
                active[kind] = runs
        return Mixing(ops, edges, active)

    @torch.no_grad()
    def project_(self) -> None:
        """Project every parameter onto the domain of its relaxation, in place."""
        for alpha in self.alpha.values():
            self.ops.project_(alpha)
        for kind, beta in self.beta.items():
            self.edges.project_(beta, self.space.cell(kind))

    def named(self) -> dict[str, Tensor]:
        """Return the parameters by name (`alpha.normal`, …), always in the same order."""
        return dict(self.named_parameters())


def _both(first: Active, second: Active) -> Active:
    """Return the operations that are in both, by edge."""
    return tuple(
        tuple(m for m in row if m in other) for row, other in zip(first, second, strict=True)
    )
