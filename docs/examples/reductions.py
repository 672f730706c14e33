"""Print the bytes of all reductions of the shipped searches in a batch, as JSON.

    python docs/examples/reductions.py > docs/examples/reductions.json

The script starts two processes on the CPU, builds each search at its full size and runs three
batches of small images; the reductions depend on the network, not on the images. scaling.py reads
the file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import lightning
import torch.distributed as dist
from communication import (  # type: ignore[import-not-found] # a script in the same folder
    Reductions,
    fit,
    join,
    start,
)
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.callbacks import GracefulStop
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import SearchModule
from nas_lightning.strategies import WarmUp

SEARCHES = (
    "cifar_darts",
    "cifar_pcdarts",
    "cifar_idarts",
    "cifar_gaea_pcdarts",
    "cifar_fairdarts",
    "cifar_snas",
    "cifar_gdas",
    "cifar_darts_second_order",
    "cifar_amended",
    "cifar_neumann",
    "imagenet_pcdarts",
    "imagenet_idarts",
    "imagenet_gaea",
)


def nbytes(tensors: Any) -> int:
    """Count the bytes of a tensor or of nested lists of tensors."""
    return tensors.nbytes if isinstance(tensors, Tensor) else sum(map(nbytes, tensors))


class Watch(Callback):
    """Separates the reductions during the backward pass of the weights from all others.

    Attributes:
        waited: Bytes of each operation that the process waits for.
        backward: Bytes of each operation that DDP starts during the backward pass.
    """

    def __init__(self) -> None:
        self.reductions = Reductions(nbytes)
        self.waited: list[int] = []
        self.backward: list[int] = []

    def _taken(self) -> list[int]:
        seen, self.reductions.seen = self.reductions.seen, []
        found: list[int] = seen
        return found

    def on_train_batch_start(self, *_: object, **__: object) -> None:
        self._taken()
        self.waited = []

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        self.waited += self._taken()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.backward = self._taken()

    def on_train_batch_end(self, *_: object, **__: object) -> None:
        self.waited += self._taken()


def made_up(name: str) -> list[str]:
    """Return options that replace the data of a configuration by small synthetic images."""
    classes, size = (1000, 64) if name.startswith("imagenet") else (10, 16)
    data = {
        "num_classes": classes,
        "image_size": size,
        "batch_size": 2,
        "train_size": 400,
        "test_size": 2,
        "num_workers": 0,
    }
    return ["--data=Synthetic", *(f"--data.{option}={value}" for option, value in data.items())]


def measure(name: str) -> dict[str, list[int]]:
    """Measure the reductions in a batch of a shipped search, after its warm-up."""
    lightning.seed_everything(0, verbose=False)
    cli = PlanCLI(["fit", "--config", name, *made_up(name)])
    assert isinstance(cli.model, SearchModule)
    for strategy in cli.model.strategies:
        if isinstance(strategy, WarmUp):
            strategy.epochs = 0
    watch = Watch()
    with watch.reductions:
        fit(cli.model, cli.datamodule, GracefulStop(), watch)  # `nas fit` has one, too
    return {"waited": watch.waited, "backward": watch.backward}


def worker(rank: int, port: int, names: Sequence[str]) -> None:
    """Run one of the two processes; the first one prints."""
    join(rank, port)
    for number, name in enumerate(names):
        sent = measure(name)
        if rank == 0:
            before = ",\n" if number else "{\n"
            print(f"{before}{json.dumps(name)}: {json.dumps(sent)}", end="", flush=True)
    if rank == 0:
        print("\n}")
    dist.destroy_process_group()


if __name__ == "__main__":
    start(worker, SEARCHES)
