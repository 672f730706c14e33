"""The command line: one module a verb, with its options and the function that runs it.

A module of a verb imports torch inside `run`, once the command line is known to be right.
"""

from nas_lightning.cli.main import main

__all__ = ["main"]
