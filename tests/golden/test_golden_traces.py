"""Golden traces: α of every method after each of five steps, in double precision.

They change only when a method changes. `NAS_WRITE_GOLDEN=1 pytest tests/golden` writes them again.
"""

import json
import os
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.methods import METHODS
from tests.recorded import Trace, recorded

FOLDER = Path(__file__).parent
STEPS = 5


def golden(method: str) -> Tensor:
    """Return the trace that is written down for a method (5, E · O)."""
    rows = json.loads((FOLDER / f"{method}.json").read_text())
    return torch.tensor(rows, dtype=torch.float64)


def normal(trace: Trace) -> Tensor:
    """Return α of the normal cells after each step (5, E · O)."""
    return torch.stack([step["alpha.normal"] for step in trace[:STEPS]]).flatten(1)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_method_does_what_it_did(method: str) -> None:
    found = normal(recorded(method).trace)
    assert found.shape[0] == STEPS
    assert found.dtype == torch.float64
    file = FOLDER / f"{method}.json"
    if os.environ.get("NAS_WRITE_GOLDEN") == "1":
        rows = [json.dumps([round(v, 12) for v in step.tolist()]) for step in found]
        file.write_text("[\n" + ",\n".join(rows) + "\n]\n")
    torch.testing.assert_close(found, golden(method), rtol=1e-6, atol=1e-9)


def test_all_traces_differ() -> None:
    for first, second in combinations(METHODS, 2):
        assert not torch.equal(golden(first), golden(second)), (first, second)


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(METHODS)
