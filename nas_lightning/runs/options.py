"""The options that every run has beside those of its model, its data and its trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser

from nas_lightning.callbacks import RunCheckpoint
from nas_lightning.runs.directory import checkpoint_folder
from nas_lightning.runs.parser import PrintPlan
from nas_lightning.runs.shared_settings import Stages


def add_options(
    parser: LightningArgumentParser,
    verb: str,
    sizes: Callable[[LightningDataModule], dict[str, Any]],
) -> None:
    """Add the options of every run, and link those that share a value.

    Args:
        parser: Parser of the verb.
        verb: `fit`, `test`, …
        sizes: Returns the sizes of the data of a data module.
    """
    parser.add_argument(
        "--run_dir",
        type=str,
        default="runs/default",
        help="Directory for all files of the run; never shared by two runs.",
    )
    parser.add_argument(
        "--threads",
        type=int | None,
        default=None,
        help="CPU threads of PyTorch; by default all cores. Small images are faster with one.",
    )
    parser.add_argument(
        "--pictures",
        type=bool,
        default=True,
        help="Draw a search's cells and weights for TensorBoard; takes seconds per epoch.",
    )
    parser.add_argument(
        "--curves",
        type=bool,
        default=False,
        help="Log each single α and β of a search to all loggers, TensorBoard included.",
    )
    parser.add_argument(
        "--chain",
        type=list[dict] | None,  # type: ignore[type-arg] # of Any, jsonargparse would build classes
        default=None,
        help="Searches that follow: the settings of each that differ from the one before it.",
    )
    if verb == "fit":
        parser.add_argument("--print_plan", action=PrintPlan)
    parser.add_class_arguments(Stages, "stages")
    parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
    parser.link_arguments("run_dir", "trainer.default_root_dir")
    parser.link_arguments("run_dir", "checkpoint.dirpath", compute_fn=checkpoint_folder)
    parser.link_arguments(
        "data", "model.init_args.data_spec", compute_fn=sizes, apply_on="instantiate"
    )
