"""`nas demo`: search, retrain and test on the embedded data set, with a random cell to compare."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from nas_lightning.cli.verb_parser import VerbParser, path

RANDOM_SEED = 1


def run(arguments: list[str]) -> None:
    """Search, retrain and test on handwritten digits, and do the same with a random cell."""
    parser = VerbParser("nas demo", description=run.__doc__)
    parser.add_argument(
        "--run_dir", type=path, default=Path("runs/demo"), help="default: %(default)s"
    )
    run_demo(parser.parse_args(arguments[1:]).run_dir)


def run_demo(run_dir: Path) -> None:
    """Search, retrain and test; retrain a random cell in the same way; print a summary.

    Args:
        run_dir: Folder of all runs; if it exists, the next free number is added to its name.
    """
    from nas_lightning.architecture import Genotype, random_genotype
    from nas_lightning.drawing.cells import save_drawing
    from nas_lightning.runs.command import run as run_lightning
    from nas_lightning.search import SearchModule

    began = time.monotonic()
    folder = _free(run_dir)
    print("1/3 search: IDARTS on handwritten digits", flush=True)
    line = ["fit", "--config", "digits_idarts.yaml", "--run_dir", str(folder / "search")]
    search = run_lightning(line, says_next=False).model
    assert isinstance(search, SearchModule)
    found = folder / "search" / "genotype.json"
    drawn = folder / "random.json"
    random_genotype(search.space, RANDOM_SEED).save(drawn)
    print("2/3 retrain the cell that the search found", flush=True)
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
        f"\nOne seed each: a difference this small says nothing about the method yet.\n\n"
        f"genotype      {found}\n"
        f"drawing       {picture}\n"
        f"checkpoints   {folder}/*/checkpoints\n"
        f"metrics       {folder}/*/csv\n"
        f"TensorBoard   {_tensorboard()} --logdir {folder}\n"
        f"\n{time.monotonic() - began:.0f} s in all"
    )


def _retrain(genotype: Path, run_dir: Path) -> tuple[float, int]:
    """Retrain and test a genotype, and return its test accuracy and number of parameters."""
    from nas_lightning.retrain import RetrainModule, count_parameters
    from nas_lightning.runs.command import run as run_lightning

    source = ("--model.genotype", str(genotype))
    line = ["fit", "--config", "digits_retrain.yaml", "--run_dir", str(run_dir), *source]
    run_lightning(line, says_next=False)
    test = run_lightning(["test", "--config", str(run_dir / "config.yaml"), "--verbose", "false"])
    assert isinstance(test.model, RetrainModule)
    accuracy = float(test.trainer.callback_metrics["retrain/test_accuracy"])
    return accuracy, count_parameters(test.model.network)


def _tensorboard() -> str:
    """Return the path of TensorBoard, relative to the working directory if it is below it."""
    command = Path(sys.prefix) / "bin" / "tensorboard"
    below = command.is_relative_to(Path.cwd())
    return str(command.relative_to(Path.cwd()) if below else command)


def _free(run_dir: Path) -> Path:
    """Return the directory itself, or with the next free number after its name if it exists."""
    numbered = (run_dir.with_name(f"{run_dir.name}-{n}") for n in range(2, 10_000))
    return next(path for path in (run_dir, *numbered) if not path.exists())
