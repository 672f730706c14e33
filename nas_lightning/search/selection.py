"""The candidates that `strongest_edges` keeps, as tensors: decided, or as probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nas_lightning.architecture import Cell, SearchSpace
from nas_lightning.supernet import Mixing


@dataclass(frozen=True)
class _Group:
    """Cell kinds of the same structure, which are computed together.

    Attributes:
        kinds: Their names (G).
        allowed: 1 for operations that a genotype may contain, 0 for excluded ones (O,).
        rows: Edges into each node, padded with 0 (N, n).
        real: 1 for an edge and 0 for padding (N, n).
        places: Position of each edge in the flattened `rows` (E,).
        keep: Number of edges that a node keeps; `None` for all.
    """

    kinds: tuple[str, ...]
    allowed: Tensor
    rows: Tensor
    real: Tensor
    places: Tensor
    keep: int | None


class Selection:
    """The candidates that the genotype of mixing weights keeps.

    The strength of an edge is that of `strongest_edges`: its weight times the largest weight of an
    operation that is not excluded.

    Args:
        space: The search space.
        device: Device of the mixing weights.
    """

    def __init__(self, space: SearchSpace, device: torch.device) -> None:
        alike: dict[object, list[Cell]] = {}
        for cell in space.cells:
            alike.setdefault((cell.edges, cell.primitives), []).append(cell)
        self._groups = [_group(space, cells, device) for cells in alike.values()]

    def expected(self, mixing: Mixing) -> dict[str, Tensor]:
        """Return the probability that each candidate is kept, by kind (E, O).

        It is that of its edge, see `survival`, times the share of the operation among those of the
        edge that are not excluded. Both are exact where the weights decide: on edges with one
        operation, and at nodes with as many edges of positive strength as they keep.
        """
        return self._kept(mixing, soft=True)

    def decided(self, mixing: Mixing) -> dict[str, Tensor]:
        """Return 1 for each candidate that `strongest_edges` keeps and 0 for others (E, O)."""
        return self._kept(mixing, soft=False)

    def _kept(self, mixing: Mixing, soft: bool) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for group in self._groups:
            ops = torch.stack([mixing.ops[kind] for kind in group.kinds]) * group.allowed
            edges = torch.stack([mixing.edges[kind] for kind in group.kinds])
            shares = _shares(ops, group.allowed) if soft else _best(ops, group.allowed)
            if group.keep is not None:
                strengths = (ops.amax(dim=2) * edges)[:, group.rows] * group.real  # (G, N, n)
                find = survival if soft else strongest
                kept = find(strengths, group.real, group.keep).flatten(1)[:, group.places]
                shares = shares * kept[:, :, None]
            found |= dict(zip(group.kinds, shares.unbind(), strict=True))
        return found


def survival(strengths: Tensor, real: Tensor, keep: int) -> Tensor:
    """Return the probability that each edge is among the k that its node keeps.

    A set of k edges is kept with a probability in proportion to the product of their strengths:

        P(l is kept) = s_l e_{k-1}(s without l) / e_k(s),

    with the elementary symmetric polynomials e of the strengths s. So the probabilities of a node
    sum to k, do not depend on the scale of s, and are 1 and 0 if exactly k strengths are positive.
    With fewer positive ones the choice is that of `strongest`. With k = 1 they are s / sum(s).

    Args:
        strengths: s of the edges into each node (…, N, n), not negative and 0 for padding.
        real: 1 for an edge and 0 for padding (N, n).
        keep: k.
    """
    n = strengths.shape[-1]
    scale = strengths.detach().amax(dim=-1, keepdim=True)
    s = strengths / torch.where(scale > 0, scale, 1)
    others = s[..., None, :] * (
        1 - torch.eye(n, dtype=s.dtype, device=s.device)
    )  # row l: without l
    polynomials = [torch.ones_like(s), *[torch.zeros_like(s)] * (keep - 1)]
    for column in others.unbind(dim=-1):
        for degree in range(keep - 1, 0, -1):
            polynomials[degree] = polynomials[degree] + column * polynomials[degree - 1]
    terms = s * polynomials[-1]
    total = terms.sum(dim=-1, keepdim=True)
    enough = total > 0
    soft = keep * terms / torch.where(enough, total, 1)
    return torch.where(enough, soft, strongest(strengths, real, keep))


def strongest(strengths: Tensor, real: Tensor, keep: int) -> Tensor:
    """Return 1 for the k strongest edges into each node and 0 for others, with ties to the lower.

    Args:
        strengths: Strengths of the edges into each node (…, N, n).
        real: 1 for an edge and 0 for padding (N, n).
        keep: k.
    """
    order = torch.where(real > 0, strengths.detach(), -1).argsort(
        dim=-1, descending=True, stable=True
    )
    kept = torch.zeros_like(strengths).scatter(-1, order[..., :keep], 1)
    return kept * real


def _shares(ops: Tensor, allowed: Tensor) -> Tensor:
    """Return the weights of allowed operations (…, O), scaled to sum to one on each edge."""
    total = ops.sum(dim=-1, keepdim=True)
    enough = total > 0
    return torch.where(enough, ops / torch.where(enough, total, 1), _best(ops, allowed))


def _best(ops: Tensor, allowed: Tensor) -> Tensor:
    """Return 1 for the allowed operation of the largest weight on each edge, 0 for others."""
    best = torch.where(allowed > 0, ops.detach(), -1).argmax(dim=-1, keepdim=True)
    return torch.zeros_like(ops).scatter(-1, best, 1)


def _group(space: SearchSpace, cells: list[Cell], device: torch.device) -> _Group:
    cell = cells[0]
    incoming = [cell.incoming(node) for node in cell.nodes]
    width = max(map(len, incoming))
    rows = [[*edges, *[0] * (width - len(edges))] for edges in incoming]
    real = [[1.0] * len(edges) + [0.0] * (width - len(edges)) for edges in incoming]
    places = {row: width * i + j for i, edges in enumerate(incoming) for j, row in enumerate(edges)}
    return _Group(
        tuple(one.kind for one in cells),
        torch.tensor(
            [float(name not in space.excluded) for name in cell.primitives], device=device
        ),
        torch.tensor(rows, device=device),
        torch.tensor(real, device=device),
        torch.tensor([places[row] for row in range(len(cell.edges))], device=device),
        space.inputs_per_node,
    )
