"""Memory of the estimators and of checkpointing: the pages' promise against the count.

Sizes are such that activations are many times the weights, as in a real search: where they are
not, a few copies of the weights would outweigh all that is asked about here.
"""

import contextlib
import functools
import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch.profiler import ProfilerActivity, profile

from nas_lightning.bench import Case
from nas_lightning.bench.harness import Harness, quiet
from nas_lightning.search import bilevel
from tests.methods import rest_long

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
BATCH = 16
MOST = 2.2
"""Limits of second order and of the amended gradient, in units of first order's peak."""
ESTIMATORS = ["second_order", "amended", "neumann"]
CELLS = ["fast", "reference"]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the examples importable, as `PYTHONPATH=docs/examples` does."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


@functools.cache
def peak(method: str, cells: str = "fast", batch: int = BATCH) -> Any:
    """Return the peak bytes of a step at small size."""
    memory = importlib.import_module("memory")
    return memory.peak(replace(memory.SMALL, reference=cells == "reference"), method, batch)


@functools.cache
def graph_of_all(cells: str) -> int:
    """Peak of an architecture step of first order that keeps what gradients of weights need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bilevel, "frozen", lambda _: contextlib.nullcontext())
        return int(peak.__wrapped__("darts", cells).arch)


def weights() -> int:
    """Bytes of the weights of that supernet."""
    memory = importlib.import_module("memory")
    supernet = memory.case(memory.SMALL, "darts", BATCH).make().module.supernet
    return sum(value.numel() * value.element_size() for value in supernet.parameters())


@pytest.mark.parametrize("cells", rest_long(CELLS, keep=["fast"]))
@pytest.mark.parametrize("method", ESTIMATORS)
def test_estimators_keep_the_promise(method: str, cells: str) -> None:
    first, found = peak("darts", cells), peak(method, cells)
    assert found.arch <= MOST * first.arch
    assert found.search <= MOST * first.search
    assert found.weight == first.weight  # it is the same step


@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("method", ESTIMATORS)
def test_estimators_by_differences_hold_one_graph_at_a_time(method: str, cells: str) -> None:
    """Beside it there are copies of the weights alone; a second graph would be many of them."""
    first = graph_of_all(cells)
    assert peak(method, cells).arch - first <= 6 * weights() < first / 2


@pytest.mark.parametrize("cells", CELLS)
def test_first_order_keeps_nothing_for_gradients_of_weights(cells: str) -> None:
    """Images of the first convolutions, above all."""
    assert peak("darts", cells).arch < 0.9 * graph_of_all(cells)


@pytest.mark.parametrize(
    ("method", "cells"), [("darts", "fast"), ("darts", "reference"), ("amended", "fast")]
)
def test_checkpointed_cells_take_less(method: str, cells: str) -> None:
    plain, checkpointed = peak(method, cells), peak(f"{method}_checkpointed", cells)
    for step in ("arch", "weight", "search"):
        assert getattr(checkpointed, step) < 0.75 * getattr(plain, step)


def test_the_search_takes_the_larger_of_its_steps() -> None:
    """Nothing that one step made outlives it, but for gradients and states."""
    found = peak("second_order")
    assert max(found.arch, found.weight) <= found.search < 1.01 * max(found.arch, found.weight)


def test_activations_grow_with_the_batch() -> None:
    once, twice = peak("pcdarts").arch, peak("pcdarts", batch=2 * BATCH).arch
    assert twice == pytest.approx(2 * once, rel=0.05)


def allocated(case: Case) -> int:
    """Return the peak of the bytes of an architecture step, by torch's allocator."""
    with quiet():
        harness = Harness(case, "cpu")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        harness.step("arch")()
    assert found.profiler is not None
    results: Any = found.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    alive = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()  # negative when given back
        most = max(most, alive)
    return most


@pytest.mark.parametrize("method", ["darts", "amended", "darts_checkpointed"])
def test_counts_are_those_of_the_allocator(method: str) -> None:
    memory = importlib.import_module("memory")
    expected = allocated(memory.case(memory.SMALL, method, BATCH))
    # the allocator also sees what operators take and give back inside
    assert 0.9 * expected < peak(method).arch <= expected


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    memory = importlib.import_module("memory")
    memory.main(["--small", "--methods", "gdas", "pcdarts", "--batches", "2", "4"])
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert [row[:2] for row in rows] == [
        ["gdas", "2"], ["pcdarts", "2"], ["gdas", "4"], ["pcdarts", "4"]
    ]  # fmt: skip
    found, first = peak("pcdarts", batch=4), peak("gdas", batch=4)
    assert rows[-1][header.index("search step")] == f"{found.search / 2**20:.0f} MiB"
    assert rows[-1][header.index("search ratio")] == f"{found.search / first.search:.2f}"
    assert rows[0][header.index("arch ratio")] == "1.00"
