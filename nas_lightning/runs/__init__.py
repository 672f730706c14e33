"""Runs of the command line: configuration, run directory, record and messages."""
