"""The command line."""

from nas_lightning.cli.main import main

__all__ = ["main"]
