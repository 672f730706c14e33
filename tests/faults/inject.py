"""A callback that breaks one number of a run, and keeps what the run was before."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning import Callback
from torch import Tensor


class Inject(Callback):
    """Puts a value into the images of a batch, or into the gradient of one tensor.

    Args:
        where: `train` or `val`, a half of the batch; `batch`, all of it; or a parameter's name.
        epoch: In which epoch, counted from 0.
        batch: In which batch of it.
        value: What to put there, as text: YAML knows no `nan`.
        entry: The entry of the flat tensor.
        rank: The process that it happens in.
    """

    state: ClassVar[dict[str, Tensor]] = {}
    """Weights, α, β and optimizers before the batch."""
    after: ClassVar[dict[str, Tensor]] = {}
    """The same after the failure, or before the next batch."""
    rates: ClassVar[list[float]] = []
    """The first optimizer's learning rate before each batch."""
    files: ClassVar[dict[str, str]] = {}
    """Hashes of checkpoints and genotype before the batch."""

    def __init__(
        self,
        where: str,
        epoch: int = 1,
        batch: int = 1,
        value: str = "nan",
        entry: int = 0,
        rank: int = 0,
    ) -> None:
        self.where = where
        self.place = (epoch, batch)
        self.value = float(value)
        self.entry = entry
        self.rank = rank
        self.waiting = False
        self.rates.clear()

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        if self.waiting:
            self.waiting = False
            type(self).after = dict(numbers(trainer, pl_module))
        if (trainer.current_epoch, batch_idx) != self.place:
            return
        self.waiting = True
        type(self).state = dict(numbers(trainer, pl_module))
        type(self).files = hashes(Path(trainer.default_root_dir))
        if trainer.global_rank != self.rank:
            return
        if self.where in ("train", "val", "batch"):
            images = batch[0] if self.where == "batch" else batch[self.where][0]
            images.view(-1)[self.entry] = self.value
        else:
            parameter = dict(pl_module.named_parameters())[self.where]
            self.hook = parameter.register_hook(self.spoil)

    def spoil(self, gradient: Tensor) -> Tensor:
        self.hook.remove()
        spoilt = gradient.clone()
        spoilt.view(-1)[self.entry % spoilt.numel()] = self.value
        return spoilt

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        type(self).after = dict(numbers(trainer, pl_module))


def numbers(trainer: Any, module: Any) -> Iterator[tuple[str, Tensor]]:
    """Copies of all parameters, and of the optimizers' states of each."""
    for name, value in module.named_parameters():
        yield name, value.detach().clone()
        for index, optimizer in enumerate(trainer.optimizers):
            for key, state in optimizer.state.get(value, {}).items():
                if state is not None:
                    yield f"{name}, {key} of optimizer {index}", torch.as_tensor(state).clone()


def hashes(run_dir: Path) -> dict[str, str]:
    """Content of a run's checkpoints and genotype."""
    files = [*run_dir.glob("checkpoints/*"), *run_dir.glob("genotype.json")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def different(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names of what is not equal bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]
