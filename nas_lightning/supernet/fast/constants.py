"""Tensors that every pass needs and no pass changes, made once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")


def made_once(function: Callable[P, T]) -> Callable[P, T]:
    """Keep what a function made for the same arguments.

    What evaluation makes serves training too, so it is not of inference mode. For `torch.compile`
    it is a constant, which it does not look into: what comes from host data, such as an index,
    would keep a compiled cell from being replayed as a CUDA graph.
    """
    kept: Any = functools.lru_cache(maxsize=1024)(torch.inference_mode(False)(function))

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        made: T = kept(*args, **kwargs)
        return made

    call.forget = kept.cache_clear  # type: ignore[attr-defined] # for tests
    constant: Callable[P, T] = torch.compiler.assume_constant_result(call)  # type: ignore[no-untyped-call] # torch
    return constant


@made_once
def index(order: tuple[int, ...], device: torch.device) -> Tensor:
    """Places to select (n,)."""
    return torch.tensor(order, device=device, dtype=torch.int64)


@made_once
def identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The identity (n, n)."""
    return torch.eye(size, dtype=dtype, device=device)
