"""Captured passes by themselves: batches, shapes, names, and what cannot be captured."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from nas_lightning.search.passes import Graphs
from tests.search.tracing import Traces


def test_batches_that_are_not_tensors_run_by_themselves_and_that_is_said_once() -> None:
    graphs = Graphs(Traces(torch.nn.Module()), warm=0)
    batch = {"x": torch.ones(1), "n": 2}
    with pytest.warns(UserWarning, match="the sum cannot be captured .* consist of tensors alone"):
        assert graphs.run("sum", lambda batch: batch["x"] + batch["n"], batch) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert graphs.run("sum", lambda batch: batch["x"] + batch["n"], batch) == 3
    assert not graphs.replayed


def test_other_shapes_run_by_themselves_and_are_not_captured() -> None:
    graphs = Graphs(Traces(torch.nn.Module()), warm=1)
    scale = torch.ones(())
    for step in range(4):
        scale.fill_(step)
        for size in (4, 3):
            batch = torch.arange(float(size))
            found = graphs.run("sum", lambda x: (x * scale).sum(), batch)
            assert found == batch.sum() * step
    assert graphs.replayed == {"sum": 3}


def test_names_are_captured_by_themselves() -> None:
    graphs = Graphs(Traces(torch.nn.Module()), warm=0)
    for _ in range(2):
        assert graphs.run("double", lambda x: 2 * x, torch.ones(1)) == 2
        assert graphs.run("half", lambda x: x / 2, torch.ones(1)) == 0.5
    assert graphs.replayed == {"double": 2, "half": 2}


def test_what_cannot_be_captured_runs_by_itself_and_says_so_once() -> None:
    def fails(function: Callable[[], Any]) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    graphs = Graphs(fails, warm=0)
    with pytest.warns(UserWarning, match="the sum cannot be captured .*: operation not permitted"):
        assert graphs.run("sum", torch.sum, torch.ones(3)) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert graphs.run("sum", torch.sum, torch.ones(3)) == 3
    assert not graphs.replayed


def test_a_pass_that_was_decided_otherwise_runs_by_itself() -> None:
    graphs = Graphs(Traces(torch.nn.Module()), warm=0)
    for factor in (1, -1, 1):
        scaled = functools.partial(torch.mul, factor)
        assert graphs.run("scaled", scaled, torch.ones(()), decided=factor) == factor
    assert graphs.replayed == {"scaled": 2}


def test_a_replay_writes_over_what_others_returned() -> None:
    """So that a test notices who keeps it: CUDA graphs share their memory."""
    graphs = Graphs(Traces(torch.nn.Module()), warm=0)
    first = graphs.run("double", lambda x: 2 * x, torch.ones(1))
    assert first == 2
    graphs.run("half", lambda x: x / 2, torch.ones(1))
    assert first.isnan()
