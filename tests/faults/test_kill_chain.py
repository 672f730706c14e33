"""P-DARTS on digits, killed in the middle of each of its searches and of the retraining."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_lightning.studies.results import read_results
from tests.faults.test_kill_study import facts
from tests.studies.test_study import call, start

pytestmark = pytest.mark.faults
LINE = (
    "study --config pdarts=digits_pdarts --retrain digits_retrain --seeds 1 --random 0 --dir s "
    "--all.trainer.limit_train_batches 6 --all.trainer.limit_val_batches 2 "
    "--search.trainer.max_epochs 4 --retrain.trainer.max_epochs 3"
)
SEARCH = "searches/pdarts/seed_0"
TIMES = {"seconds", "cpu_seconds", "peak_memory_mib"}


def killed_in(folder: Path, run: str) -> Path:
    """Run the study until a run has its first checkpoint, kill it, and return the run's folder."""
    process = start(LINE, folder)
    until = time.monotonic() + 400
    while not (found := list((folder / "s").glob(f"{run}/checkpoints/last.ckpt"))):
        assert process.poll() is None, (folder / "said.txt").read_text()
        assert time.monotonic() < until, run
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    place = found[0].parent.parent
    assert not (place / "result.json").exists()  # in the middle, not after it
    return place


def content(run: Path) -> dict[str, Any]:
    """All that a run came to, less its times and its place."""
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    kept = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")
    result = json.loads((run / "result.json").read_text())
    found = {key: checkpoint[key] for key in kept}
    found["result"] = {key: value for key, value in result.items() if key not in TIMES}
    if (run / "genotype.json").exists():
        genotype = json.loads((run / "genotype.json").read_text())
        origin = {k: v for k, v in genotype["provenance"].items() if k not in PLACES}
        found["genotype"] = {**genotype, "provenance": origin}
    return found


PLACES = ("run_dir", "strategies")
"""Entries of the provenance that name the folder of the study."""


def assert_equal(one: Any, two: Any, where: str) -> None:
    """Check that nested data hold the same bits."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_equal(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for index, pair in enumerate(zip(one, two, strict=True)):
            assert_equal(*pair, f"{where}[{index}]")
    else:
        assert one == two, where


def test_a_chain_that_is_killed_in_each_search_is_the_same(tmp_path: Path) -> None:
    code, said = call(LINE.replace("--dir s", "--dir whole"), tmp_path)
    assert code == 0, said
    runs = (f"{SEARCH}/link_1", f"{SEARCH}/link_2", SEARCH, "retrains/*/seed_0")
    places = [killed_in(tmp_path, run) for run in runs]
    code, said = call(LINE, tmp_path)
    assert code == 0, said
    for place in places:
        outcomes = [s["outcome"] for s in json.loads((place / "run.json").read_text())["starts"]]
        assert outcomes == ["killed", "finished"]
        whole = tmp_path / "whole" / place.relative_to(tmp_path / "s")
        assert_equal(content(place), content(whole), place.name)
    assert facts(tmp_path / "s") == facts(tmp_path / "whole")
    (run_of_chain,) = read_results(tmp_path / "s").runs
    assert run_of_chain.final is not None
    assert run_of_chain.genotype is not None
    assert run_of_chain.genotype.skips("normal") <= 2
    assert "Traceback" not in said
