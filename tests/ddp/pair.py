"""What the pair of processes does; one pair for all of it, since starting one takes seconds."""

import importlib
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.ddp import cases, disagreement, together
from tests.ddp.cases import CASES, FURTHER, Case
from tests.ddp.joint_norm import derivatives

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))
communication = importlib.import_module("communication")


def sent() -> dict[str, Any]:
    """What is sent by each method, in types that need no import, and the table of it."""
    found = communication.measured()
    plain = {method: each._asdict() for method, each in found.items()}
    return {"methods": plain, "table": communication.table(found)}


JOBS: dict[str, Callable[[Path], Any]] = {
    "uneven validation": together.uneven_validation,
    "roll back": together.roll_back,
    **{f"disagree in {what}": job for what, job in disagreement.JOBS.items()},
    "communication": lambda folder: sent(),
    "norms": lambda folder: derivatives(joint=True),
}


def run_cases(chosen: Mapping[str, Case], folder: Path) -> dict[str, Any]:
    """Run cases on one process and on two."""
    rank = int(os.environ["RANK"])
    found: dict[str, Any] = {"alone": {}, "together": {}}
    names = list(chosen)
    for name in names[rank::2]:  # each a half, since reading a configuration takes longest
        parts = chosen[name].build(folder / str(rank))
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(parts))
        found["alone"][name] = cases.run(chosen[name], parts, processes=1)
    dist.init_process_group("gloo")  # from here on there are two
    for name in names:
        parts = pickle.loads((folder / f"{name}.pickle").read_bytes())
        found["together"][name] = cases.run(chosen[name], parts, processes=2)
    return found


def save(found: dict[str, Any], folder: Path) -> None:
    """Write the results of this process to `RANK.pt`."""
    torch.save(found, folder / f"{os.environ['RANK']}.pt")


def run(folder: Path) -> None:
    """Run the cases of `make test` and all jobs."""
    found = run_cases(CASES, folder)
    for name, job in JOBS.items():
        found[name] = job(folder / name)
    save(found, folder)


def run_further(folder: Path) -> None:
    """Run the cases that `make test` leaves out."""
    save(run_cases(FURTHER, folder), folder)
