"""Passes of a step that are captured once and replayed from then on, as CUDA graphs.

A pass of a supernet is thousands of small kernels, and starting them takes Python longer than the
GPU takes to run them. A graph starts all of them at once. Only the passes are captured: losses and
gradients. Optimizers, schedules, clipping, checks and strategies run between them as ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from nas_lightning.search.bilevel import first_order
from nas_lightning.search.plan import ARCH_GRADIENT, OP_SAMPLING, no_sampling

if TYPE_CHECKING:
    from nas_lightning.search.module import SearchModule
    from nas_lightning.search.strategy import SearchStrategy
    from nas_lightning.supernet import SupernetFactory
    from nas_lightning.tasks import Task

T = TypeVar("T")
WARM = 3
"""Passes that run by themselves before one is captured: libraries choose their kernels in them, and
constants are made."""

Replay = Callable[[], object]
"""Computes again what was captured, into the same tensors."""
Capture = Callable[[Callable[[], Any]], tuple[Any, Replay]]
"""Captures a function of no arguments: what it returns, and how to compute that again. Nothing is
computed until the first replay."""
Key = tuple[tuple[tuple[torch.Size, torch.dtype, torch.device], ...], Hashable]


class CudaGraphs:
    """Captures as CUDA graphs, which share their memory: only one of them runs at a time.

    So each may write over what another one returned.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], T]) -> tuple[T, Replay]:
        """See `Capture`."""
        graph = torch.cuda.CUDAGraph()
        # data loaders pin memory in a thread of their own meanwhile: in the mode `global`, that
        # breaks the capture
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            returned = function()
        return returned, graph.replay


@dataclass(frozen=True)
class _Captured(Generic[T]):
    """A pass that was captured.

    Attributes:
        key: Shapes of the batch, and what Python decided.
        batch: The tensors that it reads.
        returned: The tensors that it writes.
        replay: Computes them.
    """

    key: Key
    batch: list[Tensor]
    returned: T
    replay: Replay


class Graphs:
    """Passes of a search by name, each captured when it has run a few times.

    Args:
        capture: How.
        warm: Passes of a name and shape before it is captured.

    Attributes:
        replayed: How often passes were replayed, by name.
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
        """What a function of a batch returns.

        The first shape that has run often enough is captured; batches of other shapes, such as a
        smaller last one, run by themselves.

        Args:
            name: Of the pass.
            function: From the batch to tensors. Everything else that it reads is either changed in
                place, such as weights, or never, or named by `decided`.
            batch: Tensors in tuples, lists and dictionaries.
            decided: What Python decided of the pass; others than the captured one run by
                themselves.

        Returns:
            What the function returns. The next replay, of any name, writes it over.
        """
        leaves, form = tree_flatten(batch)
        if not all(isinstance(leaf, Tensor) for leaf in leaves):
            self._give_up(name, "its batch is not made of tensors alone")
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
        """Capture a pass; not if that fails, for want of memory or a kernel that cannot be."""
        try:
            returned, replay = self._capture(function)
        except RuntimeError as error:
            self._give_up(name, str(error).partition("\n")[0])
        else:
            self._captured[name] = _Captured(key, batch, returned, replay)

    def _give_up(self, name: str, reason: str) -> None:
        """Capture no pass of a name from here on, and say so; one that was captured stays."""
        if name not in self._captured:
            rank_zero_warn(f"the {name} cannot be captured and runs by itself: {reason}")
            self._captured[name] = None


def decided(module: SearchModule, learned: Iterable[str]) -> Hashable:
    """What Python decided of the passes of a search and may decide anew, see `Graphs.run`.

    Args:
        module: The search.
        learned: Names of the parameters that a gradient is taken of.
    """
    supernet = module.supernet
    return tuple(learned), supernet.training, tuple(part.training for part in module.buffered)


def forbids_graphs(module: SearchModule) -> str | None:
    """Why passes of a search cannot be captured; none if they can.

    A graph repeats what Python decided when it was captured: numbers, draws of the host and which
    operations run.
    """
    if module.plan[ARCH_GRADIENT] is not first_order:
        return "the architecture gradient reads numbers on the host"
    if module.plan[OP_SAMPLING] is not no_sampling:
        return "operations are drawn on the host"
    if module.drop_path:
        return "drop path changes from epoch to epoch"
    parts: list[Task | SupernetFactory | SearchStrategy] = [module.task, module.factory]
    for part in parts + module.strategies:
        if not part.replayable:
            return f"{type(part).__name__} may change what a step computes"
    return None
