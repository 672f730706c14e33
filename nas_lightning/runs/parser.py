"""The argument parser: shipped configurations by name, and one-line errors with a hint."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse._actions import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

from nas_lightning.errors import UsageError
from nas_lightning.runs.configs import find_config
from nas_lightning.runs.messages import REQUIRED, tidy

MISSING = {
    "model.genotype": "a genotype file or a published name is required: --model.genotype "
    "FILE_OR_NAME",
    "model": "none is given: name a configuration by --config NAME; `nas configs` lists those that "
    "come with nas",
}
MISSING["data"] = MISSING["model"]


class PackagedConfig(ActionConfigFile):
    """`--config`, which also finds shipped configurations by their bare names."""

    def __call__(
        self,
        parser: Any,
        cfg: Any,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Read one configuration; its values replace those read before.

        Raises:
            UsageError: There is none, or it is wrong; the message names the file.
        """
        # text with a line break, or a colon and a blank, is itself YAML, which is allowed too
        if not isinstance(values, str) or re.search(r"\n|: ", values):
            super().__call__(parser, cfg, values, option_string)  # type: ignore[no-untyped-call] # of jsonargparse
            return
        path = find_config(values)
        check_yaml(path)
        try:
            super().__call__(parser, cfg, str(path), option_string)  # type: ignore[no-untyped-call] # of jsonargparse
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error


class PrintPlan(Action):
    """`--print_plan`: listed here for the help; removed from the command line before parsing."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        text = "Print the plan of the search and the size of its network, and exit."
        super().__init__(option_strings, SUPPRESS, nargs=0, default=SUPPRESS, help=text)

    def __call__(self, *_: object, **__: object) -> None:
        """Do nothing."""


class NASArgumentParser(LightningArgumentParser):
    """Lightning's parser with readable messages."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report an error in the command line or a configuration.

        Raises:
            UsageError: Always.
        """
        if isinstance(ex, UsageError):
            raise ex
        types = self._types()
        text = tidy(message, types)
        where, _, what = text.partition(": ")
        # the parser of a class has no run_dir, and its keys are not complete
        if what == REQUIRED and "run_dir" in types:
            text = f"{where}: {MISSING.get(where, f'{what}: set it by --{where}')}"
        raise UsageError(text) from ex

    def _types(self) -> dict[str, Any]:
        """Return all keys of the parser and its subcommands, with their types."""
        parsers = [
            self,
            *getattr(getattr(self, "_subcommands_action", None), "choices", {}).values(),
        ]
        actions = [action for parser in parsers for action in parser._actions]
        return {action.dest: getattr(action, "_typehint", None) for action in actions}


def check_yaml(path: Path) -> None:
    """Check that a configuration can be read and has keys.

    Raises:
        UsageError: It cannot; the message names the line.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the configuration {path}: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"{path}: not valid YAML: {reason}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a configuration: it has no `key: value` lines")
