"""Signals: sums of cosines, their peak and size."""

import numpy as np
import pytest
import torch

from nas_lightning.data import Signals
from tests.data.test_inverse_data import all_of, open_


def test_signals_are_sums_of_cosines() -> None:
    """Below: the largest amplitudes; the spectrum ends above the highest frequency."""
    _, x = all_of(open_(Signals(train_size=4000)), "train")
    assert x.shape == (4000, 1, 64)
    assert float(x.abs().max()) < 3 * 1.5 + 0.5
    # offset: 1/12; cosines: a mean number of 2, each with E(a²) / 2 = (1 + 1/12) / 2
    assert float(x.square().mean()) == pytest.approx(1 / 12 + 1 + 1 / 12, rel=0.05)
    window = np.hanning(64)  # else the jump at the ends spreads over all frequencies
    spectrum = np.abs(np.fft.rfft(x[:, 0].numpy() * window)) ** 2
    assert spectrum[:, 11:].sum() < 1e-3 * spectrum.sum()
    assert spectrum[:, 7].sum() > 0.05 * spectrum.sum()


def test_the_stated_peak_is_that_of_the_signals() -> None:
    _, x = all_of(open_(Signals()), "train")
    assert Signals().data_spec["peak"] == 2.0
    assert float(x.abs().amax(dim=2).mean()) == pytest.approx(2.0, rel=0.05)


def test_test_signals_are_others() -> None:
    data = open_(Signals(train_size=50, test_size=50))
    rows = torch.cat([all_of(data, "train")[1], all_of(data, "test")[1]]).flatten(1)
    assert len(np.unique(rows.numpy(), axis=0)) == 100


def test_signals_of_another_size() -> None:
    data = open_(Signals(size=32, train_size=10, test_size=5))
    assert all_of(data, "test")[1].shape == (5, 1, 32)
    assert data.data_spec["image_size"] == 32
