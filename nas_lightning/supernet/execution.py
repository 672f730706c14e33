"""How the cells of a supernet are computed; what they compute is the same."""

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
    """From the inputs of a cell to its output, see `reference.reference_cell`."""

    def __call__(
        self,
        cell: Cell,
        inputs: Sequence[Tensor],
        edges: nn.ModuleList,
        op_weights: Tensor,
        edge_weights: Tensor,
        active: Active | None = None,
    ) -> Tensor:
        """The output."""


class PreprocessFunction(Protocol):
    """From a state to what cells read of it, see `reference.reference_preprocess`."""

    def __call__(self, x: Tensor, ops: Sequence[nn.Module]) -> list[Tensor]:
        """What each of them makes of it."""


@dataclass(frozen=True)
class CellExecution:
    """How cells are computed.

    Attributes:
        cell: The output of a cell.
        preprocess: What goes into cells.
        checkpoint: Keep only what enters a cell, and compute the rest anew in the backward pass
            (gradient checkpointing; Chen et al., 2016).
        channels_last: The cells want channels last in memory, so what stands before them should
            make them so.
    """

    cell: CellFunction = fast_cell
    preprocess: PreprocessFunction = fast_preprocess
    checkpoint: bool = False
    channels_last: bool = True

    def stem(self, stem: nn.Module) -> nn.Module:
        """What stands before the cells, so that it gives them the format that they want."""
        return stem.to(memory_format=torch.channels_last) if self.channels_last else stem

    def images(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) for the stem."""
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    def output(
        self, cell: Cell, inputs: Sequence[Tensor], edges: nn.ModuleList, *weights: Any
    ) -> Tensor:
        """The output of a cell, see `CellFunction`."""
        out: Tensor = self._run(edges, self.cell, cell, inputs, edges, *weights)
        return out

    def inputs(self, x: Tensor, ops: Sequence[nn.Module]) -> list[Tensor]:
        """What goes into cells, see `PreprocessFunction`."""
        out: list[Tensor] = self._run(ops, self.preprocess, x, ops)
        return out

    def _run(self, modules: Iterable[nn.Module], function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of modules, checkpointed if that is asked for."""
        if not (self.checkpoint and torch.is_grad_enabled()):
            return function(*args)

        def contexts() -> tuple[AbstractContextManager[None], UnmovedBuffers]:
            return nullcontext(), UnmovedBuffers(modules)

        return checkpoint(function, *args, use_reentrant=False, context_fn=contexts)

    def __str__(self) -> str:
        """`fast_cell`, and whether it is checkpointed."""
        name = getattr(self.cell, "__name__", repr(self.cell))
        return f"{name}, checkpointed" if self.checkpoint else name


class UnmovedBuffers:
    """A context that puts buffers back: evaluating a gradient must not move running statistics.

    It may be entered again, as a graph that is kept computes its cells anew for every gradient.

    Args:
        modules: Whose buffers.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._buffers = list(_buffers(modules))
        self._kept: list[Tensor] = []

    def __enter__(self) -> None:
        """Remember the buffers."""
        self._kept = [buffer.clone() for buffer in self._buffers]

    def __exit__(self, *_: object) -> None:
        """Put them back."""
        for buffer, before in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(before)


def _buffers(modules: Iterable[nn.Module]) -> Iterator[Tensor]:
    """All buffers: `Module.buffers` takes milliseconds for a supernet that has none."""
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        yield from (buffer for buffer in module._buffers.values() if buffer is not None)
        waiting.extend(child for child in module._modules.values() if child is not None)
