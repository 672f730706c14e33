"""A run on two processes is the same run, for each method and each shipped search."""

import re

import pytest
import torch

from tests.ddp.cases import CASES, FURTHER
from tests.ddp.conftest import Pair
from tests.ddp.disagreement import JOBS
from tests.ddp.joint_norm import derivatives

pytestmark = [pytest.mark.ddp, pytest.mark.slow]


def test_the_joint_norm_is_a_norm_of_the_joined_batch(pair: Pair) -> None:
    first, second = (found["norms"] for found in pair)
    expected = derivatives(joint=False)
    for name in ("output", "first", "second"):
        joined = torch.cat((first[name], second[name]))
        torch.testing.assert_close(joined, expected[name], rtol=1e-12, atol=1e-12)
    # each has the part that its own samples make
    joined = first["weight"] + second["weight"]
    torch.testing.assert_close(joined, expected["weight"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(first["running"], expected["running"], rtol=1e-12, atol=1e-12)


def both_hold_the_same_bits(name: str, results: Pair) -> None:
    first, second = (found["together"][name] for found in results)
    assert len(first["steps"]) == len(second["steps"]) > 0
    for step, (one, two) in enumerate(zip(first["steps"], second["steps"], strict=True)):
        for parameter, value in one.items():
            assert torch.equal(value, two[parameter]), f"step {step}, {parameter}"
    assert first["state"].keys() == second["state"].keys()
    for key, value in first["state"].items():
        assert torch.equal(value, second["state"][key]), key


@pytest.mark.parametrize("name", CASES)
def test_both_processes_hold_the_same_bits(name: str, pair: Pair) -> None:
    both_hold_the_same_bits(name, pair)


@pytest.mark.long
@pytest.mark.parametrize("name", FURTHER)
def test_both_processes_hold_the_same_bits_in_further_cases(name: str, further: Pair) -> None:
    both_hold_the_same_bits(name, further)


def two_do_what_one_does(name: str, results: Pair) -> None:
    """To rounding, in float64 and with batch norm over both.

    Sums over a batch are taken in another order: 1e-16 relative. A finite difference divides what
    is left by a step of 1e-2, and Adam's first step divides small gradients by their own size; in
    float64 that has been seen to come to 1e-11 relative, so 1e-9 leaves room for other machines.
    A derivative that is not averaged, or samples dealt out otherwise, are off by more than 1e-3.
    """
    (alone,) = (found["alone"][name] for found in results if name in found["alone"])
    both = results[0]["together"][name]
    assert len(both["steps"]) == len(alone["steps"])
    for expected, value in zip(alone["steps"], both["steps"], strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(both["state"], alone["state"], rtol=1e-9, atol=1e-12)
    # metrics are kept in float32
    torch.testing.assert_close(both["metrics"], alone["metrics"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_do_what_one_does_with_the_joined_batch(name: str, pair: Pair) -> None:
    two_do_what_one_does(name, pair)


@pytest.mark.long
@pytest.mark.parametrize("name", FURTHER)
def test_two_processes_do_what_one_does_in_further_cases(name: str, further: Pair) -> None:
    two_do_what_one_does(name, further)


def test_the_runs_moved_and_measured(pair: Pair) -> None:
    """The comparisons above are not those of things that stand still."""
    for name, run in pair[0]["together"].items():
        first, last = run["steps"][0], run["steps"][-1]
        moved = [key for key in first if not torch.equal(first[key], last[key])]
        assert moved or len(run["steps"]) == 1, name
    assert {"search/train_loss", "search/val_loss"} <= set(
        pair[0]["together"]["digits_idarts.yaml"]["metrics"]
    )
    assert "search/lambda_reduce" in pair[0]["together"]["agreement of cells"]["metrics"]
    assert "robust/eigenvalue" in pair[0]["together"]["robust_darts"]["metrics"]


def test_one_process_that_breaks_takes_both_back(pair: Pair) -> None:
    (steps, count), (others, _) = (found["roll back"] for found in pair)
    assert count == 1
    for key, value in steps[0].items():
        assert torch.equal(steps[1][key], value), key
        assert torch.equal(others[1][key], value), key


def test_a_process_with_more_validation_batches_waits_for_no_other(pair: Pair) -> None:
    (batches, metrics), (fewer, others) = (found["uneven validation"] for found in pair)
    assert (batches, fewer) == ([2], [1])
    assert metrics["retrain/val_accuracy"] == others["retrain/val_accuracy"]
    assert float(metrics["retrain/val_accuracy"]) * 9 % 1 == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("what", [what for what in JOBS if what != "nothing"])
def test_processes_that_differ_stop_together_and_say_so(what: str, pair: Pair) -> None:
    (said, epoch), (other, _) = (found[f"disagree in {what}"] for found in pair)
    assert said == other
    assert f"rank 1 differs from rank 0 in {what}" in said
    if epoch is None:  # they never agreed
        assert said.startswith("at the start of training ")
        assert "the same state" in said
    else:
        assert said.startswith("at the end of epoch 2 ")
        assert "agreed at the end of epoch 1, resume from there with --ckpt_path last" in said
        assert epoch == 0
    assert not re.search(r"\n", said)


def test_processes_that_agree_go_on(pair: Pair) -> None:
    assert [found["disagree in nothing"][0] for found in pair] == ["", ""]
