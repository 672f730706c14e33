"""Fingerprints differ where bits do, and say on which process."""

import math

import pytest
import torch

from nas_lightning.callbacks.ranks_agree import RanksAgree, difference
from nas_lightning.data import Synthetic
from nas_lightning.distributed import fingerprint, gathered
from tests.conftest import SearchFactory, TrainerFactory

TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]


@pytest.mark.parametrize("dtype", TYPES)
def test_any_bit_of_any_element_counts(dtype: torch.dtype) -> None:
    values = torch.tensor([0, 1, 0, 1, 1], dtype=dtype)
    seen = {int(fingerprint([values]))}
    for place in range(len(values)):
        raw = values.clone().view(torch.uint8).view(len(values), -1)
        for byte in range(raw.shape[1]):
            for bit in range(1 if dtype == torch.bool else 8):
                raw[place, byte] ^= 1 << bit
                seen.add(int(fingerprint([raw.view(dtype)])))
                raw[place, byte] ^= 1 << bit
    bits = 1 if dtype == torch.bool else 8 * values.element_size()
    assert len(seen) == 1 + len(values) * bits


def test_changes_that_a_plain_sum_would_miss() -> None:
    values = torch.randn(1000, generator=torch.manual_seed(0))
    expected = fingerprint([values])
    swapped = values.clone()
    swapped[[3, 700]] = values[[700, 3]]
    negated = values.clone()
    negated[[3, 700]] *= -1  # the same bit twice
    for changed in (swapped, negated, values.roll(1), values[:-1]):
        assert fingerprint([changed]) != expected
    assert fingerprint([torch.tensor(0.0)]) != fingerprint([torch.tensor(-0.0)])


def test_rounding_noise_does_not_cancel() -> None:
    """A last bit up here and one down there, for all pairs of places."""
    values = torch.ones(200, dtype=torch.float64)
    bits = values.view(torch.int64)
    up = torch.stack([bits.index_add(0, torch.tensor([i]), torch.ones(1, dtype=torch.int64))
                      for i in range(200)])  # fmt: skip
    alone = torch.stack([fingerprint([row.view(torch.float64)]) for row in up])
    assert len({*(alone - fingerprint([values])).tolist()}) == 200  # so their differences are not 0


def test_equal_bits_have_equal_fingerprints() -> None:
    values = torch.randn(4, 6, generator=torch.manual_seed(0))
    values[0, 0] = math.nan
    expected = fingerprint([values])
    assert expected.dtype == torch.int64
    assert expected.shape == ()
    assert fingerprint([values.clone()]) == expected
    assert fingerprint([values.t().contiguous().t()]) == expected  # laid out otherwise
    assert fingerprint([values[:1], values[1:]]) == expected
    assert fingerprint([]) == 0


def test_those_that_differ_are_named() -> None:
    rows = torch.tensor([[7, 8, 9, 1]] * 5)
    assert difference(rows) == ""
    rows[3, 1] += 1
    assert difference(rows) == "rank 3 differs from rank 0 in the weights"
    rows[1, 0] += 1
    assert difference(rows) == (
        "ranks 1, 3 differ from rank 0 in the architecture parameters and the weights"
    )
    rows[0, 3] += 1  # now the first is one of the few
    assert difference(rows[[0, 2, 4]]) == "rank 0 differs from rank 1 in the epoch"


def test_one_process_compares_nothing(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compared(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr("nas_lightning.callbacks.ranks_agree.difference", compared)
    make_trainer(limit_train_batches=1, callbacks=[RanksAgree()]).fit(
        make_search(), datamodule=search_data
    )
    assert torch.equal(gathered(torch.tensor([1, 2])), torch.tensor([[1, 2]]))
