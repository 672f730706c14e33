"""Measure the latencies of all operations that the networks of a space contain."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from nas_lightning.architecture import NetworkFactory, SearchSpace
from nas_lightning.architecture.latency import FORMAT, LatencyTable, Row
from nas_lightning.architecture.resources import Part, Resource
from nas_lightning.architecture.units import Unit, units
from nas_lightning.bench.measure import finish, on_threads
from nas_lightning.bench.results import processor
from nas_lightning.spaces import family_of

SHORTEST = 2e-3
"""Seconds that a sample lasts at least: a shorter operation runs several times in it."""
MOST = 1000
"""Largest number of runs in a sample."""


@dataclass(frozen=True)
class LatencyOptions:
    """Options of a measurement.

    Attributes:
        device: The device, such as `cpu` or `cuda`.
        batch_size: Number of images in a batch.
        threads: CPU threads; `None` leaves PyTorch's number.
        warm_up: Number of samples of an operation before the measured ones.
        repeat: Number of measured samples of an operation.
        show: Called before each operation with its name, the number of those that are done, and
            the number of all.
    """

    device: str = "cpu"
    batch_size: int = 1
    threads: int | None = None
    warm_up: int = 5
    repeat: int = 30
    show: Callable[[str, int, int], object] = lambda *_: None


class _Listing(Resource):
    """Costs nothing, but keeps the modules of a network with all candidates."""

    name = "latency"
    unit = "ms"
    counted: ClassVar[bool] = False

    def __init__(self) -> None:
        self.found: list[Unit] = []

    def costs(
        self, network: nn.Module, parts: Sequence[Part], inputs: Any
    ) -> tuple[list[float], float]:
        """Keep the modules."""
        self.found = units(network, parts, inputs)
        return [0.0] * len(parts), 0.0


def measure_latencies(
    space: SearchSpace,
    network: NetworkFactory,
    data_spec: Mapping[str, Any],
    options: LatencyOptions,
) -> LatencyTable:
    """Measure each operation once at each size at which a network of the space runs it.

    Each runs alone, in evaluation and without gradients, with random weights and inputs.

    Args:
        space: The search space.
        network: Factory of the network.
        data_spec: Sizes of the data.
        options: Options of the measurement.

    Raises:
        UsageError: The modules of the space's networks cannot be measured.
    """
    listing = _Listing()
    family_of(space).prices(space, network, data_spec, listing)
    found = {
        place: (unit.module, shapes)
        for unit in listing.found
        for place, shapes in zip(unit.places, unit.inputs, strict=True)
    }
    device = torch.device(options.device)
    rows = []
    with on_threads(options.threads):
        threads = torch.get_num_threads()
        for done, (place, (module, shapes)) in enumerate(
            sorted(found.items(), key=lambda one: one[0])
        ):
            options.show(str(place), done, len(found))
            samples = _samples(module, shapes, device, options)
            quarters = statistics.quantiles(samples, n=4) if len(samples) > 1 else [0.0] * 3
            times = statistics.median(samples), quarters[2] - quarters[0]
            rows.append(Row(*place, *(float(f"{1e3 * seconds:.4g}") for seconds in times)))
    return LatencyTable(
        FORMAT,
        1,
        torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        options.batch_size,
        rows,
        threads,
        options.warm_up,
        options.repeat,
    )


def _samples(
    on_meta: nn.Module,
    shapes: Sequence[torch.Size],
    device: torch.device,
    options: LatencyOptions,
) -> list[float]:
    """Return the seconds of single runs of a module."""
    module = copy.deepcopy(on_meta).to_empty(device=device).eval()
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            # uninitialised memory may hold numbers that are slow to compute with
            tensor.uniform_(0.1, 1) if tensor.is_floating_point() else tensor.zero_()
    inputs = [torch.rand(options.batch_size, *shape, device=device) for shape in shapes]

    def sample(number: int) -> float:
        finish(device)
        began = time.perf_counter()
        for _ in range(number):
            module(*inputs)
        finish(device)
        return (time.perf_counter() - began) / number

    with torch.inference_mode():
        sample(1)
        number = min(MOST, max(1, round(SHORTEST / max(sample(1), 1e-9))))
        for _ in range(options.warm_up):
            sample(number)
        return [sample(number) for _ in range(options.repeat)]
