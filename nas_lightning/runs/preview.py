"""The plan and the size of a run that does not start."""

from __future__ import annotations

from nas_lightning.runs.command import NASCLI
from nas_lightning.runs.header import header
from nas_lightning.runs.quiet import quiet

OPTION = "--print_plan"


class PlanCLI(NASCLI):
    """Read the configuration of a run and build its data and model; write nothing."""

    def _parse_ckpt_path(self) -> None:
        """Neither look for a checkpoint nor claim the run directory."""

    def instantiate_classes(self) -> None:
        """Build data and model, but no trainer."""
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule = self._get(self.config_init, "data")
        self.model = self._get(self.config_init, "model")

    def _run_subcommand(self, subcommand: str) -> None:
        """Do nothing."""


def print_plan(arguments: list[str]) -> None:
    """Run `nas fit … --print_plan`.

    Args:
        arguments: The command line, starting with the verb.
    """
    quiet()
    cli = PlanCLI([item for item in arguments if item != OPTION])
    print(header(cli.model, cli.datamodule))
