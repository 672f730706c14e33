"""What the tests watch jobs by."""

import time
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning.callbacks import GracefulStop


class Watch(Callback):
    """Waits in the second batch of the second epoch, once, and keeps what each rank has in the end.

    In the run directory: `waiting-RANK` says that a rank waits, `go_on` lets all go (so does a
    signal), `RANK.pt` is the state of a rank at the end. If there is `hold`, a rank also waits for
    a signal before the first batch of the first start, and says so by `starting-RANK`.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        folder = Path(trainer.default_root_dir)
        mark = folder / f"starting-{trainer.global_rank}"
        if not (folder / "hold").exists() or mark.exists():
            return
        mark.touch()
        deadline = time.monotonic() + 240
        while not told_to_stop(trainer):  # a single rank is stopped here
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        folder = Path(trainer.default_root_dir)
        if (trainer.current_epoch, batch_idx) == (1, 1):
            (folder / f"waiting-{trainer.global_rank}").touch()
            deadline = time.monotonic() + 240
            while not ((folder / "go_on").exists() or told_to_stop(trainer)):
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        state = {"state": pl_module.state_dict(), "step": trainer.global_step}
        torch.save(state, Path(trainer.default_root_dir) / f"{trainer.global_rank}.pt")


def told_to_stop(trainer: Trainer) -> bool:
    """Whether a signal came to this process."""
    stops = [callback for callback in trainer.callbacks if isinstance(callback, GracefulStop)]  # type: ignore[attr-defined] # set by a connector
    return any(stop.asked for stop in stops)
