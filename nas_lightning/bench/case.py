"""What is measured: cases, and groups of cases that are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from lightning import LightningDataModule

from nas_lightning.training.stage import Stage

Step = Literal["search", "arch", "weight", "retrain", "data", "fit"]
"""`search`: an architecture step and a weight step; `arch`, `weight`: each alone; `retrain`: a
training step of a retraining; `data`: the next batch; `fit`: a whole batch in `Trainer.fit`."""

STEPS: tuple[Step, ...] = get_args(Step)
SEARCH_STEPS: tuple[Step, ...] = ("search", "arch", "weight", "fit")
"""Those of a search."""


class Parts(NamedTuple):
    """What a run is made of."""

    module: Stage
    data: LightningDataModule


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        name: What tables call it.
        make: Makes the module and its data, the same each time.
        epochs: Epochs of a full run.
        batches: Training batches in an epoch of a full run; none to ask the data.
        trainer: Arguments of the trainer.
        precision: See `precision.PRECISIONS`.
        compile: Backend of `torch.compile` for the cells; none to leave them as they are. Then
            only times are measured: counters do not see into what is compiled.
        graphs: Replay passes as CUDA graphs, see `Speed`; the same holds.
    """

    name: str
    make: Callable[[], Parts]
    epochs: int
    batches: int | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "32-true"
    compile: str | None = None
    graphs: bool = False


@dataclass(frozen=True)
class Group:
    """Cases that are measured in turn and compared with the first of them.

    Attributes:
        name: The setting that they have in common.
        steps: What is measured of each.
        cases: The cases.
        threads: CPU threads; none for as many as there are.
    """

    name: str
    steps: tuple[Step, ...]
    cases: tuple[Case, ...]
    threads: int | None = None
