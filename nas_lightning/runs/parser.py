"""The argument parser: shipped configurations by name, and one-line errors with a hint."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from typing import Any, NoReturn

import yaml
from jsonargparse import get_loader, set_loader
from jsonargparse._actions import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

from nas_lightning.errors import UsageError
from nas_lightning.runs import dump
from nas_lightning.runs.configs import find_config
from nas_lightning.runs.messages import REQUIRED, tidy
from nas_lightning.text_files import read_text
from nas_lightning.yaml_text import LARGEST, check_text, parse_mapping

MISSING = {
    "model.genotype": "a genotype file or a published name is required: --model.genotype "
    "FILE_OR_NAME",
    "model": "none is given: name a configuration by --config NAME; `nas configs` lists those that "
    "come with nas",
}
MISSING["data"] = MISSING["model"]


START = "ckpt_path"
"""The setting that belongs to one start of a run, and not to the run."""
SAVED = "# nas-lightning"
"""Beginning of the configurations that runs save."""

_LOADER = get_loader("yaml")


def _load(text: str) -> Any:
    """Read a value or a configuration for jsonargparse, within our limits."""
    check_text(text)
    return _LOADER(text)


# of every value of the command line and of every file that jsonargparse opens by itself
set_loader("yaml", _load, (yaml.YAMLError, ValueError))


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
            parse_mapping(values, "--config")
            super().__call__(parser, cfg, values, option_string)  # type: ignore[no-untyped-call] # of jsonargparse
            return
        path = find_config(values)
        text = read_text(path, LARGEST, UsageError)
        parse_mapping(text, str(path))
        # jsonargparse reads UTF-8 only; a path also tells it what relative paths are relative to
        content = text if path.read_bytes()[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else str(path)
        start = cfg.get(START)
        try:
            super().__call__(parser, cfg, content, option_string)  # type: ignore[no-untyped-call] # of jsonargparse
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
        if text.startswith(SAVED) and START in cfg:
            cfg[START] = start  # releases before 0.3 stored the checkpoint of the last start


class PrintPlan(Action):
    """`--print_plan`: listed here for the help; removed from the command line before parsing."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        text = "Print the plan of the search and the size of its network, and exit."
        super().__init__(option_strings, SUPPRESS, nargs=0, default=SUPPRESS, help=text)

    def __call__(self, *_: object, **__: object) -> None:
        """Do nothing."""


dump.install()


class NASArgumentParser(LightningArgumentParser):
    """Lightning's parser with readable messages."""

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse the command line.

        Raises:
            UsageError: It, or a configuration that it names, is wrong.
        """
        try:
            return super().parse_args(*args, **kwargs)
        except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise UsageError(  # of jsonargparse itself, which does not expect such a value
                "the command line or a configuration has a value of a kind that its key does not "
                "take, such as an empty text where a class is named"
            ) from error

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
