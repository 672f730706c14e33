"""Counters of a step's kernels, FLOPs and bytes. Times are measured separately."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

NO_KERNEL = ("empty", "new_empty", "_unsafe_view", "lift_fresh")
"""Prefixes of the names of operators that compute nothing, in addition to views."""


@dataclass(frozen=True)
class Counts:
    """Counts of one step.

    Attributes:
        kernels: Operators below autograd that compute something, forward and backward.
        launches: Kernels that the GPU ran; `None` on the CPU.
        flops: FLOPs of convolutions and matrix products, two for each multiply-add.
        saved_bytes: Peak of the bytes that autograd saved for the backward pass. Each storage
            counts once, parameters do not count, and tensors that checkpointing saves or computes
            again are not seen.
        peak_bytes: On CUDA, the peak of the bytes that the allocator held for this case, with
            weights and optimizer state. On the CPU, the peak of the bytes of live tensors that were
            made in the step; memory inside of operators is not seen.
    """

    kernels: int
    launches: int | None
    flops: int
    saved_bytes: int
    peak_bytes: int


class Dispatched(TorchDispatchMode):  # type: ignore[no-untyped-call] # of torch
    """Counts operators below autograd, and the bytes of the tensors that they make.

    Attributes:
        kernels: Operators that computed something.
        flops: FLOPs of convolutions and matrix products, by PyTorch's own formulas. PyTorch's
            `FlopCounterMode` follows modules, which fails if α itself is an argument of one.
        peak_bytes: Peak of the bytes of live tensors that were made inside the context.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # of torch
        self.kernels = self.flops = 0
        self.peak_bytes = self._alive = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operator and count its kernels, FLOPs and new tensors."""
        out = func(*args, **(kwargs or {}))
        if func.is_view:
            return out
        name = func._schema.name.partition("::")[2]
        self.kernels += not name.startswith(NO_KERNEL)
        if formula := flop_registry.get(func.overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        given = {_place(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for tensor in tree_leaves(out):
            # tensors that the operator wrote into are not new
            if isinstance(tensor, Tensor) and _place(tensor) not in given:
                self._add(tensor)
        return out

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._known or not size:
            return
        self._known.add(place)
        self._alive += size
        self.peak_bytes = max(self.peak_bytes, self._alive)
        weakref.finalize(storage, self._remove, place, size)

    def _remove(self, place: int, size: int) -> None:
        self._known.discard(place)
        self._alive -= size


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Saved:
    """Counts the bytes that autograd saves for backward passes.

    Args:
        there_anyway: Tensors that do not count, such as parameters.

    Attributes:
        peak_bytes: Peak of the saved bytes; each storage counts once.
    """

    def __init__(self, there_anyway: Iterable[Tensor] = ()) -> None:
        self.peak_bytes = self._kept = 0
        self._anyway = {_place(tensor) for tensor in there_anyway}
        self._times: Counter[int] = Counter()

    def hooks(self) -> AbstractContextManager[None]:
        """Return a context in which saved tensors are counted."""
        # detached: an output that its own node saves would otherwise never be freed
        return saved_tensors_hooks(
            lambda tensor: _Kept(tensor.detach(), self), lambda kept: kept.tensor
        )

    def _take(self, place: int, size: int) -> None:
        if place in self._anyway:
            return
        self._times[place] += 1
        if self._times[place] == 1:
            self._kept += size
            self.peak_bytes = max(self.peak_bytes, self._kept)

    def _give(self, place: int, size: int) -> None:
        if place in self._anyway:
            return
        self._times[place] -= 1
        if not self._times[place]:
            self._kept -= size


class _Kept:
    """A saved tensor, which lives as long as the graph keeps it."""

    def __init__(self, tensor: Tensor, counter: Saved) -> None:
        self.tensor = tensor
        storage = tensor.untyped_storage()
        what = (storage.data_ptr(), storage.nbytes())
        counter._take(*what)
        weakref.finalize(self, counter._give, *what)


def count(
    step: Callable[[], object], there_anyway: Iterable[Tensor], device: torch.device, before: int
) -> Counts:
    """Count a step. The step runs once, on CUDA three times.

    Args:
        step: The step.
        there_anyway: Parameters and buffers, which do not count as saved.
        device: Device of the run.
        before: On CUDA, the bytes that the allocator held before the case was made.
    """
    dispatched, saved = Dispatched(), Saved(there_anyway)
    with saved.hooks(), dispatched:
        step()
    on_gpu = device.type == "cuda"
    return Counts(
        dispatched.kernels,
        launches(step) if on_gpu else None,
        dispatched.flops,
        saved.peak_bytes,
        allocated(step, device) - before if on_gpu else dispatched.peak_bytes,
    )


def allocated(step: Callable[[], object], device: torch.device) -> int:
    """Return the peak of the bytes that CUDA's allocator held during a step."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def launches(step: Callable[[], object]) -> int:
    """Count the kernels that the GPU runs in a step, without copies and fills of memory."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        step()
        torch.cuda.synchronize()
    events = [e for e in found.events() or () if e.device_type.name == "CUDA"]
    return sum(not event.name.startswith(("Memcpy", "Memset")) for event in events)
