"""Prepare DDP for a search."""

from __future__ import annotations

from lightning import LightningModule, Trainer

from nas_lightning.distributed import find_unused_parameters
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule


def prepare_distribution(trainer: Trainer, module: LightningModule) -> None:
    """Let DDP look for weights without a gradient if a strategy of the search leaves some.

    This costs a pass over the graph in each step, so it stays off for other searches. A choice of
    the user, `ddp_find_unused_parameters_false` or `_true`, is kept.

    Raises:
        UsageError: The strategy starts its processes with copies of the trainer.
    """
    start = getattr(trainer.strategy.launcher, "_start_method", "fork")
    if start != "fork":
        raise UsageError(
            f"trainer.strategy: it starts its processes with copies of the run ({start}), but the "
            f"records and logs of a run cannot be copied: set trainer.strategy to ddp"
        )
    if isinstance(module, SearchModule) and any(
        strategy.leaves_parameters_unused for strategy in module.strategies
    ):
        find_unused_parameters(trainer)


def stop_others(trainer: Trainer | None) -> None:
    """Stop the processes that Lightning started on this machine, if any."""
    for process in getattr(trainer and trainer.strategy.launcher, "procs", ()):
        process.terminate()
