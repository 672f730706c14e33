"""Measure groups of cases: warm up, then in turns, so that the machine is the same for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch

from nas_lightning.bench.case import Case, Group, Step
from nas_lightning.bench.counters import Counts, count
from nas_lightning.bench.harness import Harness
from nas_lightning.bench.precision import computed_in
from nas_lightning.bench.results import Results, Row, here, paired_ratio

NOT_COUNTED = ("data", "fit")
"""Steps whose kernels, FLOPs and bytes are not counted."""


@dataclass(frozen=True)
class Options:
    """Options of a measurement.

    Attributes:
        repeat: Number of measured rounds.
        warm_up: Number of rounds before them.
        accelerator: Accelerator of the trainer, such as `cpu` or `auto`.
        counts: Also count kernels, FLOPs and bytes, in separate passes.
        say: Called with a line that says what is being measured.
        show: Called between rounds with what is measured, and the numbers of rounds that are done
            and of all rounds. Its time is not measured.
    """

    repeat: int = 10
    warm_up: int = 2
    accelerator: str = "auto"
    counts: bool = True
    say: Callable[[str], object] = print
    show: Callable[[str, int, int], object] = lambda *_: None


def measure(groups: Sequence[Group], options: Options, command: Sequence[str] = ()) -> Results:
    """Measure all groups, one after the other.

    Args:
        groups: The groups.
        options: Options of the measurement.
        command: The command line, to be kept with the results.

    Raises:
        UsageError: A case has no such step.
    """
    rows: list[Row] = []
    machine = here(options.accelerator)
    for group in groups:
        with on_threads(group.threads):
            rows += _measure_group(group, options)
    return Results(tuple(rows), machine, tuple(command))


def alternate(
    functions: Sequence[Callable[[], float]],
    repeat: int,
    warm_up: int,
    show: Callable[[int, int], object] = lambda *_: None,
) -> list[list[float]]:
    """Call functions in turn: A B A B.

    Args:
        functions: Functions that return a time in seconds.
        repeat: Number of measured rounds.
        warm_up: Number of rounds before them.
        show: Called before each round with the number of rounds that are done, and of all rounds.

    Returns:
        For each function, its value in each round.
    """
    rounds: list[list[float]] = []
    for done in range(warm_up + repeat):
        show(done, warm_up + repeat)
        rounds.append([function() for function in functions])
    return [list(values) for values in zip(*rounds[warm_up:], strict=True)]


def full_seconds(
    step: float, weight: float | None, epochs: int, arch_epochs: int, batches: int
) -> float:
    """Estimate the seconds of all training batches of a full run.

    Args:
        step: Seconds of a batch with an architecture step, or of a batch of a retraining.
        weight: Seconds of a weight step, for epochs of warm-up; `None` means `step`.
        epochs: Number of epochs.
        arch_epochs: Number of epochs with architecture steps.
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
    """Measure a group; append each harness to the list, so that the caller can close it."""
    counts: dict[tuple[str, Step], Counts] = {}
    threads = torch.get_num_threads()
    for case in group.cases:
        options.say(f"{group.name}: {case.name}")
        harness = Harness(case, options.accelerator)
        harnesses.append(harness)
        if harness.without_graphs:
            options.say(f"{group.name}: {case.name} without graphs: {harness.without_graphs}")
        if options.counts and case.compile is None and not case.graphs:
            # count now, before another case takes memory
            counts |= {(case.name, s): _count(harness, s) for s in group.steps if _counted(s)}
    medians: dict[tuple[str, Step], float] = {}
    rows = []
    for step in sorted(group.steps, key=lambda step: step != "weight"):
        options.say(f"{group.name}: {step}, {options.repeat} times each")
        functions = [_timed(harness, step) for harness in harnesses]
        # every fit captures its graphs again
        captured = 0 if step == "fit" else max(harness.warm_up for harness in harnesses)
        show = partial(options.show, f"{group.name}: {step}")
        found = alternate(functions, options.repeat, max(options.warm_up, captured), show)
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
        function()  # creates the optimizers' state
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
            finish(device)
            began = time.perf_counter()
            function()
            finish(device)
            return time.perf_counter() - began

    return timed


def finish(device: torch.device) -> None:
    """Wait until the device has computed everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def on_threads(number: int | None) -> Iterator[None]:
    """Compute with so many CPU threads inside the context; `None` leaves their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
