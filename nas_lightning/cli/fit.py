"""Lightning's verbs: `nas fit`, `nas validate`, `nas test`, and `nas predict` of test data."""

from __future__ import annotations

from nas_lightning.runs.exit import early_signals
from nas_lightning.signals import START_AGAIN


def run(arguments: list[str]) -> None:
    """Run the verb by LightningCLI, which also reads the options."""
    if arguments[0] == "fit" and "--print_plan" in arguments:
        from nas_lightning.runs.preview import print_plan

        print_plan(arguments)
        return
    if arguments[0] != "fit":
        _lightning(arguments)
        return
    with early_signals("the run before there was anything to save", START_AGAIN):
        _lightning(arguments)


def _lightning(arguments: list[str]) -> None:
    from nas_lightning.runs.command import run as run_lightning

    run_lightning(arguments)
