"""The examples of docs/python.md run."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def test_the_notebook_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("notebook").main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "normal cell"
    words = [line.split() for line in lines]
    epochs = [float(line[2]) for line in words if line[0] == "epoch"]
    (best,) = (float(line[1]) for line in words if line[0] == "best")
    assert len(epochs) == 2
    assert best == max(epochs)
    assert lines[-1].endswith("8x8 pixels, L, mean 0.3053, std 0.376")


def test_the_page_shows_the_notebook() -> None:
    code = (EXAMPLES / "notebook.py").read_text(encoding="utf-8")
    page = (EXAMPLES.parent / "python.md").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in page


def test_optuna_sweeps_and_prunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    example = importlib.import_module("optuna_search")
    pruner = optuna.pruners.BasePruner

    class Second(pruner):  # type: ignore[misc, valid-type] # imported above
        """Prunes the second trial after its first epoch."""

        def prune(self, study: Any, trial: Any) -> bool:
            return bool(trial.number == 1)

    monkeypatch.setattr(optuna.pruners, "MedianPruner", lambda **_: Second())
    tiny: dict[str, Any] = {
        "trainer.max_epochs": 2,
        "trainer.limit_train_batches": 1,
        "trainer.limit_val_batches": 1,
        "trainer.accelerator": "cpu",
    }
    study = example.sweep(tmp_path, 3, tiny)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "PRUNED", "COMPLETE"]
    for trial in study.trials:
        assert list(trial.intermediate_values) == ([0] if trial.number == 1 else [0, 1])
    for number in (0, 2):
        params = study.trials[number].params
        file = tmp_path / f"trial_{number}" / "checkpoints" / "last.ckpt"
        used = torch.load(file, weights_only=True)["hyper_parameters"]
        assert used["weight_optimizer"]["init_args"]["lr"] == params["weight_lr"]
        assert used["arch_optimizer"]["init_args"]["lr"] == params["arch_lr"]
    assert study.best_value == max(study.trials[0].value, study.trials[2].value)
