"""Stands for CUDA graphs on the CPU: what Python decides is fixed when a pass is traced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from nas_lightning.search.passes import Replay

FROM_HOST = ("lift_fresh", "lift_fresh_copy", "_local_scalar_dense", "nonzero", "item", "equal")
"""Operations that take values from Python or hand some to it: a CUDA graph cannot hold them."""


class Traces:
    """Captures a function as the list of its operations, on the tensors that they read.

    As CUDA graphs that share their memory do, a replay destroys what the others returned.

    Args:
        module: What the function runs. Tracing runs it too, and capturing does not: so its buffers
            are put back.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.operations: Counter[str] = Counter()
        self._returned: list[list[Tensor]] = []

    def __call__(self, function: Callable[[], Any]) -> tuple[Any, Replay]:
        """See `Capture`."""
        form: list[Any] = []

        def flat() -> list[Tensor]:
            leaves, spec = tree_flatten(function())
            form.append((spec, [leaf is None for leaf in leaves]))
            return [leaf for leaf in leaves if leaf is not None]

        before = [buffer.clone() for buffer in self.module.buffers()]
        traced = make_fx(flat)()
        for buffer, value in zip(self.module.buffers(), before, strict=True):
            buffer.copy_(value)
        self.operations.update(
            node.target.overloadpacket.__name__
            for node in traced.graph.nodes
            if isinstance(node.target, torch._ops.OpOverload)
        )
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            returned = [torch.full_like(value, float("nan")) for value in traced()]
        for buffer, value in zip(self.module.buffers(), before, strict=True):
            buffer.copy_(value)

        self._returned.append(returned)

        @torch.no_grad()
        def replay() -> None:
            for value in (v for other in self._returned if other is not returned for v in other):
                value.fill_(float("nan") if value.is_floating_point() else -1)
            with torch.autocast("cpu", enabled=False):  # casts are among the operations
                values = traced()
            for mine, value in zip(returned, values, strict=True):
                mine.copy_(value)

        spec, missing = form[0]
        values = iter(returned)
        return tree_unflatten([None if gone else next(values) for gone in missing], spec), replay
