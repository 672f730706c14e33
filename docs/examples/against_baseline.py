"""Compare the searches of a study with a baseline, from the report of the study.

    python docs/examples/against_baseline.py REPORT.json BASELINE

REPORT.json is written by `nas report` for a study whose metric is the PSNR in dB. BASELINE is the
PSNR of a reconstruction without learning, as printed by unlearned_baselines.py. For each method and
for all searches together, the script prints the number of finished runs, the median of their final
PSNR, the number above the baseline, and the number with a one-shot PSNR below 0 dB, whose cells
fail with the supernet's weights. Then it prints how much the retrainings of one cell differ.
"""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from nas_lightning.errors import UsageError

Run = dict[str, Any]
RANDOM = "random"


def ended(report: Path) -> list[Run]:
    """Return the runs of a report that have a final PSNR.

    Raises:
        UsageError: The file is not the report of a study, or the metric is not PSNR.
    """
    content = json.loads(report.read_text(encoding="utf-8"))
    if content.get("format") != "nas-lightning report" or content["metric"]["name"] != "psnr":
        raise UsageError(f"{report} is not the report.json of a study whose metric is psnr")
    return [run for run in content["results"] if run["final"] is not None]


def row(name: str, runs: list[Run], baseline: float) -> str:
    """Format a row of the table."""
    above = sum(run["final"] > baseline for run in runs)
    scores = [run["one_shot"] for run in runs if run["one_shot"] is not None]
    below = str(sum(score < 0 for score in scores)) if scores else "–"
    middle = median(run["final"] for run in runs)
    return f"{name:<14} {len(runs):>3} {middle:>7.2f} {above:>12} {below:>17}"


def table(runs: list[Run], baseline: float) -> list[str]:
    """Format the rows of each method, of all searches together, and of the random cells."""
    methods = dict.fromkeys(run["method"] for run in runs)
    groups = {name: [run for run in runs if run["method"] == name] for name in methods}
    drawn = {name: groups.pop(name) for name in (RANDOM,) if name in groups}
    groups["all searches"] = [run for group in groups.values() for run in group]
    head = f"{'':<14} {'n':>3} {'median':>7} {f'above {baseline:.2f}':>12} {'one-shot below 0':>17}"
    return [head, *(row(*named, baseline) for named in {**groups, **drawn}.items() if named[1])]


def spread(runs: list[Run]) -> str:
    """Describe how much the retrainings of one cell differ, over all cells."""
    # methods that found the same cell with the same seed share its retrainings
    finals = {(run["cell"], run["seed"]): run["finals"] for run in runs}
    apart = [max(each) - min(each) for each in finals.values() if len(each) > 1]
    if not apart:
        return "each cell was retrained once"
    return (
        f"retrainings of one cell differ by {median(apart):.2f} dB (median of {len(apart)} cells; "
        f"at most {max(apart):.2f})"
    )


def main(report: str, baseline: str) -> None:
    """Print the table and the differences between retrainings."""
    runs = ended(Path(report))
    print("\n".join([*table(runs, float(baseline)), spread(runs)]))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
