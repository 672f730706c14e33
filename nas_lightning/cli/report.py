"""`nas report`: the report of a study, made anew from what stands in its folder."""

from __future__ import annotations

import textwrap
from pathlib import Path

from nas_lightning.studies.report import write_report

WIDTH = 100
"""Columns of a terminal that the summary takes."""


def report_study(folder: Path, to: Path | None = None) -> str:
    """Write the report, and say what it says.

    Args:
        folder: Of the study.
        to: Another folder to write into.

    Returns:
        Its summary, and where it is.

    Raises:
        UsageError: The folder holds no study.
    """
    page, summary = write_report(folder, to)
    said = "\n".join(textwrap.fill(text, WIDTH, subsequent_indent="  ") for text in summary)
    return f"{said}\n\n{page}, and beside it report.md, report.json and report.csv"
