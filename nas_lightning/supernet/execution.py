"""How the cells of a supernet are computed; what they compute is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nas_lightning.spaces import Cell
from nas_lightning.supernet.fast import fast_node_states
from nas_lightning.supernet.mixing import Active


class NodeStates(Protocol):
    """From the inputs of a cell to the states of its nodes, see `cells.node_states`."""

    def __call__(
        self,
        cell: Cell,
        inputs: Sequence[Tensor],
        edges: nn.ModuleList,
        op_weights: Tensor,
        edge_weights: Tensor,
        active: Active | None = None,
    ) -> list[Tensor]:
        """The inputs and the nodes."""


@dataclass(frozen=True)
class CellExecution:
    """How cells are computed.

    Attributes:
        node_states: The states of a cell.
        checkpoint: Keep only what enters a cell, and compute the rest anew in the backward pass
            (gradient checkpointing; Chen et al., 2016).
    """

    node_states: NodeStates = fast_node_states
    checkpoint: bool = False

    def run(self, cell: nn.Module, function: Callable[..., Tensor], *args: object) -> Tensor:
        """What the function gives for the arguments.

        Args:
            cell: The module that it belongs to.
            function: Computes the cell.
            args: Its arguments.
        """
        if not (self.checkpoint and torch.is_grad_enabled()):
            return function(*args)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), unmoved_buffers(cell)

        out: Tensor = checkpoint(function, *args, use_reentrant=False, context_fn=contexts)
        return out

    def __str__(self) -> str:
        """`fast_node_states`, and whether it is checkpointed."""
        name = getattr(self.node_states, "__name__", repr(self.node_states))
        return f"{name}, checkpointed" if self.checkpoint else name


@contextmanager
def unmoved_buffers(module: nn.Module) -> Iterator[None]:
    """Put buffers back: evaluating a gradient must not move running statistics."""
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in module.named_buffers():
            buffer.copy_(kept[name])
