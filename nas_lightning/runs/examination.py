"""An examination before a run: the machine, the plan of a search, and its retraining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jsonargparse import Namespace

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.runs.header import header
from nas_lightning.runs.machine import machine, processes, table
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.runs.quiet import quiet
from nas_lightning.runs.shared_settings import stage_kind
from nas_lightning.search import SearchModule
from nas_lightning.search.settings import SHARED, differences
from nas_lightning.slurm.allocation import Wanted, check_allocation
from nas_lightning.slurm.environment import wanted
from nas_lightning.slurm.job import active_job

REMARK = """\
Each difference is one more reason for a cell to do well in the search and badly afterwards.
Published DARTS differs too. `stages` sets both at once: docs/guide.md, settings of both stages."""

# the parser requires a genotype before the file is known to be of a retraining
NAMED = "model: {class_path: RetrainModule, init_args: {genotype: DARTS_V2}}"


class Examined(PlanCLI):
    """A run that is examined and does not start.

    Args:
        option: The option of `nas doctor` that named it.
        configs: Its configurations, later ones win.
        genotype: Retrained instead of the configuration's: only sizes are compared.

    Raises:
        UsageError: It is not of the kind that the option is for.
    """

    def __init__(
        self, option: str, configs: Sequence[str], genotype: Genotype | None = None
    ) -> None:
        self.option = option
        self.genotype = genotype
        named = [part for name in (NAMED, *configs) for part in ("--config", name)]
        super().__init__(["fit", *named])

    def complete(self, config: Namespace) -> None:
        """Check the kind of the run, and set the genotype."""
        searches = self.option == "--search"
        if stage_kind(config) is not (SearchModule if searches else RetrainModule):
            wanted = "a search" if searches else "a retraining"
            found = config.model.class_path.rpartition(".")[2]
            raise UsageError(f"{self.option} needs the configuration of {wanted}, found a {found}")
        if self.genotype is not None:
            config.model.init_args.genotype = self.genotype.to_dict()
        super().complete(config)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that search and retraining can have in common."""
        assert isinstance(self.model, SearchModule | RetrainModule)
        return self.model.settings(self.datamodule)


def examine(search: Sequence[str], retrain: Sequence[str]) -> int:
    """Print the machine, the plan of a search, and the settings in which a retraining differs.

    Args:
        search: Configurations of the search; may be empty.
        retrain: Configurations of the retraining; may be empty.

    Returns:
        1 if any setting differs or the machine is not what the search asks for, else 0.
    """
    quiet()
    if not search:
        job = active_job()
        return _show_machine(Wanted(None, job.nodes if job else 1, torch.cuda.is_available()))
    first = Examined("--search", search)
    assert isinstance(first.model, SearchModule)
    code = _show_machine(wanted(first.config[first.config.subcommand].trainer))
    print(f"\n{header(first.model, first.datamodule)}")
    return max(code, _compare(first, retrain) if retrain else 0)


def _show_machine(want: Wanted) -> int:
    """Print the machine, and the problem if it does not fit.

    Returns:
        1 if there is a problem, else 0.
    """
    gpus = torch.cuda.device_count()
    print(f"{table(machine())}\n\n{table(processes(want, gpus))}")
    if (job := active_job()) is None:
        return 0
    try:
        check_allocation(job, want, gpus)
    except UsageError as error:
        print(f"{'wrong':<24} {error}")
        return 1
    return 0


def _compare(first: Examined, retrain: Sequence[str]) -> int:
    """Print the settings in which a retraining differs from a search.

    Returns:
        1 if any differ, else 0.
    """
    assert isinstance(first.model, SearchModule)
    second = Examined("--retrain", retrain, random_genotype(first.model.space, seed=0))
    found = differences(first.settings, second.settings)
    print()
    if not found:
        same = [name for name in SHARED if name in first.settings and name in second.settings]
        print(f"search and retraining agree in {', '.join(same)}")
        return 0
    print(f"{'setting':<24} {'search':<20} retrain")
    for name, (before, after) in found.items():
        print(f"{name:<24} {before!s:<20} {after}")
    print(f"\n{REMARK}")
    return 1
