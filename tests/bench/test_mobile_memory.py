"""Memory of search steps by the number of candidates, counted in bytes that autograd saves."""

import pytest

from benchmarks.mobile_memory import Memory, Size, main, measure

TINY = Size(batch=8, width=0.1, blocks=(2, 1, 1, 1, 1, 1), pixels=16)


def of(method: str) -> dict[int, dict[str, Memory]]:
    return {number: measure(method, number, TINY) for number in (2, 7)}


def test_memory_of_binary_gates_does_not_grow_with_the_number_of_candidates() -> None:
    """The mixture keeps all candidates. With two, both run in either method's step of α."""
    gates, mixture = of("binary_gates"), of("mixture")
    assert mixture[7]["arch"].saved > 2 * mixture[2]["arch"].saved
    assert mixture[7]["weight"].saved > 2 * mixture[2]["weight"].saved
    # the two largest candidates are in both spaces: a step can only need less
    assert gates[7]["arch"].saved <= gates[2]["arch"].saved
    assert gates[7]["weight"].saved <= gates[2]["weight"].saved
    assert gates[7]["arch"].peak <= 1.05 * gates[2]["arch"].peak
    assert gates[2]["arch"].saved == pytest.approx(mixture[2]["arch"].saved, rel=0.02)
    # one path instead of two
    assert gates[2]["weight"].saved < 0.7 * mixture[2]["weight"].saved


@pytest.mark.long
def test_the_script_prints_a_row_for_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--batch", "4", "--width", "0.1", "--blocks", "1", "1", "1", "1", "1", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 9
    assert all(line.count("MiB") == 3 for line in lines[2:])
