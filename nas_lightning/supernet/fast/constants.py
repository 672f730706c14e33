"""Tensors that every pass needs and no pass changes. They are made once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")


def made_once(function: Callable[P, T]) -> Callable[P, T]:
    """Cache the results of a function that makes constant tensors.

    The function runs outside of inference mode, because training reuses tensors that evaluation
    made. `torch.compile` takes the result as a constant and does not trace the function: a tensor
    made from host data, such as an index, would keep a compiled cell from being replayed as a CUDA
    graph.
    """
    kept: Any = functools.lru_cache(maxsize=1024)(torch.inference_mode(False)(function))

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        made: T = kept(*args, **kwargs)
        return made

    call.forget = kept.cache_clear  # type: ignore[attr-defined] # for tests
    # all that `torch.compiler.assume_constant_result` does, which imports the compiler: `nas info`
    # and `nas draw` would take half as long again
    call._dynamo_marked_constant = True  # type: ignore[attr-defined] # see above
    return call


@made_once
def index(order: tuple[int, ...], device: torch.device) -> Tensor:
    """Return the indices as a tensor (n,)."""
    return torch.tensor(order, device=device, dtype=torch.int64)


@made_once
def identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the identity matrix (n, n)."""
    return torch.eye(size, dtype=dtype, device=device)
