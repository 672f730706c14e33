"""Cells for the tests of the fast cell, and its two sets of limits."""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.architecture import Cell
from nas_lightning.layers.primitives import NormRule
from nas_lightning.spaces import DartsSpace, NasBench201Space
from nas_lightning.supernet import Mixing, SupernetFactory, fast_cell, reference_cell
from nas_lightning.supernet.fast.cpu import thresholds
from nas_lightning.supernet.mixing import Active
from nas_lightning.supernet.reference import mixed_edge

SEARCH_NORM = NormRule(affine=False, after_pool=True, running_stats=False)


class Case(NamedTuple):
    """A cell with weights and inputs."""

    cell: Cell
    edges: nn.ModuleList
    inputs: list[Tensor]
    ops: Tensor
    scales: Tensor
    active: Active | None


def case(
    cell: Cell,
    channels: int = 8,
    k: int = 1,
    reduction: bool = False,
    size: int = 6,
    batch: int = 3,
    norm: NormRule = SEARCH_NORM,
    active: Active | None = None,
    seed: int = 0,
) -> Case:
    """Random weights everywhere; some of the mixing weights negative."""
    torch.manual_seed(seed)
    edges = nn.ModuleList(
        mixed_edge(
            cell.primitives, channels, 2 if reduction and e.source < cell.inputs else 1, norm, k
        )
        for e in cell.edges
    ).double()
    for parameter in edges.parameters():
        nn.init.normal_(parameter, std=0.5)
    shape = batch, channels, size, size
    inputs = [torch.randn(shape, dtype=torch.float64) for _ in range(cell.inputs)]
    ops = torch.randn(len(cell.edges), len(cell.primitives), dtype=torch.float64)
    scales = torch.randn(len(cell.edges), dtype=torch.float64)
    return Case(cell, edges, inputs, ops, scales, active)


def results(compute: Callable[..., Tensor], given: Case, weight_step: bool) -> list[Tensor]:
    """Output, gradients of inputs, mixing weights and parameters, buffers afterwards.

    In a weight step the mixing weights have no gradient.
    """
    edges = copy.deepcopy(given.edges)
    leaves = [x.clone().requires_grad_() for x in given.inputs]
    inputs = list(leaves)
    ops, scales = given.ops, given.scales
    if not weight_step:
        ops, scales = ops.clone().requires_grad_(), scales.clone().requires_grad_()
        leaves += [ops, scales]
    out = compute(given.cell, inputs, edges, ops, scales, given.active)
    generator = torch.Generator().manual_seed(1)
    loss = (out * torch.randn(out.shape, dtype=out.dtype, generator=generator)).sum()
    wanted = [*leaves, *edges.parameters()]
    if not loss.requires_grad:  # nothing but `none` runs
        return [out.detach(), *edges.buffers()]
    gradients = torch.autograd.grad(loss, wanted, materialize_grads=True)
    return [out.detach(), *gradients, *edges.buffers()]


def assert_equal(given: Case) -> None:
    for weight_step in (False, True):
        reference = results(reference_cell, given, weight_step)
        fast = results(fast_cell, given, weight_step)
        for first, second in zip(reference, fast, strict=True):
            scale = float(first.abs().max()) if first.numel() else 0.0
            # relative to the largest entry; biases in front of a batch norm have gradients of
            # zero, of which 1e-12 is left on some CPUs
            torch.testing.assert_close(second, first, rtol=1e-9, atol=1e-9 * max(scale, 1e-2))


def darts_cell(nodes: int, primitives: Sequence[str]) -> Cell:
    return DartsSpace(nodes, primitives).cells[0]


def nas_bench_cell() -> Cell:
    return NasBench201Space().cells[0]


def choose(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all cells run as those of large images do, or as those of small ones."""
    large = size == "large"
    monkeypatch.setattr(thresholds, "SMALL_STATE", 0 if large else 2**30)
    monkeypatch.setattr(thresholds, "TINY", 0 if large else 512)
    monkeypatch.setattr(thresholds, "LARGE_DILATED", 0 if large else 2**30)
    monkeypatch.setattr(thresholds, "WIDE_GROUP", 0 if large else 16)
    monkeypatch.setattr(thresholds, "NORM_PIXELS", 0 if large else 2**30)
    monkeypatch.setattr(thresholds, "CONVOLUTION_PIXELS", 0 if large else 2**40)


def mixing(factory: SupernetFactory) -> Mixing:
    """Return random mixing weights for the cells of a supernet."""
    generator = torch.Generator().manual_seed(3)
    ops, edges = {}, {}
    for cell in factory.space.cells:
        shape = len(cell.edges), len(cell.primitives)
        ops[cell.kind] = torch.rand(shape, dtype=torch.float64, generator=generator)
        edges[cell.kind] = torch.rand(shape[0], dtype=torch.float64, generator=generator)
    return Mixing(ops, edges)
