"""`benchmarks/gpu.py` without a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from nas_lightning.bench import methods
from nas_lightning.spaces.nas_bench_201 import from_string


def test_without_a_gpu_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("skipped: PyTorch finds no CUDA GPU here")


@pytest.mark.long
def test_the_rehearsal_goes_through_all_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "METHODS", dict(list(methods.METHODS.items())[:4]))
    truth = tmp_path / "table.csv"
    page = tmp_path / "page.md"
    page.write_text("# A page\n\nWords.\n", encoding="utf-8")
    assert gpu.main(["--cpu-rehearsal", "--output", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# A page\n\nWords.\n\n<!-- gpu: begin -->")
    for part in ("Cells and precisions", "A batch in `Trainer.fit`", "CUDA graphs",
                 "IDARTS on made-up images", "Single-level GAEA", "Methods"):  # fmt: skip
        assert text.count(f"**{part}") == 1
    assert "idarts plain bf16-mixed" in text
    assert f"--cpu-rehearsal --output {page}" in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| 0 |", "| 1 |"))]
    cells = [row[1] for row in rows]
    assert len(cells) == 2
    for cell in cells:
        from_string(cell.replace("\\|", "|"))  # raises if it is no cell
    capsys.readouterr()
    # a table that is missing ends it with one line, and what was finished stays
    assert gpu.main(["--cpu-rehearsal", "--table", str(truth), "--output", str(page)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"gpu.py: cannot read {truth}: ")
    assert "IDARTS on made-up images" in page.read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8").count(gpu.BEGIN) == 1


def test_a_section_replaces_the_previous_one() -> None:
    page = gpu.put_into("before\n", "first \\1")
    assert page == f"before\n\n{gpu.BEGIN}\n\nfirst \\1\n\n{gpu.END}\n"
    again = gpu.put_into(f"{page}after\n", "second")
    assert again == f"before\n\n{gpu.BEGIN}\n\nsecond\n\n{gpu.END}\nafter\n"


def test_it_runs_from_a_checkout_without_the_command_line(tmp_path: Path) -> None:
    script = Path(gpu.__file__)
    code = (
        f"import runpy, sys; runpy.run_path({str(script)!r}); "
        "print([name for name in sys.modules if name.startswith('nas_lightning.cli')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
