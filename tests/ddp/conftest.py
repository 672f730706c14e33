"""The pair of processes, started once for all tests of this folder."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.processes import run_two_processes

Pair = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """What both processes found, see `tests.ddp.pair`."""
    folder: Path = tmp_path_factory.mktemp("pair")
    run_two_processes("tests.ddp.pair", "run", folder, seconds=900)
    # holds what our own test objects made: read as it is
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2))
    return first, second
