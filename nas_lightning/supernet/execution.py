"""Execution of cells: ways to compute the cells of a supernet, all with the same result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nas_lightning.architecture import Cell
from nas_lightning.supernet.fast import fast_cell, fast_preprocess
from nas_lightning.supernet.mixing import Active


class CellFunction(Protocol):
    """A function from the inputs of a cell to its output, see `reference.reference_cell`."""

    def __call__(
        self,
        cell: Cell,
        inputs: Sequence[Tensor],
        edges: nn.ModuleList,
        op_weights: Tensor,
        edge_weights: Tensor,
        active: Active | None = None,
    ) -> Tensor:
        """Return the output of the cell."""


class PreprocessFunction(Protocol):
    """A function from a state to the inputs of cells, see `reference.reference_preprocess`."""

    def __call__(self, x: Tensor, ops: Sequence[nn.Module]) -> list[Tensor]:
        """Apply each module to the state."""


@dataclass(frozen=True)
class CellExecution:
    """The functions that compute cells, and their settings.

    Attributes:
        cell: Computes the output of a cell.
        preprocess: Computes the inputs of cells.
        checkpoint: Keep only the inputs of a cell and compute the rest again in the backward pass
            (gradient checkpointing; Chen et al., 2016).
        channels_last: The cells run in the channels-last format, so the stem should produce it.
    """

    cell: CellFunction = fast_cell
    preprocess: PreprocessFunction = fast_preprocess
    checkpoint: bool = False
    channels_last: bool = True

    def stem(self, stem: nn.Module) -> nn.Module:
        """Return the stem in the memory format of the cells."""
        return stem.to(memory_format=torch.channels_last) if self.channels_last else stem

    def images(self, x: Tensor) -> Tensor:
        """Return the images (B, C, H, W) in the memory format of the stem."""
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    def output(
        self, cell: Cell, inputs: Sequence[Tensor], edges: nn.ModuleList, *weights: Any
    ) -> Tensor:
        """Compute the output of a cell, see `CellFunction`."""
        out: Tensor = self._run(edges, self.cell, cell, inputs, edges, *weights)
        return out

    def inputs(self, x: Tensor, ops: Sequence[nn.Module]) -> list[Tensor]:
        """Compute the inputs of cells, see `PreprocessFunction`."""
        out: list[Tensor] = self._run(ops, self.preprocess, x, ops)
        return out

    def _run(self, modules: Iterable[nn.Module], function: Callable[..., Any], *args: Any) -> Any:
        """Call a function that uses these modules, with gradient checkpointing if it is set."""
        if not (self.checkpoint and torch.is_grad_enabled()):
            return function(*args)

        def contexts() -> tuple[AbstractContextManager[None], UnmovedBuffers]:
            return nullcontext(), UnmovedBuffers(modules)

        return checkpoint(function, *args, use_reentrant=False, context_fn=contexts)

    def __str__(self) -> str:
        """Name of the cell function, with `checkpointed` if it is."""
        name = getattr(self.cell, "__name__", repr(self.cell))
        return f"{name}, checkpointed" if self.checkpoint else name


class UnmovedBuffers:
    """A context that restores buffers on exit: recomputation must not move running statistics.

    It may be entered several times, because a retained graph recomputes its cells for every
    gradient.

    Args:
        modules: Owners of the buffers.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._buffers = list(_buffers(modules))
        self._kept: list[Tensor] = []

    def __enter__(self) -> None:
        """Copy the buffers."""
        self._kept = [buffer.clone() for buffer in self._buffers]

    def __exit__(self, *_: object) -> None:
        """Restore the buffers."""
        for buffer, before in zip(self._buffers, self._kept, strict=True):
            # past autograd: a backward pass may follow, and it reads no buffers that a pass moves
            buffer.data.copy_(before)


def _buffers(modules: Iterable[nn.Module]) -> Iterator[Tensor]:
    """Yield all buffers; `Module.buffers` takes milliseconds for a supernet without any."""
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        yield from (buffer for buffer in module._buffers.values() if buffer is not None)
        waiting.extend(child for child in module._modules.values() if child is not None)
