"""Cases to measure, and groups of cases to compare."""

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
"""Steps of a search."""


class Parts(NamedTuple):
    """The module and the data of a run."""

    module: Stage
    data: LightningDataModule


@dataclass(frozen=True)
class Case:
    """A run to measure.

    Attributes:
        name: Name in tables.
        make: Makes the module and its data, the same each time.
        epochs: Epochs of a full run.
        batches: Training batches in an epoch of a full run; `None` takes the length of the loader.
        trainer: Arguments of the trainer.
        precision: See `precision.PRECISIONS`.
        compile: Backend of `torch.compile` for the cells; `None` does not compile. Only times are
            measured with it, because counters do not see inside compiled code.
        graphs: Replay passes as CUDA graphs, see `Speed`. Only times are measured with it.
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
    """Cases that are measured in turn and compared with the first one.

    Attributes:
        name: The setting that the cases have in common.
        steps: The steps to measure of each case.
        cases: The cases.
        threads: Number of CPU threads; `None` keeps the present number.
    """

    name: str
    steps: tuple[Step, ...]
    cases: tuple[Case, ...]
    threads: int | None = None
