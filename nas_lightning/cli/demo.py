"""`nas demo`: the whole job on the embedded data set, beside a randomly drawn cell."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.drawing.cells import save_drawing
from nas_lightning.retrain import RetrainModule, count_parameters
from nas_lightning.runs.command import run
from nas_lightning.search import SearchModule

RANDOM_SEED = 1


def run_demo(run_dir: Path) -> None:
    """Search, retrain and test; the same retraining for a random cell; then a summary.

    Args:
        run_dir: Where everything goes; the next free number is added if it exists.
    """
    began = time.monotonic()
    folder = _free(run_dir)
    print("1/3 search: IDARTS on handwritten digits", flush=True)
    search = run(["fit", "--config", "digits_idarts.yaml", "--run_dir", str(folder / "search")])
    assert isinstance(search.model, SearchModule)
    found = folder / "search" / "genotype.json"
    drawn = folder / "random.json"
    random_genotype(search.model.space, RANDOM_SEED).save(drawn)
    print("2/3 retrain what was found", flush=True)
    rows = {"found": _retrain(found, folder / "retrain")}
    print("3/3 retrain a randomly drawn cell in the same way", flush=True)
    rows["random"] = _retrain(drawn, folder / "retrain_random")
    genotype = Genotype.load(found)
    picture = save_drawing(genotype, folder / "cells.svg")
    print(f"\nThe cells that the search found\n\n{genotype}\n")
    print(f"{'':<10} {'test accuracy':>14} {'parameters':>12}")
    for name, (accuracy, parameters) in rows.items():
        print(f"{name:<10} {accuracy:>13.2%}  {parameters:>11,}")
    print(
        f"\nOne seed each: a difference this small says nothing yet about the method.\n\n"
        f"genotype      {found}\n"
        f"drawing       {picture}\n"
        f"checkpoints   {folder}/*/checkpoints\n"
        f"metrics       {folder}/*/csv\n"
        f"TensorBoard   {_tensorboard()} --logdir {folder}\n"
        f"\n{time.monotonic() - began:.0f} s in all"
    )


def _retrain(genotype: Path, run_dir: Path) -> tuple[float, int]:
    """Retrain and test a genotype: test accuracy and number of parameters."""
    source = ("--model.genotype", str(genotype))
    run(["fit", "--config", "digits_retrain.yaml", "--run_dir", str(run_dir), *source])
    test = run(["test", "--config", str(run_dir / "config.yaml"), "--verbose", "false"])
    assert isinstance(test.model, RetrainModule)
    accuracy = float(test.trainer.callback_metrics["retrain/test_accuracy"])
    return accuracy, count_parameters(test.model.network)


def _tensorboard() -> str:
    """The command of this environment, short where it lies below the working directory."""
    command = Path(sys.prefix) / "bin" / "tensorboard"
    below = command.is_relative_to(Path.cwd())
    return str(command.relative_to(Path.cwd()) if below else command)


def _free(run_dir: Path) -> Path:
    """The directory itself, or with the next free number behind it."""
    numbered = (run_dir.with_name(f"{run_dir.name}-{n}") for n in range(2, 10_000))
    return next(path for path in (run_dir, *numbered) if not path.exists())
