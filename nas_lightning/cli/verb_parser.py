"""The argument parser of the verbs that are not Lightning's, and types of their options."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from nas_lightning.errors import UsageError
from nas_lightning.runs.messages import tidy


class VerbParser(argparse.ArgumentParser):
    """A parser whose errors are one line.

    Args:
        prog: `nas VERB`.
        description: Description of the verb.
    """

    def __init__(self, prog: str, description: str | None = None, **kwargs: Any) -> None:
        super().__init__(prog, description=description, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Report an error in the command line.

        Raises:
            UsageError: Always.
        """
        if message.startswith("unrecognized"):
            options = [option.lstrip("-") for option in self._option_string_actions]
            message = tidy(message, dict.fromkeys(options))
        raise UsageError(f"{message} (`{self.prog} --help` explains)")


def positive(text: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        ArgumentTypeError: The text is no such number.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


def whole(text: str) -> int:
    """Read a whole number of at least 0.

    Raises:
        ArgumentTypeError: The text is no such number.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)
