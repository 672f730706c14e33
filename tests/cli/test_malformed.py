"""Malformed input of every kind ends in one line and the right code, and changes no file."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch

from nas_lightning.architecture import random_genotype
from nas_lightning.cli import main
from nas_lightning.spaces import PUBLISHED, get_space
from nas_lightning.studies.plan import write_study
from tests.cli import malformed, malformed_lines
from tests.cli.conftest import run_once, write_inputs
from tests.cli.malformed import Case
from tests.studies.made_up import plan, write_finals, write_search

RAW = re.compile(
    r"Traceback|subtypes|<class|NoneType|\w+Error\b|Exception|jsonargparse|Namespace|PosixPath"
    r"|argument of type|object (is|has|cannot)|not (iterable|subscriptable)|must be str|\[Errno"
    r"|unhashable|invalid literal|unexpected (error|keyword)|[\x00-\x08\x0b-\x1f\x7f]|[:\n]$"
)
"""Words of Python, Lightning or jsonargparse, and characters that a terminal obeys."""
LONGEST = 900
"""Characters of a message: one with the path of a file, and a list of names."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with configurations, a genotype, two runs and a study, which no case changes."""
    made = tmp_path_factory.mktemp("malformed")
    write_inputs(made)
    for line in ("fit --config search", "fit --config retrain --model.genotype genotype.json"):
        shutil.copytree(
            run_once(tmp_path_factory, line) / "runs", made / "runs", dirs_exist_ok=True
        )
    study = plan(("darts",), 1)
    write_study(made / "s", study)
    cell = random_genotype(get_space("darts"), 0)
    write_search(made / "s", "darts", 0, cell, one_shot=0.5, scores={0: 0.4})
    write_finals(made / "s", study, cell, 0, [0.9])
    with contextlib.chdir(made):
        yield made


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Time and size of every file and folder, by path."""
    found = {str(path): path.lstat() for path in folder.rglob("*")}
    return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in found.items()}


@contextlib.contextmanager
def replaced(case: Case, aside: Path) -> Iterator[None]:
    """Put the files of a case into their places, and afterwards what was there before."""
    for number, (name, content) in enumerate(case.files.items()):
        if (path := Path(name)).exists():
            path.rename(aside / str(number))
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
    try:
        yield
    finally:
        for number, name in enumerate(case.files):
            path = Path(name)
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            if (aside / str(number)).exists():
                (aside / str(number)).rename(path)


def run(case: Case, aside: Path, capsys: pytest.CaptureFixture[str]) -> str | None:
    """Run a case, and return what is wrong with its end; `None` if nothing is."""
    with replaced(case, aside), pytest.MonkeyPatch.context() as patch:
        for name, text in case.variables.items():
            patch.setenv(name, text)
        before = contents(Path())
        capsys.readouterr()
        code = main(list(case.line))
        out, err = capsys.readouterr()
        after = contents(Path())
    text = err.removesuffix("\n")
    problems = {
        f"code {code}, not {case.code}": code != case.code,
        "more than one line": "\n" in text or not text.startswith("nas: "),
        "words of others": RAW.search(text) is not None,
        "too long": len(text) > LONGEST,
        "output": bool(out),
        f"changed {set(before.items()) ^ set(after.items())}": before != after,
    }
    found = [problem for problem, is_so in problems.items() if is_so]
    return f"{case.line} {dict(case.files)!r:.300}: {found}: {text[:300]}" if found else None


def all_wrong(
    cases: Iterable[Case], aside: Path, capsys: pytest.CaptureFixture[str], least: int
) -> list[str]:
    """Run all cases, of which there are at least so many, and return what is wrong."""
    listed = list(cases)
    assert len(listed) >= least
    return [wrong for case in listed if (wrong := run(case, aside, capsys))]


def test_genotypes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = PUBLISHED["DARTS_V2"].to_dict()
    assert not all_wrong(malformed.genotypes(document), tmp_path, capsys, least=90)


def test_checkpoints(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = torch.load("runs/search/checkpoints/last.ckpt", weights_only=True)
    assert not all_wrong(malformed.checkpoints(content), tmp_path, capsys, least=70)


def test_runs(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(Path("runs/search/run.json").read_text())
    assert not all_wrong(malformed.runs(record), tmp_path, capsys, least=50)


def test_studies(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (retrained,) = map(str, Path("s/retrains").rglob("result.json"))
    files = ("s/study.json", "s/searches/darts/seed_0/result.json", retrained)
    study, search, retrain = (json.loads(Path(file).read_text()) for file in files)
    cases = malformed_lines.studies(study, search, retrain, retrained)
    assert not all_wrong(cases, tmp_path, capsys, least=90)


@pytest.mark.parametrize(
    ("kind", "least"),
    [("tables", 25), ("lines", 150), ("variables", 50), ("benches", 20), ("configurations", 50)],
)
def test_other_kinds(
    kind: str, least: int, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not all_wrong(getattr(malformed_lines, kind)(), tmp_path, capsys, least)


@pytest.mark.long
def test_fits(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not all_wrong(malformed_lines.fits(), tmp_path, capsys, least=40)


def test_a_working_folder_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["info", "DARTS_V2"]) == 1
    assert capsys.readouterr().err == (
        "nas: the working folder was removed: change to another one\n"
    )
    os.chdir(tmp_path)
