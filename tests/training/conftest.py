"""Fixtures of the command line."""

from tests.cli.conftest import nas, whole, work

__all__ = ["nas", "whole", "work"]
