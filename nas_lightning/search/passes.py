"""Capture the passes of a step once, and replay them as CUDA graphs.

A pass of a supernet is thousands of small kernels, and Python takes longer to start them than the
GPU takes to run them. A graph starts all of them at once. Only the passes are captured: losses and
gradients. Optimizers, schedules, clipping, checks and strategies run between them as usual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

T = TypeVar("T")
WARM = 3
"""Number of direct runs before a pass is captured. Libraries choose their kernels in them, and
constants are created."""

Replay = Callable[[], object]
"""Computes a captured function again, into the same tensors."""
Capture = Callable[[Callable[[], Any]], tuple[Any, Replay]]
"""Captures a function of no arguments. Returns the function's result and a replay; nothing is
computed until the first replay."""
Key = tuple[tuple[tuple[torch.Size, torch.dtype, torch.device], ...], Hashable]
"""Shapes, types and devices of a batch, and the choices of Python."""


class CudaGraphs:
    """Captures functions as CUDA graphs that share their memory.

    Only one of them may run at a time, and each may overwrite the results of another one.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], T]) -> tuple[T, Replay]:
        """See `Capture`."""
        graph = torch.cuda.CUDAGraph()
        # data loaders pin memory in their own thread meanwhile, which breaks a capture in the
        # mode `global`
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            returned = function()
        return returned, graph.replay


@dataclass(frozen=True)
class _Captured(Generic[T]):
    """A captured pass.

    Attributes:
        key: Shapes of the batch, and the choices of Python.
        batch: Tensors that the pass reads.
        returned: Tensors that the pass writes.
        replay: Computes the pass.
    """

    key: Key
    batch: list[Tensor]
    returned: T
    replay: Replay


class Graphs:
    """Passes of a search by name. Each is captured after a few direct runs.

    Args:
        capture: Captures a pass.
        warm: Number of direct runs of a name and shape before it is captured.

    Attributes:
        replayed: Number of replays, by name.
    """

    def __init__(self, capture: Capture, warm: int = WARM) -> None:
        self._capture = capture
        self._warm = warm
        self._ran: Counter[tuple[str, Key]] = Counter()
        self._captured: dict[str, _Captured[Any] | None] = {}
        self.replayed: Counter[str] = Counter()

    def run(
        self, name: str, function: Callable[[Any], T], batch: Any, decided: Hashable = None
    ) -> T:
        """Return the result of a function of a batch.

        The first shape that has run often enough is captured. Batches of other shapes, such as a
        smaller last one, run directly.

        Args:
            name: Name of the pass.
            function: From the batch to tensors. Everything else that it reads is constant, changed
                in place, such as weights, or named by `decided`.
            batch: Tensors in tuples, lists and dictionaries.
            decided: The choices of Python that the pass depends on. A pass with other choices than
                the captured one runs directly.

        Returns:
            The result of the function. The next replay, of any name, overwrites it.
        """
        leaves, form = tree_flatten(batch)
        if not all(isinstance(leaf, Tensor) for leaf in leaves):
            self._give_up(name, "its batch does not consist of tensors alone")
            return function(batch)
        key = (tuple((leaf.shape, leaf.dtype, leaf.device) for leaf in leaves), decided)
        if name not in self._captured:
            self._ran[name, key] += 1
            if self._ran[name, key] <= self._warm:
                return function(batch)
            own = [leaf.clone() for leaf in leaves]
            self._try(name, key, own, lambda: function(tree_unflatten(own, form)))
        captured = self._captured[name]
        if captured is None or captured.key != key:
            return function(batch)
        for mine, leaf in zip(captured.batch, leaves, strict=True):
            mine.copy_(leaf, non_blocking=True)
        captured.replay()
        self.replayed[name] += 1
        returned_now: T = captured.returned
        return returned_now

    def _try(self, name: str, key: Key, batch: list[Tensor], function: Callable[[], Any]) -> None:
        """Capture a pass. Give up if memory is too small or a kernel cannot be captured."""
        try:
            returned, replay = self._capture(function)
        except RuntimeError as error:
            self._give_up(name, str(error).partition("\n")[0])
        else:
            self._captured[name] = _Captured(key, batch, returned, replay)

    def _give_up(self, name: str, reason: str) -> None:
        """Warn, and capture no pass of this name from now on. A pass that is captured stays."""
        if name not in self._captured:
            rank_zero_warn(f"the {name} cannot be captured and runs directly: {reason}")
            self._captured[name] = None
