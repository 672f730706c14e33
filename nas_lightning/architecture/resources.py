"""Resources that a network uses: what its candidates and everything else of it cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from nas_lightning.architecture.cost import count_parameters
from nas_lightning.architecture.prices import Candidate
from nas_lightning.errors import UsageError


@dataclass(frozen=True, eq=False)
class Part:
    """A module that computes a candidate.

    Attributes:
        candidate: The candidate.
        operation: Its name.
        module: The module.
        within: Candidates whose modules contain it.
    """

    candidate: Candidate
    operation: str
    module: nn.Module
    within: tuple[Candidate, ...] = ()


class Resource(ABC):
    """Something that a network uses and that its parts add up to.

    Attributes:
        name: Name in configurations and files.
        unit: Unit in messages.
        units: Suffixes of a budget, and their sizes.
        counted: True for whole numbers that are counted, False for measured ones.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    units: ClassVar[dict[str, float]] = {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
    counted: ClassVar[bool] = True

    @abstractmethod
    def costs(
        self, network: nn.Module, parts: Sequence[Part], inputs: Any
    ) -> tuple[list[float], float]:
        """Return the cost of each part, without the parts inside it, and of everything else.

        Args:
            network: A network with all candidates, on the device `meta`.
            parts: Modules of the candidates.
            inputs: Input of the network for one sample, on the device `meta`; `None` if unknown.

        Raises:
            UsageError: The resource cannot be counted for this network.
        """


class Parameters(Resource):
    """Number of parameters, without those of an auxiliary head."""

    name = "parameters"
    unit = "parameters"

    def costs(
        self, network: nn.Module, parts: Sequence[Part], inputs: Any
    ) -> tuple[list[float], float]:
        """Return the number of parameters of each part and of everything else."""
        inner = inside(parts)
        sizes = [count_parameters(part.module) for part in parts]
        own = [size - sum(sizes[j] for j in inner[i]) for i, size in enumerate(sizes)]
        return [float(size) for size in own], float(count_parameters(network) - sum(own))


class MultiplyAdds(Resource):
    """Multiply-adds of convolutions, linear layers and matrix products for one sample."""

    name = "macs"
    unit = "multiply-adds"

    def costs(
        self, network: nn.Module, parts: Sequence[Part], inputs: Any
    ) -> tuple[list[float], float]:
        """Return the multiply-adds of each part and of everything else.

        Raises:
            UsageError: The input is not known.
        """
        if inputs is None:
            raise UsageError(
                f"the multiply-adds of {type(network).__name__} do not add up, or its data has no "
                f"image_size: set resource to parameters"
            )
        calls = Calls(network, parts, inputs)
        return [float(own) for own in calls.own], float(calls.total - sum(calls.own))


class Calls:
    """Counts the multiply-adds of a network and its parts by one pass on the device `meta`.

    A part that has the same operation, parameters and input as an earlier one, and no part inside
    it, is not run again: a deep network has thousands of candidates and few different ones.

    Args:
        network: The network.
        parts: Modules of the candidates.
        inputs: Input of the network.

    Attributes:
        own: Multiply-adds of each part, without the parts inside it, over all its calls.
        total: Multiply-adds of the network.
        shapes: Shapes of input and output of each call of each part.
    """

    def __init__(self, network: nn.Module, parts: Sequence[Part], inputs: Any) -> None:
        self.own = [0] * len(parts)
        self.shapes: list[list[tuple[torch.Size, torch.Size]]] = [[] for _ in parts]
        self._counter = FlopCounterMode(display=False)
        self._known: dict[object, tuple[int, Any]] = {}
        self._skipped = 0
        self._inside: list[int] = []
        leaves = [not inner for inner in inside(parts)]
        with ExitStack() as stack:
            for index, part in enumerate(parts):
                self._watch(stack, index, part, leaves[index])
            stack.enter_context(self._counter)
            stack.enter_context(torch.no_grad())
            network.eval()(inputs)
        self.total = self._so_far()

    def _so_far(self) -> int:
        # the counter counts two operations per multiply-add
        return self._counter.get_total_flops() // 2 + self._skipped

    def _watch(self, stack: ExitStack, index: int, part: Part, leaf: bool) -> None:
        """Count the calls of a part while a stack of contexts lasts."""
        forward = part.module.forward
        sizes = tuple(tuple(p.shape) for p in part.module.parameters())
        described = part.operation, sizes, repr(part.module)

        def counted(*args: Any, **kwargs: Any) -> Any:
            alone = leaf and len(args) == 1 and isinstance(args[0], Tensor) and not kwargs
            key = (described, args[0].shape) if alone else None
            if key is not None and key in self._known:
                cost, out = self._known[key]
                self._skipped += cost
            else:
                before, self._inside = (self._so_far(), self._inside), []
                out = forward(*args, **kwargs)
                cost = self._so_far() - before[0]
                self.own[index] -= sum(self._inside)
                self._inside = before[1]
                if key is not None:
                    self._known[key] = cost, out
            self.own[index] += cost
            self._inside.append(cost)
            self.shapes[index].append((_shape((args, kwargs)), _shape(out)))
            return out

        part.module.forward = counted  # until the pass is over
        stack.callback(delattr, part.module, "forward")


def _shape(values: Any) -> torch.Size:
    """Return the shape of the first tensor of some values."""
    return next(
        (leaf.shape for leaf in tree_leaves(values) if isinstance(leaf, Tensor)), torch.Size()
    )


def inside(parts: Sequence[Part]) -> list[list[int]]:
    """Return for each part the indices of the outermost parts inside it."""
    places = {id(part.module): index for index, part in enumerate(parts)}

    def found(module: nn.Module) -> list[int]:
        indices = []
        for child in module.children():
            here = places.get(id(child))
            indices += found(child) if here is None else [here]
        return indices

    return [found(part.module) for part in parts]
