"""The agreement of the cells of one kind, Λ and Λ±: do they pull α in the same direction?"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet import Mixing


def agreement(gradients: Tensor) -> Tensor:
    """Return Λ (): the mean cosine between the gradients of two cells (Λ-DARTS, ICLR 2023).

    It is 1 if all gradients have the same direction. The cosine with a gradient of length zero
    counts as zero.

    Args:
        gradients: The gradient of each cell (L, N), of at least two cells.
    """
    directions = _directions(gradients)
    cells = len(gradients)
    # the square of a sum of vectors is their own squares and twice the products of all pairs
    products = directions.sum(dim=0).square().sum() - directions.square().sum()
    return products / (cells * (cells - 1))


@torch.no_grad()
def agreement_slope(gradients: Tensor) -> Tensor:
    """Return the derivative of Λ by the gradient of each cell (L, N).

    With u_l = g_l / |g_l| it is 2 / (L (L - 1)) · (I - u_l u_lᵀ) Σ_m u_m / |g_l|. It is zero for a
    gradient of length zero.

    Args:
        gradients: The gradient of each cell (L, N), of at least two cells.
    """
    directions = _directions(gradients)
    cells = len(gradients)
    total = directions.sum(dim=0)
    across = total - (directions @ total)[:, None] * directions
    lengths = gradients.norm(dim=1, keepdim=True)
    slopes = 2 / (cells * (cells - 1)) * across / lengths
    return torch.where(lengths > 0, slopes, 0)


def sign_agreement(gradients: Tensor) -> Tensor:
    """Return Λ± (): the mean over pairs of cells of g·h / |g|·|h|, |·| entry by entry.

    Each entry counts as 1 if its signs agree and as -1 if they do not, weighted by |g h|. Λ± is 1
    if no entry has opposite signs in two cells. Pairs that have no entry in common count as zero.
    It is the option `signcorr` of the released code of Λ-DARTS.

    Args:
        gradients: The gradient of each cell (L, N), of at least two cells.
    """
    directions = _directions(gradients)
    cells = len(gradients)
    each, _ = _signs(directions)
    return each.sum() / (cells * (cells - 1))


@torch.no_grad()
def sign_agreement_slope(gradients: Tensor) -> Tensor:
    """Return the derivative of Λ± by the gradient of each cell (L, N), signs held constant.

    With s_lm = g_l·g_m / |g_l|·|g_m| it is
    2 / (L (L - 1)) · Σ_m (g_m - s_lm sign(g_l) |g_m|) / |g_l|·|g_m| over m ≠ l. It is zero for a
    gradient of length zero.

    Args:
        gradients: The gradient of each cell (L, N), of at least two cells.
    """
    directions = _directions(gradients)
    cells = len(gradients)
    each, inverse = _signs(directions)
    slopes = inverse @ directions - directions.sign() * ((inverse * each) @ directions.abs())
    lengths = gradients.norm(dim=1, keepdim=True)
    return torch.where(lengths > 0, 2 / (cells * (cells - 1)) * slopes / lengths, 0)


def _signs(directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return s (L, L) and the inverses of its denominators (L, L), both zero on the diagonal."""
    together = directions.abs() @ directions.abs().mT
    pairs = together.fill_diagonal_(0) > torch.finfo(together.dtype).tiny
    inverse = torch.where(pairs, 1 / torch.where(pairs, together, 1), 0)
    return directions @ directions.mT * inverse, inverse


def _directions(gradients: Tensor) -> Tensor:
    return F.normalize(gradients, dim=1, eps=torch.finfo(gradients.dtype).tiny)


class CellGradients:
    """The gradients of one loss by each cell's own copy of the operation weights.

    The copies are part of the graph, so the gradient of α stays what it is, and theirs come with it
    at no cost.

    Args:
        counts: Number of cells by kind; kinds with a single cell have no pairs and are left out.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.counts = {kind: count for kind, count in counts.items() if count > 1}
        self._found: dict[str, dict[int, Tensor]] = {}
        self._given = False

    def watched(self, mixing: Mixing) -> Mixing:
        """Return the same mixing weights, with a copy for each cell whose gradient is kept.

        Only the first call does so: it stands for the loss at the present parameters, and later
        evaluations within a step may be elsewhere.
        """
        if self._given:
            return mixing
        self._given = True
        own = {}
        for kind, count in self.counts.items():
            if mixing.ops[kind].requires_grad:
                own[kind] = tuple(mixing.ops[kind].view_as(mixing.ops[kind]) for _ in range(count))
                self._found[kind] = {}
                for index, copy in enumerate(own[kind]):
                    hook = functools.partial(self._keep, kind, index)
                    copy.register_hook(hook)  # type: ignore[no-untyped-call] # of torch
        return Mixing(mixing.ops, mixing.edges, mixing.active, own)

    def _keep(self, kind: str, index: int, gradient: Tensor) -> None:
        # not a view: compiled cells reuse the memory of their results
        self._found[kind].setdefault(index, gradient.detach().clone())

    def by_kind(self) -> dict[str, Tensor]:
        """Return the gradient of each cell (L, E·O) by kind, zero for cells that had none.

        Kinds of which no cell had a gradient are left out, so nothing is returned before the
        backward pass.
        """
        return {
            kind: torch.stack([self._of(found, index) for index in range(self.counts[kind])])
            for kind, found in self._found.items()
            if found
        }

    @staticmethod
    def _of(found: Mapping[int, Tensor], index: int) -> Tensor:
        some = next(iter(found.values()))
        return found.get(index, torch.zeros_like(some)).flatten()
