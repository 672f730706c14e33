"""Figures from made-up times."""

import dataclasses
import json
from pathlib import Path

import pytest

from nas_lightning.bench import Results, Row, compare, table
from nas_lightning.bench.counters import Counts
from nas_lightning.bench.measure import alternate, full_seconds
from nas_lightning.bench.results import here, paired_ratio, spread
from nas_lightning.errors import DataError

COUNTS = Counts(kernels=1234, launches=None, flops=5_000_000_000, saved_bytes=2**21, peak_bytes=1)
MACHINE = {
    "date": "2026-01-01",
    "device": "a CPU",
    "torch": "2",
    "threads": 2,
    "lightning": "2",
    "python": "3",
}


def row(seconds: tuple[float, ...] = (3.0, 1.0, 2.0), **changed: object) -> Row:
    made = Row("setting", "fast", "search", 64, 2, seconds, 1.0, 100.0, COUNTS)
    return dataclasses.replace(made, **changed)  # type: ignore[arg-type]


def results(*rows: Row, **machine: object) -> Results:
    return Results(rows, MACHINE | machine, ("nas", "bench"))


def test_cases_take_turns() -> None:
    calls: list[str] = []

    def case(name: str, values: list[float]) -> float:
        calls.append(name)
        return values.pop(0)

    a, b = [9.0, 1.0, 2.0], [8.0, 4.0, 6.0]
    found = alternate([lambda: case("a", a), lambda: case("b", b)], repeat=2, warm_up=1)
    assert calls == ["a", "b"] * 3
    assert found == [[1.0, 2.0], [4.0, 6.0]]  # without the first round


def test_median_spread_and_rate() -> None:
    found = row((1.0, 2.0, 3.0, 10.0, 4.0))
    assert found.median == 3
    assert found.spread == 1  # of 2, 1, 0, 7, 1
    assert found.images_per_second == pytest.approx(64 / 3)
    assert spread([5.0]) == 0


def test_the_ratio_is_of_pairs() -> None:
    """A machine that slows down in the middle changes both of a pair."""
    base, values = [1.0, 10.0, 100.0], [2.0, 20.0, 300.0]
    assert paired_ratio(values, base) == 2
    assert paired_ratio(base, base) == 1


@pytest.mark.parametrize(
    ("weight", "arch_epochs", "expected"),
    # 50 epochs of 97 batches of 2 seconds; warm-up epochs have weight steps alone
    [(None, 50, 9700.0), (1.0, 50, 9700.0), (None, 35, 9700.0), (1.0, 35, 97 * (35 * 2.0 + 15))],
)
def test_a_full_search_is_epochs_times_batches_times_the_step(
    weight: float | None, arch_epochs: int, expected: float
) -> None:
    assert full_seconds(2.0, weight, 50, arch_epochs, 97) == expected


def test_json_there_and_back(tmp_path: Path) -> None:
    before = results(row(), row(case="data", counts=None, full_seconds=None))
    before.save(tmp_path / "a.json")
    assert Results.load(tmp_path / "a.json") == before
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert content["rows"][0]["median"] == 2  # for readers without our code


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "rows": 3}', '{"format": 99}'])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.json"):
        Results.load(path)
    with pytest.raises(DataError, match="missing"):
        Results.load(tmp_path / "missing.json")


def test_changes_since_an_older_result() -> None:
    old = results(row((2.0, 2.0, 2.0)), row(case="gone"))
    new = results(row((3.0, 2.7, 3.3)), row(case="added"))
    changes, warnings = compare(new, old)
    (change,) = changes
    assert change.ratio == pytest.approx(1.5)
    assert change.noise == pytest.approx(0.1)  # 0.3 of 3, and none of 2
    assert warnings == ["setting added search is new"]
    shown = table.changes(changes, warnings).splitlines()
    assert shown[0] == "warning: setting added search is new"
    assert shown[2].split()[-4:] == ["1.500", "1", "±", "0.100"]


@pytest.mark.parametrize("name", ["device", "torch", "threads"])
def test_another_machine_is_warned_of(name: str) -> None:
    _, warnings = compare(results(row(), **{name: "other"}), results(row()))
    assert warnings == [f"{name} was {MACHINE[name]} and is now other: times are not comparable"]


def test_another_batch_is_warned_of() -> None:
    _, warnings = compare(results(row(images=32, threads=1)), results(row()))
    assert warnings == [
        "setting fast search: batch 64 on 2 threads before, 32 on 1 now",
    ]


def test_tables_leave_empty_columns_out() -> None:
    shown = table.text(results(row())).splitlines()
    assert "threads 2" in shown[0]
    assert "GPU kernels" not in shown[2]
    assert shown[3].split() == [
        *("setting", "search", "fast", "64", "2", "s", "1", "s", "32", "1.00"),
        *("1.67", "min", "1,234", "5", "2.0", "0.0"),
    ]
    gpu = table.markdown(results(row(counts=dataclasses.replace(COUNTS, launches=77))))
    assert "GPU kernels" in gpu
    assert gpu.splitlines()[1].startswith("| --- | --- | --- | ---: |")
    assert "| 77 |" in gpu


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12.3 ms"), (1.0, "1 s"), (80.0, "80 s"), (120.0, "2 min"), (7200.0, "2 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert table.duration(seconds) == text


def test_this_machine() -> None:
    found = here("cpu")
    assert found["device"]
    assert found["cuda"] is None
    assert json.loads(json.dumps(found)) == found
