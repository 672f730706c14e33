"""Fixtures of the command line."""

from tests.cli.conftest import nas, retrained, searched, whole, work

__all__ = ["nas", "retrained", "searched", "whole", "work"]
