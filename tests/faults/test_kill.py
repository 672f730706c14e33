"""Runs that are killed at random moments end as one that was not. `make test-faults`."""

import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

import pytest

from nas_lightning.cli import main
from nas_lightning.runs.record_file import read_record
from tests.cli.conftest import write_inputs
from tests.runs.test_resume import assert_same_end

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("NAS_TEST_KILLS", "60"))
"""Kills of the plain search; the other kinds of runs share as many."""
AT_ONCE = 2
BATCHES = 18  # three epochs of six, with a checkpoint after each batch
SETTINGS = (
    "--trainer.max_epochs 3 --trainer.log_every_n_steps 2 --checkpoint.every_batches 1 --threads 1"
)
SEARCH = "--config search --data.train_size 96"
KINDS = {
    "search": SEARCH,
    "workers": f"{SEARCH} --data.num_workers 2",
    "gaea": f"{SEARCH} --config gaea.yaml",
    "second order": f"{SEARCH} --config second_order.yaml",
    "recurrent": "--config recurrent.yaml",
    "choices": f"{SEARCH} --config choices.yaml",
    "retraining": "--config retrain --data.train_size 64 --model.genotype genotype.json "
    "--model.drop_path 0.2",
}
"""Options of each kind of run, which has `BATCHES` batches."""
# multiplicative steps of alpha and beta
GAEA = """\
model:
  init_args:
    strategies:
      - {class_path: ExponentiatedGradient, init_args: {lr: 1.0, edges: true}}
      - {class_path: PartialChannels, init_args: {k: 4}}
    arch_optimizer: null
"""
SECOND_ORDER = "model: {init_args: {strategies: [{class_path: Unrolled}]}}\n"
# a hidden state that is carried from batch to batch, dropout, batches of random lengths
RECURRENT = """\
seed_everything: 0
model:
  class_path: SearchModule
  init_args:
    supernet: {class_path: RecurrentSupernet, init_args: {hidden: 6, steps: 2, dropout: 0.2}}
    task: {class_path: LanguageModeling, init_args: {bptt: 12}}
    gradient_clip: 0.25
data:
  class_path: SyntheticText
  init_args:
    num_tokens: 11
    mode: search
    train_size: 293
    valid_size: 303
    test_size: 124
    batch_size: 4
    test_batch_size: 4
    bptt: 12
    bptt_jitter: 2.0
trainer: {accelerator: cpu, enable_model_summary: false}
"""
# sampled candidates, and a choice within a candidate
CHOICES = """\
model:
  init_args:
    supernet:
      class_path: ChoiceSupernet
      init_args: {network: tests.spaces.choice.networks.Chain, running_stats: true}
    strategies: [{class_path: GDAS}]
"""
CONTEXT = multiprocessing.get_context("forkserver")  # the imports, which take seconds, once
CONTEXT.set_forkserver_preload(["nas_lightning.runs.command"])


class Fate(NamedTuple):
    """What became of a killed run."""

    seconds: float
    writing: bool
    kept: str
    resumed_at: str
    ended_alike: bool


def nas(folder: Path, line: str) -> None:
    """Run `nas` in this process; what it says goes to a file."""
    os.chdir(folder)
    with (folder / "said.txt").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        sys.exit(main(line.split()))


def start(folder: Path, options: str) -> ForkServerProcess:
    """Start the run of a folder in a process of its own."""
    line = f"fit {options} --run_dir run {SETTINGS}"
    process = CONTEXT.Process(target=nas, args=(folder, line))
    process.start()
    return process


def finish(process: ForkServerProcess, folder: Path) -> None:
    process.join(timeout=300)
    assert process.exitcode == 0, (folder / "said.txt").read_text()[-2000:]


def make_folder(folder: Path) -> Path:
    folder.mkdir()
    write_inputs(folder)
    texts = {
        "gaea": GAEA,
        "second_order": SECOND_ORDER,
        "recurrent": RECURRENT,
        "choices": CHOICES,
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


class Writes:
    """Counts the checkpoints whose writing has begun, by looking often."""

    def __init__(self, checkpoints: Path) -> None:
        self.file = checkpoints / ".last.ckpt.new.part"
        self.there = False
        self.count = 0

    def begun(self) -> int:
        # not by the numbers of the files: file systems use them again
        before, self.there = self.there, self.file.exists()
        self.count += self.there and not before
        return self.count


def moment(draw: random.Random, folder: Path, seconds: float, at_write: bool) -> Callable[[], bool]:
    """Whether the time to kill has come: a random one, or one while a checkpoint is written."""
    began = time.monotonic()
    if not at_write:
        until = began + draw.uniform(0, seconds)
        return lambda: time.monotonic() >= until
    writes, count = Writes(folder / "run" / "checkpoints"), draw.randint(1, BATCHES)
    return lambda: writes.begun() >= count


def kill_and_go_on(folder: Path, options: str, whole: Path, number: int, seconds: float) -> Fate:
    """Kill a run at the moment that its number gives, let it go on, and compare the ends."""
    draw = random.Random(number)
    make_folder(folder)
    process, began = start(folder, options), time.monotonic()
    come = moment(draw, folder, seconds, at_write=number % 2 == 0)
    while process.is_alive() and not come():
        time.sleep(0.0002)
    if number % 2 == 0:
        time.sleep(draw.uniform(0, 0.004))
    process.kill()
    process.join()
    after = time.monotonic() - began
    checkpoints = folder / "run" / "checkpoints"
    names = {path.name for path in checkpoints.glob("*")} | {
        ".part" for _ in checkpoints.glob(".*")
    }
    finish(start(folder, f"{options} --ckpt_path auto"), folder)
    try:
        assert_same_end(str(whole / "run"), str(folder / "run"))
        alike = True
    except AssertionError:
        alike = False
    last = read_record(folder / "run")["starts"][-1]
    assert last["outcome"] == "finished"
    at = last.get("from", last["to"])  # killed after its end, it had nothing left to do
    kept = " ".join(sorted(name.removesuffix(".ckpt") for name in names if name.endswith(".ckpt")))
    return Fate(
        after,
        bool(names & {".part", "last.ckpt.new", "previous.link"}),
        kept or "nothing",
        f"epoch {at['epoch']}, batch {at['batch']}",
        alike,
    )


def table(fates: list[Fate]) -> str:
    lines = [f"{'kill':>4} {'after':>7} {'in a write':<11} {'kept':<15} {'went on at':<18} end"]
    lines += [
        f"{number:>4} {fate.seconds:>6.2f}s {'yes' if fate.writing else 'no':<11} {fate.kept:<15} "
        f"{fate.resumed_at:<18} {'equal' if fate.ended_alike else 'DIFFERENT'}"
        for number, fate in enumerate(fates)
    ]
    equal = sum(fate.ended_alike for fate in fates)
    count = Counter(fate.writing for fate in fates)
    return "\n".join([*lines, f"{equal} of {len(fates)} equal, {count[True]} killed in a write"])


@pytest.mark.parametrize("kind", KINDS)
def test_killed_runs_end_as_the_whole_one(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = KINDS[kind]
    kills = KILLS if kind == "search" else max(2, KILLS // (len(KINDS) - 1))
    whole = make_folder(tmp_path / "whole")
    finish(start(whole, options), whole)  # also starts the server, whose imports must not be timed
    again = make_folder(tmp_path / "again")
    began = time.monotonic()
    finish(start(again, options), again)
    seconds = time.monotonic() - began

    def kill(number: int) -> Fate:
        return kill_and_go_on(tmp_path / str(number), options, whole, number, 1.3 * seconds)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        fates = list(pool.map(kill, range(kills)))
    with capsys.disabled():
        print(f"\n{kind}\n{table(fates)}")
    assert all(fate.ended_alike for fate in fates)
    assert sum(fate.writing for fate in fates) >= kills // 10
