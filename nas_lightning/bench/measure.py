"""Measure groups of cases: warm up, then take turns, so that all see the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch

from nas_lightning.bench.case import Case, Group, Step
from nas_lightning.bench.counters import Counts, count
from nas_lightning.bench.harness import Harness
from nas_lightning.bench.precision import computed_in
from nas_lightning.bench.results import Results, Row, here, paired_ratio

NOT_COUNTED = ("data", "fit")
"""Steps of which only the time is measured."""


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        repeat: Repetitions that count.
        warm_up: Repetitions before them that do not.
        accelerator: Of the trainer, such as `cpu` or `auto`.
        counts: Also count kernels, FLOPs and bytes, in passes of their own.
        say: Called with a line on what is being measured.
    """

    repeat: int = 10
    warm_up: int = 2
    accelerator: str = "auto"
    counts: bool = True
    say: Callable[[str], object] = print


def measure(groups: Sequence[Group], options: Options, command: Sequence[str] = ()) -> Results:
    """Measure all groups, one behind the other.

    Args:
        groups: The cases.
        options: How to measure.
        command: What was called, to be kept with the figures.

    Raises:
        UsageError: A case has no such step.
    """
    rows: list[Row] = []
    machine = here(options.accelerator)
    for group in groups:
        with _threads(group.threads):
            rows += _measure_group(group, options)
    return Results(tuple(rows), machine, tuple(command))


def alternate(
    functions: Sequence[Callable[[], float]], repeat: int, warm_up: int
) -> list[list[float]]:
    """What functions return when they are called in turn: A B A B.

    Args:
        functions: Each gives a time in seconds.
        repeat: Rounds that count.
        warm_up: Rounds before them.

    Returns:
        For each function its values, by round.
    """
    rounds = [[function() for function in functions] for _ in range(warm_up + repeat)]
    return [list(values) for values in zip(*rounds[warm_up:], strict=True)]


def full_seconds(
    step: float, weight: float | None, epochs: int, arch_epochs: int, batches: int
) -> float:
    """Seconds of all training batches of a full run.

    Args:
        step: Seconds of a batch with an architecture step; of a retraining, of a batch.
        weight: Seconds of a weight step, for epochs of warm-up; none to take `step` for them.
        epochs: Epochs.
        arch_epochs: How many of them take architecture steps.
        batches: Training batches in an epoch.
    """
    return batches * (arch_epochs * step + (epochs - arch_epochs) * (weight or step))


def _measure_group(group: Group, options: Options) -> list[Row]:
    harnesses: list[Harness] = []
    try:
        return _measure_with(harnesses, group, options)
    finally:
        for harness in reversed(harnesses):
            harness.close()


def _measure_with(harnesses: list[Harness], group: Group, options: Options) -> list[Row]:
    """Rows of a group; the list is filled with what it needs."""
    counts: dict[tuple[str, Step], Counts] = {}
    threads = torch.get_num_threads()
    for case in group.cases:
        options.say(f"{group.name}: {case.name}")
        harness = Harness(case, options.accelerator)
        harnesses.append(harness)
        if harness.without_graphs:
            options.say(f"{group.name}: {case.name} without graphs: {harness.without_graphs}")
        if options.counts and case.compile is None and not case.graphs:
            # now, before another case takes memory
            counts |= {(case.name, s): _count(harness, s) for s in group.steps if _counted(s)}
    medians: dict[tuple[str, Step], float] = {}
    rows = []
    for step in sorted(group.steps, key=lambda step: step != "weight"):
        options.say(f"{group.name}: {step}, {options.repeat} times each")
        functions = [_timed(harness, step) for harness in harnesses]
        # every fit captures anew
        captured = 0 if step == "fit" else max(harness.warm_up for harness in harnesses)
        found = alternate(functions, options.repeat, max(options.warm_up, captured))
        for harness, seconds in zip(harnesses, found, strict=True):
            case = harness.case
            medians[case.name, step] = median(seconds)
            whole = _full(harness, step, medians) if step in ("search", "fit", "retrain") else None
            ratio = paired_ratio(seconds, found[0])
            counted = counts.get((case.name, step))
            rows.append(
                Row(
                    group.name,
                    case.name,
                    step,
                    harness.images,
                    threads,
                    tuple(seconds),
                    ratio,
                    whole,
                    counted,
                )
            )
    return sorted(rows, key=lambda row: group.steps.index(row.step))


def _full(harness: Harness, step: Step, medians: dict[tuple[str, Step], float]) -> float:
    case: Case = harness.case
    arch_epochs = case.epochs if step == "retrain" else harness.arch_epochs()
    weight = medians.get((case.name, "weight"))
    measured = medians[case.name, step]
    return full_seconds(measured, weight, case.epochs, arch_epochs, harness.batches)


def _counted(step: Step) -> bool:
    return step not in NOT_COUNTED


def _count(harness: Harness, step: Step) -> Counts:
    function = harness.step(step)
    there = [*harness.module.parameters(), *harness.module.buffers()]
    with computed_in(harness.case.precision):
        function()  # optimizers make their state
        return count(function, there, harness.device, harness.allocated_before)


def _timed(harness: Harness, step: Step) -> Callable[[], float]:
    precision = harness.case.precision
    if step == "fit":

        def fit() -> float:
            with computed_in(precision):
                return harness.fit()

        return fit
    function, device = harness.step(step), harness.device

    def timed() -> float:
        with computed_in(precision):
            harness.begin_batch()
            _finish(device)
            began = time.perf_counter()
            function()
            _finish(device)
            return time.perf_counter() - began

    return timed


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
