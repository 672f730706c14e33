"""The examples of the documentation run, and the pages show them as they are."""

import importlib
from pathlib import Path

import pytest
import torch

from nas_lightning.cli import main
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule
from tests.conftest import SearchFactory, TrainerFactory

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
OWN_DATA = str(EXAMPLES / "own_data.yaml")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `PYTHONPATH=docs/examples` does."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


def fit(folder: Path, *more: str) -> int:
    return main(["fit", "--config", OWN_DATA, "--run_dir", str(folder), *more])


@pytest.mark.parametrize("name", ["own_data", "own_strategy"])
def test_pages_show_the_examples(name: str) -> None:
    page = DOCS / ("architecture.md" if name == "own_strategy" else "own_data.md")
    code = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in page.read_text(encoding="utf-8")


def test_own_data_is_searched(tmp_path: Path) -> None:
    assert fit(tmp_path, "--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu") == 0


def test_own_data_is_searched_and_retrained(tmp_path: Path) -> None:
    quick = ("--trainer.accelerator", "cpu", "--data.size", "64", "--trainer.max_epochs", "1")
    assert fit(tmp_path / "search", *quick) == 0
    found = tmp_path / "search" / "genotype.json"
    arguments = ["fit", "--config", "digits_retrain", "--model.genotype", str(found)]
    own = ["--data", "own_data.StripesData", "--data.mode", "retrain", "--data.batch_size", "16"]
    assert main([*arguments, *own, *quick, "--run_dir", str(tmp_path / "retrain")]) == 0
    assert main(["test", "--config", str(tmp_path / "retrain" / "config.yaml")]) == 0


def test_own_strategy_is_appended_on_the_command_line(tmp_path: Path) -> None:
    more = ("--model.strategies+=own_strategy.EntropyPenalty", "--model.strategies.weight=0.5")
    assert fit(tmp_path, *more, "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu") == 0
    module = SearchModule.load_from_checkpoint(
        tmp_path / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True
    )
    assert repr(module.strategies[-1]) == "EntropyPenalty(weight=0.5)"


def test_own_strategy_lowers_the_entropy(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    penalty = importlib.import_module("own_strategy").EntropyPenalty

    def entropy(weight: float) -> float:
        module = make_search([penalty(weight)])
        with torch.no_grad():  # equal weights are a saddle point: start beside it
            for alpha in module.arch.alpha.values():
                alpha[:, 0] += 0.5
        make_trainer(max_epochs=2).fit(module, datamodule=search_data)
        with torch.no_grad():
            return float(penalty(1.0).penalty(module.arch))

    assert entropy(10.0) < entropy(0.0)


def test_own_strategy_refuses_a_negative_weight() -> None:
    with pytest.raises(UsageError, match="must not be negative"):
        importlib.import_module("own_strategy").EntropyPenalty(-1.0)


def test_the_page_of_estimators_holds_what_the_example_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    importlib.import_module("estimators").main()
    page = (DOCS / "methods" / "estimators.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out in page
