"""The text that a command prints once the report of a study is written."""

from __future__ import annotations

import textwrap
from pathlib import Path

from nas_lightning.studies.report import write_report

WIDTH = 100
"""Columns of the text."""


def report_study(folder: Path, to: Path | None = None) -> str:
    """Write the report of a study, and return its summary and its place.

    Args:
        folder: The study's folder.
        to: Another folder to write to.

    Raises:
        UsageError: The folder holds no study.
    """
    page, summary = write_report(folder, to)
    lines = "\n".join(textwrap.fill(text, WIDTH, subsequent_indent="  ") for text in summary)
    return f"{lines}\n\n{page}, with report.md, report.json and report.csv in the same folder"
