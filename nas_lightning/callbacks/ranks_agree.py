"""A run on several processes must stay one run: all of them hold the same numbers."""

from __future__ import annotations

from collections import Counter

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.distributed import fingerprint, gathered, replicates_parameters
from nas_lightning.errors import NASError
from nas_lightning.search import SearchModule

PARTS = ("the architecture parameters", "the weights", "the number of steps", "the epoch")
"""What is compared."""


class RanksDisagreeError(NASError):
    """The processes of a run no longer hold the same numbers."""

    everywhere = True


class RanksAgree(Callback):
    """Stop a run on several processes as soon as they no longer hold the same numbers.

    At the start of training, behind the loading of a checkpoint, and at the end of every epoch,
    before its checkpoint is written, each process takes a fingerprint of α and β and one of the
    weights, and compares them, the number of steps and the epoch with those of all others: 32
    bytes a process. Where one differs, all processes stop with the same error. One process alone
    compares nothing, nor do strategies that spread the parameters over the processes.

    Batch norm's running statistics are left out: they differ by design, see
    `docs/distributed.md`.

    Raises:
        RanksDisagreeError: A process differs; says which, in what, since when, and what to do.
    """

    def __init__(self) -> None:
        self._agreed: str | None = None
        """When they last did; the advice depends on it."""
        self._saved = False
        """Whether an epoch has ended in agreement, so that its checkpoint is good."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare what the processes start from."""
        self._agreed, self._saved = None, False
        self._compare(trainer, pl_module, "at the start of training")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare what the epoch made of it."""
        self._compare(trainer, pl_module, f"at the end of epoch {trainer.current_epoch}")
        self._saved = True

    def _compare(self, trainer: Trainer, module: LightningModule, now: str) -> None:
        if not replicates_parameters(trainer):
            return
        if found := difference(gathered(numbers(trainer, module))):
            raise RanksDisagreeError(f"{now} {found}: {self._advice()}")
        self._agreed = now

    def _advice(self) -> str:
        if self._agreed is None:
            return (
                "they must start from the same state: give all machines the same code, versions "
                "and checkpoint (is the run directory on a shared disk?)"
            )
        go_on = "--ckpt_path last goes on from there" if self._saved else "start it again"
        return (
            f"all agreed {self._agreed}, {go_on}. Usual causes: a draw, a decision or a change of "
            f"parameters that is not the same on all processes, different versions, a faulty device"
        )


def numbers(trainer: Trainer, module: LightningModule) -> Tensor:
    """What this process holds of `PARTS`, as four numbers (4,), int64."""
    arch = list(module.arch.parameters()) if isinstance(module, SearchModule) else []
    known = {id(parameter) for parameter in arch}
    weights = (parameter for parameter in module.parameters() if id(parameter) not in known)
    place = torch.tensor([trainer.global_step, trainer.current_epoch], device=module.device)
    prints = [fingerprint(part).to(module.device) for part in (arch, weights)]
    return torch.cat((torch.stack(prints), place))


def difference(rows: Tensor) -> str:
    """Which ranks differ from most others (if there is no majority, from the first), and in what.

    Args:
        rows: What each process holds (N, 4).

    Returns:
        Such as `rank 1 differs from rank 0 in the weights`; empty if all agree.
    """
    held = [tuple(row) for row in rows.tolist()]
    most = Counter(held).most_common(1)[0][0]  # of equally many the first
    ranks = [rank for rank, row in enumerate(held) if row != most]
    if not ranks:
        return ""
    parts = [
        name for i, name in enumerate(PARTS) if any(held[rank][i] != most[i] for rank in ranks)
    ]
    listed = ", ".join(map(str, ranks))
    who = f"rank {listed} differs" if len(ranks) == 1 else f"ranks {listed} differ"
    return f"{who} from rank {held.index(most)} in {' and '.join(parts)}"
