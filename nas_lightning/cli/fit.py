"""Lightning's verbs: `nas fit`, `nas validate`, `nas test` and `nas predict`."""

from __future__ import annotations


def run(arguments: list[str]) -> None:
    """Run the verb by LightningCLI, which also reads the options."""
    if arguments[0] == "fit" and "--print_plan" in arguments:
        from nas_lightning.runs.preview import print_plan

        print_plan(arguments)
    else:
        from nas_lightning.runs.command import run as run_lightning

        run_lightning(arguments)
