"""A study with its report, made once for all modules, and studies that run in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nas_lightning.studies.lines import run_line
from nas_lightning.studies.progress import Line
from nas_lightning.studies.report import write_report
from tests.cli.conftest import nas, work
from tests.studies.reports import small_study

__all__ = ["nas", "work"]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small study, with its report; only to be read."""
    folder = tmp_path_factory.mktemp("small")
    small_study(folder)
    write_report(folder)
    return folder


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `nas study` run its lines one after the other in this process.

    Their output is not written to files. test_study.py runs two studies in processes.
    """

    def run_all(
        work: Callable[[Line], None],
        items: Sequence[Line],
        environments: object,
        tick: Callable[[set[Line]], None],
    ) -> list[Line]:
        for item in items:
            tick({item})
            work(item)
        tick(set())
        return []

    def run_here(folder: Path, retry: bool, line: Line) -> None:
        run_line(folder, line, retry)

    monkeypatch.setattr("nas_lightning.studies.run.run_in_processes", run_all)
    monkeypatch.setattr("nas_lightning.studies.run.run_here", run_here)
