"""The table of unlearned reconstructions, against the closed form in the frequency domain."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nas_lightning.data import Signals
from nas_lightning.errors import UsageError

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SIZES = {"train_size": 128, "test_size": 64, "noise": 0.1, "batch_size": 8}


@pytest.fixture
def baselines(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `PYTHONPATH=docs/examples` does."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("unlearned_baselines")


def configuration(folder: Path, name: str, **data: Any) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"data": data, "model": {"class_path": "Anything"}}))
    return str(path)


def decibels(error: Any) -> float:
    return float(10 * np.log10(4 / np.mean(np.square(error))))


def test_the_table(baselines: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A blur is diagonal for Fourier: û = conj(h) ŷ / (|h|² + strength)."""
    name = configuration(tmp_path, "mine", class_path="Signals", init_args=SIZES)
    baselines.main([name])
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["configuration", "adjoint", "Tikhonov", "strength"]
    pairs = [Signals(**SIZES).load(part) for part in ("train", "test")]  # type: ignore[arg-type]
    taps = np.exp(-0.5 * (np.arange(-4, 5) / 2) ** 2)
    kernel = np.zeros(64)
    kernel[np.arange(-4, 5)] = taps / taps.sum()
    h = np.fft.fft(kernel)

    def tikhonov(part: int, strength: float) -> float:
        y, x = (tensor[:, 0].double().numpy() for tensor in (pairs[part].y, pairs[part].x))
        found = np.fft.ifft(h.conj() * np.fft.fft(y) / (abs(h) ** 2 + strength)).real
        return decibels(found - x)

    best = max(baselines.STRENGTHS, key=lambda strength: tikhonov(0, strength))
    y, x = (tensor[:, 0].double().numpy() for tensor in (pairs[1].y, pairs[1].x))
    adjoint = decibels(np.fft.ifft(h.conj() * np.fft.fft(y)).real - x)
    assert row.split()[1:] == [f"{adjoint:.2f}", f"{tikhonov(1, best):.2f}", f"{best:.2g}"]
    assert baselines.STRENGTHS[0] < best < baselines.STRENGTHS[-1]


def test_all_shipped_searches(
    baselines: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, kind, init_args in (
        ("a", "Signals", {**SIZES, "mode": "search"}),
        ("b", "Signals", {**SIZES, "mode": "retrain"}),
        ("c", "Digits", {}),
    ):
        configuration(tmp_path, name, class_path=kind, init_args=init_args)
    monkeypatch.setattr(baselines, "shipped", lambda: ["a.yaml", "b.yaml", "c.yaml"])
    monkeypatch.chdir(tmp_path)
    baselines.main([])
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[1:]] == ["a"]


def test_what_is_no_inverse_problem(baselines: Any) -> None:
    with pytest.raises(UsageError, match="digits_idarts is not of an inverse problem"):
        baselines.main(["digits_idarts"])


def test_a_mistake_in_the_data(baselines: Any, tmp_path: Path) -> None:
    name = configuration(tmp_path, "mine", class_path="Signals", init_args={"noisy": 1})
    with pytest.raises(UsageError, match="noisy"):
        baselines.main([name])


def test_a_configuration_that_is_missing(baselines: Any) -> None:
    with pytest.raises(UsageError, match="no configuration 'signal_deblurr'"):
        baselines.main(["signal_deblurr"])
