"""Small searches as jobs of a cluster, and the files that they leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.slurm.cluster import ROOT, Cluster, wait_for

SCRIPTS = ROOT / "configs" / "slurm"
# over imagenet_pcdarts, which the shipped scripts name
SMALL = """\
model:
  init_args:
    supernet: {init_args: {channels: 8, layers: 3, nodes: 2, stem: cifar}}
    strategies:
      - {class_path: WarmUp, init_args: {epochs: 1}}
      - {class_path: PartialChannels, init_args: {k: 4}}
      - class_path: EdgeNormalization
data:
  class_path: Synthetic
  init_args:
    num_classes: 4
    image_size: 8
    train_size: 128
    test_size: 8
    batch_size: 8
    arch_fraction: 0.5
    num_workers: 2
trainer:
  accelerator: cpu
  precision: 32-true
  max_epochs: 3
  callbacks: [tests.slurm.callbacks.Watch]
"""
# what sbatch is told over the lines of the scripts: this machine has no GPU
OVER = ("--gpus-per-node=0", "--cpus-per-task=1", "--mem=0")


class Job:
    """A search in a working folder, as a job.

    Args:
        cluster: Where it runs.
        folder: The working folder.
        name: Of its run directory.
    """

    def __init__(self, cluster: Cluster, folder: Path, name: str) -> None:
        self.cluster = cluster
        self.folder = folder
        self.run_dir = folder / "runs" / name
        self.number = ""
        (folder / "small.yaml").write_text(SMALL)

    def sbatch(self, script: str, *options: str, more: tuple[str, ...] = ()) -> Job:
        """Submit a shipped script: with options of sbatch, and more of `nas fit`."""
        self.number = self.cluster.run(
            "sbatch",
            "--parsable",
            *OVER,
            *options,
            f"--output={self.run_dir.name}.log",
            str(SCRIPTS / script),
            *("--config", "small.yaml", "--run_dir", f"runs/{self.run_dir.name}"),
            *more,
            cwd=self.folder,
        )
        return self

    def wait_in_the_middle(self, ranks: int) -> None:
        """Wait until all ranks are in the second batch of the second epoch."""
        marks = [self.run_dir / f"waiting-{rank}" for rank in range(ranks)]
        ends = ("FAILED", "TIMEOUT", "COMPLETED", "CANCELLED")

        def there() -> bool:
            assert self.cluster.field(self.number, "JobState") not in ends, self.log()
            return all(mark.exists() for mark in marks)

        where = f"{self.run_dir.name} to be in the middle"
        wait_for(there, where, evidence=lambda: self.cluster.evidence(self.number))

    def wait_at_the_start(self, ranks: int) -> None:
        """Wait until all ranks wait before their first batch, as `hold_the_start` made them."""
        marks = [self.run_dir / f"starting-{rank}" for rank in range(ranks)]
        wait_for(lambda: all(mark.exists() for mark in marks), f"{self.run_dir.name} to start")

    def hold_the_start(self) -> None:
        """Let the first start wait for a signal, before there is anything to save."""
        self.run_dir.mkdir(parents=True)
        (self.run_dir / "hold").touch()

    def go_on(self) -> None:
        """Let the ranks go on."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        (self.run_dir / "go_on").touch()

    def come_back(self) -> None:
        """Wait until a job that was told to make way has done so, and for its second end."""
        self.cluster.wait_for_return(self.number)
        self.end()
        assert self.cluster.field(self.number, "Restarts") == "1"

    def end(self) -> None:
        """Wait until the job is done."""
        self.cluster.wait(self.number, "COMPLETED")

    def log(self) -> str:
        """What the job has printed."""
        path = self.folder / f"{self.run_dir.name}.log"
        return path.read_text() if path.exists() else ""

    def state(self, rank: int = 0) -> dict[str, torch.Tensor]:
        """α, β and weights of a rank at the end."""
        kept: dict[str, torch.Tensor] = torch.load(self.run_dir / f"{rank}.pt")["state"]
        return kept

    def cells(self) -> Any:
        """The architecture that was found."""
        return json.loads((self.run_dir / "genotype.json").read_text())["cells"]

    def files(self) -> dict[str, tuple[int, int, int]]:
        """All files of the run directory: number, size and time of the last change."""
        found = [path for path in self.run_dir.rglob("*") if path.is_file()]
        stats = {str(path.relative_to(self.run_dir)): path.stat() for path in found}
        return {name: (s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats.items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Check that two states are the same bit for bit."""
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
