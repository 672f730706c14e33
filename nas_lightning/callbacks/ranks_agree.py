"""A check that all processes of a run hold the same parameters."""

from __future__ import annotations

from collections import Counter

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.distributed import fingerprint, gathered, replicates_parameters
from nas_lightning.errors import NASError
from nas_lightning.search import SearchModule

PARTS = ("the architecture parameters", "the weights", "the number of steps", "the epoch")
"""Names of the compared quantities, in order."""


class RanksDisagreeError(NASError):
    """The processes of a run no longer hold the same parameters."""

    everywhere = True


class RanksAgree(Callback):
    """Stop a run on several processes as soon as they no longer hold the same parameters.

    The check runs at the start of training, after a checkpoint is loaded, and at the end of every
    epoch, before its checkpoint is written. Each process computes a fingerprint of α and β and one
    of the weights. It compares them, the number of steps and the epoch with those of all others,
    which takes 32 bytes per process. If a process differs, all processes stop with the same error.
    Nothing is compared with a single process, or if Lightning's strategy shards the parameters.

    The running statistics of batch norm are not compared: they differ by design, see
    `docs/distributed.md`.

    Raises:
        RanksDisagreeError: A process differs. The message says which, in what, since when, and
            what to do.
    """

    def __init__(self) -> None:
        self._agreed: str | None = None
        """Moment of the last agreement, on which the advice depends."""
        self._saved = False
        """True if an epoch has ended in agreement, so that its checkpoint is good."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the processes before the first step."""
        self._agreed, self._saved = None, False
        self._compare(trainer, pl_module, "at the start of training")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the processes after the epoch."""
        self._compare(trainer, pl_module, f"at the end of epoch {trainer.current_epoch + 1}")
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
        advice = "resume from there with --ckpt_path last" if self._saved else "start it again"
        return (
            f"all agreed {self._agreed}, {advice}. Usual causes: a draw, a decision or a change of "
            f"parameters that is not the same on all processes, different versions, a faulty device"
        )


def numbers(trainer: Trainer, module: LightningModule) -> Tensor:
    """Return the four quantities of `PARTS` for this process, as int64 (4,)."""
    arch = list(module.arch.parameters()) if isinstance(module, SearchModule) else []
    known = {id(parameter) for parameter in arch}
    weights = (parameter for parameter in module.parameters() if id(parameter) not in known)
    place = torch.tensor([trainer.global_step, trainer.current_epoch], device=module.device)
    prints = [fingerprint(part).to(module.device) for part in (arch, weights)]
    return torch.cat((torch.stack(prints), place))


def difference(rows: Tensor) -> str:
    """Describe which ranks differ from most others, and in what.

    Without a majority, ranks are compared with rank 0.

    Args:
        rows: Quantities of each process (N, 4).

    Returns:
        A text such as `rank 1 differs from rank 0 in the weights`; empty if all agree.
    """
    held = [tuple(row) for row in rows.tolist()]
    most = Counter(held).most_common(1)[0][0]  # the first in a tie
    ranks = [rank for rank, row in enumerate(held) if row != most]
    if not ranks:
        return ""
    parts = [
        name for i, name in enumerate(PARTS) if any(held[rank][i] != most[i] for rank in ranks)
    ]
    listed = ", ".join(map(str, ranks))
    who = f"rank {listed} differs" if len(ranks) == 1 else f"ranks {listed} differ"
    return f"{who} from rank {held.index(most)} in {' and '.join(parts)}"
