"""Measure images per second of a search on one process and on two that share its batch.

    python docs/examples/processes.py

Each process has one thread. Runs come in pairs, one process and then two, so that other load on the
machine affects both; the table has medians over the pairs. The script needs two free cores: on a
busy machine the ratios say little.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import time
import warnings
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import lightning
import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer
from torch.multiprocessing.spawn import spawn

from nas_lightning.data import Synthetic
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import Backtracking, EdgeNormalization, PartialChannels, Unrolled

WARM_UP = 2
"""Batches that are not timed."""


class Search(NamedTuple):
    """The search to measure.

    Attributes:
        image_size: Image size in pixels.
        in_channels: Channels of the images.
        channels: Channels of the first cell.
        layers: Number of cells.
        batch: Images of a weight step, for all processes together.
        method: `idarts`, first order, or `unrolled`, second order.
    """

    image_size: int
    in_channels: int
    channels: int
    layers: int
    batch: int
    method: str


SEARCHES = {
    "digits, IDARTS": Search(8, 1, 16, 3, 64, "idarts"),
    "CIFAR-like, IDARTS": Search(32, 3, 8, 3, 16, "idarts"),
    "CIFAR-like, second order": Search(32, 3, 8, 3, 16, "unrolled"),
}


class Clock(Callback):
    """Measures the seconds of the batches after the warm-up."""

    def __init__(self) -> None:
        self.started = self.seconds = 0.0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if batch_idx + 1 == WARM_UP:
            self.started = time.perf_counter()
        self.seconds = time.perf_counter() - self.started


def run(rank: int, processes: int, port: int, name: str, steps: int, file: str) -> None:
    """Run one of the processes; the first one writes images per second to the file."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": str(processes), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    lightning.seed_everything(0, verbose=False)
    size = SEARCHES[name]
    sizes = {"in_channels": size.in_channels, "num_classes": 10, "image_size": size.image_size}
    strategies: dict[str, list[SearchStrategy]] = {
        "idarts": [PartialChannels(4), EdgeNormalization(), Backtracking(start=0)],
        "unrolled": [Unrolled()],
    }
    module = SearchModule(
        sizes, DartsSupernet(size.channels, size.layers), strategies=strategies[size.method]
    )
    images = 2 * size.batch * (WARM_UP + steps)  # of both halves
    data = Synthetic(
        **sizes, train_size=images, test_size=10, batch_size=size.batch // processes, seed=0
    )
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        max_epochs=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[clock],
    )
    trainer.fit(module, datamodule=data)
    if rank == 0:
        Path(file).write_text(str(size.batch * steps / clock.seconds))
    if dist.is_initialized():
        dist.destroy_process_group()


def speed(processes: int, name: str, steps: int) -> float:
    """Return images per second of the weight half, measured in new processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with TemporaryDirectory() as folder:
        file = str(Path(folder, "speed"))
        arguments = (processes, port, name, steps, file)
        spawn(run, args=arguments, nprocs=processes)  # type: ignore[no-untyped-call] # of torch
        return float(Path(file).read_text())


def main() -> None:
    """Measure all searches and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs of each search")
    parser.add_argument("--steps", type=int, default=10, help="batches that are timed in a run")
    given = parser.parse_args()
    print("| search | batch | one process, images/s | two processes | ratio | least to largest |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, size in SEARCHES.items():
        pairs = [(speed(1, name, given.steps), speed(2, name, given.steps))
                 for _ in range(given.pairs)]  # fmt: skip
        ratios = sorted(two / one for one, two in pairs)
        one, two = (median(column) for column in zip(*pairs, strict=True))
        print(f"| {name} | {size.batch} | {one:.1f} | {two:.1f} | {median(ratios):.2f} | "
              f"{ratios[0]:.2f} to {ratios[-1]:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
