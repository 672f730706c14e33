"""The pair of processes, started once for all tests of this folder."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.processes import run_two_processes

Pair = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Run all cases and jobs, see `tests.ddp.pair`."""
    return found("run", tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="session")
def further(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Run the cases that `make test` leaves out."""
    return found("run_further", tmp_path_factory.mktemp("further"))


def found(function: str, folder: Path) -> Pair:
    """Return the results of both processes."""
    run_two_processes("tests.ddp.pair", function, folder, seconds=900)
    # holds what our own test objects made: read as it is
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2))
    return first, second
