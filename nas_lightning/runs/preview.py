"""A run's plan and size, without the run."""

from __future__ import annotations

from nas_lightning.runs.command import NASCLI, quiet
from nas_lightning.runs.header import header

OPTION = "--print_plan"


class PlanCLI(NASCLI):
    """Reads the configuration of a run and builds its data and model; nothing is written."""

    def _parse_ckpt_path(self) -> None:
        """Look for no checkpoint and claim no run directory."""

    def instantiate_classes(self) -> None:
        """Data and model, no trainer."""
        self.config_init = self.parser.instantiate_classes(self.config)
        self.datamodule = self._get(self.config_init, "data")
        self.model = self._get(self.config_init, "model")

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


def print_plan(arguments: list[str]) -> None:
    """`nas fit … --print_plan`."""
    quiet()
    cli = PlanCLI([item for item in arguments if item != OPTION])
    print(header(cli.model, cli.datamodule))
