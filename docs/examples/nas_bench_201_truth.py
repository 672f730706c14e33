"""Look the cells of NAS-Bench-201 searches up in the benchmark's table of true accuracies.

    python docs/examples/nas_bench_201_truth.py TABLE.csv RUN_DIR…

The table has the columns `arch` (the architecture string) and `cifar10_test` (test accuracy in
percent behind 200 epochs of training, mean over seeds), a row for each of the 15,625 cells.
"""

import csv
import sys
from pathlib import Path
from statistics import mean

from nas_lightning.genotype import load_genotype, to_string

COLUMN = "cifar10_test"


def report(table: Path, run_dirs: list[Path]) -> str:
    """A line for each run, and their mean beside that of all cells."""
    with table.open(encoding="utf-8") as file:
        truth = {row["arch"]: float(row[COLUMN]) for row in csv.DictReader(file)}
    found = {}
    lines = [f"{'run':<28} {'test %':>7} {'rank':>6}  cell"]
    for run_dir in run_dirs:
        cell = to_string(load_genotype(run_dir / "genotype.json"))
        found[run_dir.name] = truth[cell]
        rank = 1 + sum(accuracy > truth[cell] for accuracy in truth.values())
        lines.append(f"{run_dir.name:<28} {truth[cell]:>7.2f} {rank:>6}  {cell}")
    worst = min(found.values())
    lines.append(f"{f'mean of {len(found)}, worst {worst:.2f}':<28} {mean(found.values()):>7.2f}")
    lines.append(f"{f'mean of all {len(truth):,}':<28} {mean(truth.values()):>7.2f}")
    solid = [accuracy for cell, accuracy in truth.items() if "none" not in cell]
    lines.append(f"{f'mean of {len(solid):,} without none':<28} {mean(solid):>7.2f}")
    lines.append(f"{'best of all':<28} {max(truth.values()):>7.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    print(report(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
