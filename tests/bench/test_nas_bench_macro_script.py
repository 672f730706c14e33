"""`benchmarks/nas_bench_macro.py` on made-up images and a table of the counted networks."""

import itertools
from pathlib import Path

import pytest

from benchmarks import nas_bench_macro as script
from nas_lightning.spaces import from_digits

DATA = (
    "--data=Synthetic --data.num_classes=10 --data.image_size=8 --data.train_size=64 "
    "--data.test_size=16 --data.batch_size=8 --data.on_device=false"
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Cost and accuracy are the sum of the digits, squared and plain."""
    rows = ["arch,acc1,acc2,acc3,params,multiply_adds"]
    for digits in itertools.product(range(3), repeat=8):
        name, total = "".join(map(str, digits)), sum(digits)
        cost = 1_000_000 * (1 + total**2)
        rows.append(f"{name},{10 + total},{11 + total},{12 + total},1,{cost}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_what_is_read_and_computed(table: Path) -> None:
    truth = script.Truth.load(table)
    assert truth.accuracies["00000002"] == pytest.approx(13)
    assert truth.within(2_000_000) == [name for name in truth.costs if sum(map(int, name)) < 2]
    # 4 of 100 digits in all: the front has the networks of 0, 1 and 2
    assert script.regret(truth, list(truth.costs), 5e6) == pytest.approx(0)
    # areas from 11: 0 up to 2M, 1 up to 5M, 2 after; up to 7M that is 3 + 4, without the last 5
    assert script.regret(truth, ["00000000", "00000010"], 7e6) == pytest.approx(1 - 5 / 7)
    # one network of sum 1 (2M) and one of sum 2 (5M)
    assert script.random_regret(truth, [2e6, 5e6]) == pytest.approx(0)


@pytest.mark.long
def test_searches_are_run_once_and_shown(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--table", str(table), "--run_dir", str(tmp_path / "runs"), f"--data={DATA}"]
    arguments += ["--budgets", "10", "--seeds=0", "--epochs=2", "--warmup=1", "--batches=2"]
    arguments += ["--channels=4"]
    script.main(arguments)
    lines = capsys.readouterr().out.splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if "| 0 |" in line]
    assert [row[:3] for row in rows[:2]] == [["binary_gates", "10M", "0"], ["gdas", "10M", "0"]]
    for row in rows[:2]:
        total = sum(map(int, row[3]))
        assert len(from_digits(row[3]).cells) == 8
        assert row[4].startswith(f"{1 + total**2:.1f}M")
        assert row[5] == f"{11 + total:.2f} %"
    assert [row[0] for row in rows[2:]] == ["binary_gates", "gdas"]
    done = sorted(path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("genotype.json"))
    script.main(arguments)
    assert capsys.readouterr().out.splitlines() == lines
    again = sorted(path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("genotype.json"))
    assert again == done
