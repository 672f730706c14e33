"""Verbs that do not train answer without the libraries that training needs."""

import subprocess
import sys
from pathlib import Path

import torch

from nas_lightning.architecture import random_genotype
from nas_lightning.spaces import get_space
from nas_lightning.spaces.nas_bench_201 import to_string
from nas_lightning.supernet.fast import constants
from tests.studies.reports import small_study

TRAINING = {"lightning", "torchvision", "torchmetrics", "jsonargparse", "tensorboard"}
LINES = {
    "configs": {"torch", *TRAINING},
    "configs show cifar_darts": {"torch", *TRAINING},
    "info runs/search": {"torch", *TRAINING},
    "draw DARTS_V2 -o cells.svg": {"torch._dynamo", *TRAINING},
    "lookup --table table.csv CELL": {"torch._dynamo", *TRAINING},
    "report study": {"torch._dynamo", *TRAINING},
    "info DARTS_V2": TRAINING,
    "info supernet": TRAINING,
}
"""Command line → modules that it does not import, nor do those before it."""
RUN = """
import sys
from nas_lightning.cli import main
for line in sys.argv[1:]:
    code = main(line.split())
    print("ran", code, *sorted(sys.modules))
"""


def test_verbs_that_do_not_train_import_no_training_library(searched: Path) -> None:
    """Importing them takes seconds; all lines run in one process."""
    assert searched.is_dir()
    cell = to_string(random_genotype(get_space("nas_bench_201"), 0))
    Path("table.csv").write_text(f"arch,cifar10_test\n{cell},90\n", encoding="utf-8")
    small_study(Path("study"))
    lines = [line.replace("CELL", cell) for line in LINES]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *lines], capture_output=True, text=True, check=True
    )
    ran = [line.split() for line in done.stdout.splitlines() if line.startswith("ran ")]
    assert len(ran) == len(LINES)
    for (line, without), (_, code, *modules) in zip(LINES.items(), ran, strict=True):
        assert code == "0", (line, done.stderr)
        assert without & set(modules) == set(), line


def test_constants_are_marked_as_torch_marks_them() -> None:
    """The function of `torch.compiler` that does it imports the compiler."""
    marked = vars(torch.compiler.assume_constant_result(lambda: None))  # type: ignore[no-untyped-call] # torch
    assert marked
    assert marked.items() <= vars(constants.identity).items()
