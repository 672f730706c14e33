"""The argument parser: shipped configurations by name, and errors of one line with a hint."""

from __future__ import annotations

import difflib
import re
from typing import Any, NoReturn

from jsonargparse._actions import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

from nas_lightning.cli.configs import find_config
from nas_lightning.errors import UsageError


class PackagedConfig(ActionConfigFile):
    """`--config` that also finds shipped configurations by their bare names."""

    def __call__(
        self,
        parser: Any,
        cfg: Any,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Read one configuration over what was read before."""
        # a text with a line break or a colon and blank is YAML itself, which is allowed too
        if isinstance(values, str) and not re.search(r"\n|: ", values):
            values = str(find_config(values))
        super().__call__(parser, cfg, values, option_string)  # type: ignore[no-untyped-call]


class NASArgumentParser(LightningArgumentParser):
    """Lightning's parser with messages for people."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report an error in the command line or a configuration.

        Raises:
            UsageError: Always.
        """
        if isinstance(ex, UsageError):
            raise ex
        raise UsageError(tidy(message, self._known_keys())) from ex

    def _known_keys(self) -> list[str]:
        """Every key that the parser and its subcommands accept."""
        parsers = [
            self,
            *getattr(getattr(self, "_subcommands_action", None), "choices", {}).values(),
        ]
        return [action.dest for parser in parsers for action in parser._actions]


def tidy(message: str, known: list[str]) -> str:
    """The useful part of a parser's message, with the nearest known key where one is wrong."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    text = " ".join(dict.fromkeys(lines))
    text = re.sub(r"^Parser key \"?subcommand\"?:\s*", "", text)
    wrong = re.search(r"(?:Key|Option|key|argument|arguments):? ['\"]?-{0,2}([\w.]+)['\"]? ?", text)
    if wrong and re.search(r"not expected|not accepted|nrecognized|does not exist", text):
        text += _suggestion(wrong.group(1), text, known)
    return text


def _suggestion(wrong: str, text: str, known: list[str]) -> str:
    # jsonargparse lists the keys that a class does accept; they are nearer than our own list
    listed = re.findall(r"[\w.]+", text.split("ccepted", 1)[1]) if "ccepted" in text else []
    last = wrong.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(wrong, known, 1) or difflib.get_close_matches(
        last, {*listed, *(key.rsplit(".", 1)[-1] for key in known)} - {last}, 1
    )
    return f" (did you mean {close[0]!r}?)" if close else ""
