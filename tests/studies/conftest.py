"""A study with its report, made once for all modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas_lightning.studies.report import write_report
from tests.studies.reports import small_study


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small study, with its report; only to be read."""
    folder = tmp_path_factory.mktemp("small")
    small_study(folder)
    write_report(folder)
    return folder
