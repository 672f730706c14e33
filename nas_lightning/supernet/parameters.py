"""Architecture parameters α and β, a module separate from the supernet's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_lightning.architecture import SearchSpace
from nas_lightning.supernet.mixing import Mixing
from nas_lightning.supernet.relaxation import EdgeRelaxation, OpRelaxation, Sample, Step


class ArchitectureParameters(nn.Module):
    """α of every cell kind, and β if the edge relaxation has parameters.

    They are drawn from a separate generator. So every rank and every run with the same seed starts
    from the same architecture, independently of other random draws.

    Args:
        space: The search space.
        ops: Relaxation of operations: α → weights.
        edges: Relaxation of edges: β → weights.
        seed: Seed of the generator.

    Attributes:
        generator: Random generator of initial values and samples. It is on the CPU and in the same
            state on every process.
    """

    def __init__(
        self, space: SearchSpace, ops: OpRelaxation, edges: EdgeRelaxation, seed: int = 0
    ) -> None:
        super().__init__()
        self.space, self.ops, self.edges = space, ops, edges
        self.generator = torch.Generator().manual_seed(seed)
        self.alpha = nn.ParameterDict()
        self.beta = nn.ParameterDict()
        for cell in space.cells:
            self.alpha[cell.kind] = nn.Parameter(ops.initial(cell, self.generator))
            beta = edges.initial(cell, self.generator)
            if beta is not None:
                self.beta[cell.kind] = nn.Parameter(beta)

    def forward(self) -> Mixing:
        """Return the mixing weights of the present parameters."""
        return self._mixing(
            {kind: Sample(self.ops.weights(alpha)) for kind, alpha in self.alpha.items()}
        )

    def sample(self, step: Step) -> Mixing:
        """Return mixing weights for a training step, sampled if the method samples."""
        return self._mixing(
            {
                kind: self.ops.sample(self.space.cell(kind), alpha, self.generator, step)
                for kind, alpha in self.alpha.items()
            }
        )

    def _mixing(self, samples: dict[str, Sample]) -> Mixing:
        device = next(self.parameters()).device
        ops, edges, active = {}, {}, {}
        for cell in self.space.cells:
            sample = samples[cell.kind]
            ops[cell.kind] = sample.weights
            edges[cell.kind] = self.edges.weights(self.beta.get(cell.kind), cell, device)
            pruned = self.edges.pruned(cell)
            if sample.active is not None or pruned:
                everything = (tuple(range(len(cell.primitives))),) * len(cell.edges)
                running = everything if sample.active is None else sample.active
                active[cell.kind] = tuple(
                    () if i in pruned else chosen for i, chosen in enumerate(running)
                )
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
