"""List the reductions of a search step on two processes, by method.

    python docs/examples/communication.py

The script starts two processes on the CPU and prints a table. Sizes are numbers of values, not
bytes: A entries of α and β, W weights, P weight tensors.
"""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import lightning
import torch
import torch.distributed as dist
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torch.utils._python_dispatch import TorchDispatchMode

from nas_lightning.data import Synthetic
from nas_lightning.runs.distribution import prepare_distribution
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import (
    GDAS,
    SNAS,
    AmendedGradient,
    EdgeNormalization,
    FairDARTS,
    Neumann,
    PartialChannels,
    RobustDARTS,
    SingleLevel,
    Unrolled,
)

PRIMITIVES = ("none", "skip_connect", "dil_conv_3x3")
SIZES = {"in_channels": 3, "num_classes": 10, "image_size": 8}
METHODS: dict[str, Sequence[SearchStrategy]] = {
    "DARTS, first order": (),
    "PC-DARTS": (PartialChannels(2), EdgeNormalization()),
    "FairDARTS": (FairDARTS(),),
    "SNAS": (SNAS(), SingleLevel()),
    "GDAS": (GDAS(),),
    "DARTS, second order": (Unrolled(),),
    "amended": (AmendedGradient(),),
    "amended, exact": (AmendedGradient(exact=True),),
    "Neumann, K = 1": (Neumann(terms=1),),
    "RobustDARTS, where λ is due": (RobustDARTS(every=1, first_epoch=0),),
}


def entries(tensors: Any) -> int:
    """Count the values in a tensor or in nested lists of tensors."""
    return tensors.numel() if isinstance(tensors, Tensor) else sum(map(entries, tensors))


class Reductions(TorchDispatchMode):  # type: ignore[no-untyped-call] # of torch
    """Records the sizes of all collective operations, including those that DDP starts by itself.

    Args:
        size: Function from the tensors that are sent to their size.
    """

    def __init__(self, size: Callable[[Any], int] = entries) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # of torch
        self.size = size
        self.seen: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.namespace == "c10d":
            self.seen.append(self.size(args[0]))
        return func(*args, **(kwargs or {}))

    def taken(self) -> Counter[int]:
        """Return how often each size occurred since the last call."""
        seen, self.seen = self.seen, []
        return Counter(seen)


class Sent(NamedTuple):
    """Number of collective operations of each size in a step.

    Attributes:
        arch: Operations of the architecture step.
        weights: Operations of the weight step.
        names: Names of the sizes.
    """

    arch: Counter[int]
    weights: Counter[int]
    names: dict[int, str]


class Watch(SearchStrategy):
    """Assigns the collective operations of a batch to its two steps."""

    def __init__(self) -> None:
        self.reductions = Reductions()
        self.arch: Counter[int] = Counter()
        self.weights: Counter[int] = Counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.reductions.taken()

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        self.arch = self.reductions.taken()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        self.weights = self.reductions.taken()


def measure(strategies: Sequence[SearchStrategy]) -> Sent:
    """Measure the third batch, since DDP arranges its buckets in the first two."""
    lightning.seed_everything(0, verbose=False)
    watch = Watch()
    supernet = DartsSupernet(channels=4, layers=3, nodes=1, primitives=PRIMITIVES)
    module = SearchModule(SIZES, supernet, strategies=[*strategies, watch])
    with watch.reductions:
        fit(module, Synthetic(**SIZES, train_size=12, test_size=2, batch_size=1))
    a = sum(value.numel() for value in module.arch.parameters())
    weights = [value.numel() for value in module.supernet.parameters()]
    w, p = sum(weights), len(weights)
    names = {1: "1", a: "A", w: "W", a + w: "(A + W)", p: "P"}
    return Sent(watch.arch, watch.weights, names)


def fit(module: SearchModule, data: LightningDataModule, *callbacks: Callback) -> None:
    """Train for three batches on two processes; DDP arranges its buckets at the start."""
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        max_epochs=1,
        limit_train_batches=3,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
    )
    prepare_distribution(trainer, module)
    trainer.fit(module, datamodule=data)


def measured() -> dict[str, Sent]:
    """Measure all methods, on this one of two processes."""
    return {name: measure(strategies) for name, strategies in METHODS.items()}


def words(sent: Counter[int], names: Mapping[int, str]) -> str:
    """Format sizes, largest first, for example `2 times W, A`."""
    terms = ((names.get(size, str(size)), n) for size, n in sorted(sent.items(), reverse=True))
    return ", ".join(f"{n} times {name}" if n > 1 else name for name, n in terms)


def table(found: Mapping[str, Sent]) -> str:
    """Format the results as Markdown."""
    a, w, p = ({name: size for size, name in found["DARTS, first order"].names.items()}[n]
               for n in "AWP")  # fmt: skip
    lines = [
        f"DARTS here: A = {a:,}, W = {w:,}, P = {p:,}",
        "",
        "| method | reductions | of the architecture step | reductions | of the weight step |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, sent in found.items():
        arch, weights = (f"{c.total()} | {words(c, sent.names)}" for c in sent[:2])
        lines.append(f"| {name} | {arch} | {weights} |")
    return "\n".join(lines)


def join(rank: int, port: int) -> None:
    """Join the two processes, with warnings and log messages switched off."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


def worker(rank: int, port: int) -> None:
    """Run one of the two processes; the first one prints."""
    join(rank, port)
    found = measured()
    if rank == 0:
        print(table(found))
    dist.destroy_process_group()


def start(work: Callable[..., None], *arguments: object) -> None:
    """Call `work(rank, port, *arguments)` in two processes, and wait for both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(work, args=(port, *arguments), nprocs=2)  # type: ignore[no-untyped-call] # of torch


if __name__ == "__main__":
    start(worker)
