"""Runs of `nas`, as in the tests of the command line."""

from tests.cli.conftest import nas, work

__all__ = ["nas", "work"]
