"""The argument parser of the verbs that are not Lightning's, and types of their options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from nas_lightning.errors import UsageError
from nas_lightning.runs.messages import tidy
from nas_lightning.text import path_problem, shown
from nas_lightning.text_files import user_path

DIGITS = 18
"""Digits of the largest number; torch takes 64 bits."""


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
        message = message.removeprefix("argument ")
        raise UsageError(f"{message} (`{self.prog} --help` explains)")


def path(text: str) -> Path:
    """Read a path; `~` is the home folder.

    Raises:
        ArgumentTypeError: It is empty, holds a control character, or names an unknown user.
    """
    try:
        return user_path(text, "path")
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("path: ")) from error


def source(text: str) -> str:
    """Read a genotype: a path, a name, or a text. In a path, `~` is the home folder.

    Raises:
        ArgumentTypeError: It is empty, or names an unknown user.
    """
    if text.startswith("~") or not text.strip():
        return str(path(text))
    return text


def word(text: str) -> str:
    """Read a text for a line of a job script.

    Raises:
        ArgumentTypeError: It is empty or holds a control character.
    """
    if problem := path_problem(text):
        raise argparse.ArgumentTypeError(f"the value {problem}")
    return text


def positive(text: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        ArgumentTypeError: The text is no such number.
    """
    number = whole(text, "a whole number of at least 1")
    if number < 1:
        raise argparse.ArgumentTypeError(
            f"expected a whole number of at least 1, found {shown(text)}"
        )
    return number


def whole(text: str, wanted: str = "a whole number") -> int:
    """Read a whole number of at least 0.

    Raises:
        ArgumentTypeError: The text is no such number, or has more than 18 digits.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS):
        raise argparse.ArgumentTypeError(f"expected {wanted}, found {shown(text)}")
    return int(text)
