"""SGAS on digits from its start to a retraining, each killed once and resumed, as if it was not."""

import os
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from nas_lightning.architecture import Genotype
from nas_lightning.cli import main
from nas_lightning.runs.record_file import read_record
from tests.faults.test_kill import CONTEXT, Writes
from tests.runs.test_resume import assert_same_end

pytestmark = pytest.mark.faults

SEARCH = "fit --config digits_sgas --run_dir search --checkpoint.every_batches 2"
RETRAIN = (
    "fit --config digits_retrain --model.genotype search/genotype.json --run_dir retrain "
    "--trainer.max_epochs 3 --checkpoint.every_batches 5"
)
KILLED_AFTER = {SEARCH: "epoch 5/10", RETRAIN: "epoch 1/3"}
"""Line after which a run is killed as it writes the third checkpoint from then on."""


def nas(folder: Path, words: Sequence[str]) -> None:
    """Run `nas` in this process; what it says goes to a file."""
    os.chdir(folder)
    with (folder / "said.txt").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        raise SystemExit(main(list(words)))


def start(folder: Path, line: str) -> ForkServerProcess:
    process = CONTEXT.Process(target=nas, args=(folder, line.split()))
    process.start()
    return process


def finish(folder: Path, line: str) -> None:
    process = start(folder, line)
    process.join(timeout=600)
    assert process.exitcode == 0, (folder / "said.txt").read_text()[-2000:]


def kill(folder: Path, line: str) -> None:
    """Start a run, and kill it as it writes a checkpoint in its middle."""
    words, said = line.split(), folder / "said.txt"
    process = start(folder, line)
    while process.is_alive() and not (said.exists() and KILLED_AFTER[line] in said.read_text()):
        time.sleep(0.002)
    writes = Writes(folder / words[words.index("--run_dir") + 1] / "checkpoints")
    while process.is_alive() and writes.begun() < 3:
        time.sleep(0.0002)
    assert process.is_alive(), said.read_text()[-2000:]
    process.kill()
    process.join()


def test_a_killed_search_and_its_killed_retraining_end_as_if_they_were_not(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    for line in (SEARCH, RETRAIN):
        finish(whole, line)
        kill(cut, line)
        finish(cut, f"{line} --ckpt_path auto")
    for run in ("search", "retrain"):
        assert_same_end(str(whole / run), str(cut / run))
        starts = read_record(cut / run)["starts"]
        assert len(starts) == 2
        print(run, "went on at", starts[1]["from"])
        assert starts[1]["from"]["epoch"] in ((4, 5, 6) if run == "search" else (1, 2))
    found = [
        Genotype.load(folder / "search/genotype.json").provenance["sgas"] for folder in (whole, cut)
    ]
    assert found[0] == found[1]
    assert [d["epoch"] for d in found[0]["decisions"]] == [e for e in range(2, 8) for _ in "nr"]
