"""Classes of the user that cannot be imported: one line with the place, the reason and the help."""

from pathlib import Path

import pytest

from tests.cli.conftest import Nas

FILES = {
    "raising": 'raise RuntimeError("no camera\\nis there")',
    "needing": "import a_module_of_nobody",
    "broken": "def f(:",
    "lacking": "class Other: pass",
}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody", "No module named 'nobody': install its package, or set PYTHONPATH"),
        ("raising", "it fails while it is imported: no camera is there (*raising.py, line 1)"),
        ("needing", "No module named 'a_module_of_nobody', which needing needs: install it"),
        ("broken", "invalid syntax (broken.py, line 1): mend the file"),
        ("lacking", "module 'lacking' has no attribute 'Others'*did you mean 'Other'?"),
    ],
)
@pytest.mark.parametrize("where", ["data", "model.strategies"])
def test_the_reason_is_given(
    where: str, name: str, reason: str, nas: Nas, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "mine").mkdir()
    for file, text in FILES.items():
        (work / "mine" / f"{file}.py").write_text(text)
    monkeypatch.syspath_prepend(str(work / "mine"))
    part = f"{{class_path: {name}.Others}}"
    given = {"data": f"data: {part}", "model.strategies": f"model: {{strategies: [{part}]}}"}
    (work / "own.yaml").write_text(given[where])
    result = nas("fit --config search --config own.yaml")
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 1
    assert f"{where}" in result.err
    assert f"cannot import {name}.Others: " in result.err
    for text in reason.split("*"):
        assert text in result.err
