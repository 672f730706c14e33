"""The file `genotype.json`, which belongs to every search."""

from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer

from nas_lightning.architecture import Genotype
from nas_lightning.data import Synthetic
from nas_lightning.search import GenotypeWriter, SearchModule
from nas_lightning.strategies import EdgeNormalization
from tests.conftest import SearchFactory, TrainerFactory, quiet_trainer

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "max_epochs": 1,
    "limit_train_batches": 1,
    "limit_val_batches": 0,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_search_started_from_python_writes_its_genotype(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = make_search([EdgeNormalization()])
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    make_trainer(max_epochs=3, limit_val_batches=0).fit(module, datamodule=search_data)
    found = Genotype.load(tmp_path / "genotype.json", module.space)
    assert found == module.genotype()
    assert found.mixing == module.genotype().mixing
    assert found.provenance["epoch"] == 2
    assert found.provenance["seed"] == "7"
    assert found.provenance["run_dir"] == str(tmp_path)
    assert files(tmp_path) == ["genotype.json"]  # nothing is left of writing it


def test_it_is_written_at_the_end_of_each_epoch_before_the_checkpoint(
    make_search: SearchFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    """With the defaults of a trainer, in the folder where its logs and checkpoints are."""
    epochs: list[int] = []

    class Read(Callback):
        def on_save_checkpoint(
            self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
        ) -> None:
            found = Genotype.load(tmp_path / "genotype.json")
            epochs.append(found.provenance["epoch"])
            assert "GenotypeWriter" not in checkpoint.get("callbacks", {})

    settings = {**QUIET, "max_epochs": 2, "callbacks": [Read()]}
    trainer = Trainer(default_root_dir=tmp_path, log_every_n_steps=1, **settings)
    trainer.fit(make_search([]), datamodule=search_data)
    assert epochs == [0, 1]


def test_a_trainer_that_writes_nothing_writes_no_genotype(
    make_search: SearchFactory,
    search_data: Synthetic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without logs, checkpoints and a folder of its own the current folder stays as it is."""
    monkeypatch.chdir(tmp_path)
    trainer = quiet_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(make_search([]), datamodule=search_data)
    assert files(tmp_path) == []


@pytest.mark.parametrize("written", ["checkpoint", "log"])
def test_it_is_in_the_current_folder_if_logs_or_checkpoints_do(
    written: str,
    make_search: SearchFactory,
    search_data: Synthetic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = written == "checkpoint"
    trainer = Trainer(
        logger=not checkpoint, enable_checkpointing=checkpoint, log_every_n_steps=1, **QUIET
    )
    module = make_search([])
    trainer.fit(module, datamodule=search_data)
    assert Genotype.load(tmp_path / "genotype.json") == module.genotype()


def test_fast_dev_run_writes_nothing(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    make_trainer(fast_dev_run=True).fit(make_search([]), datamodule=search_data)
    assert files(tmp_path) == []


def test_a_writer_among_the_trainers_callbacks_is_replaced(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    """As Lightning does with callbacks that a module configures; there is one in every fit."""
    other = make_search([], seed=1)
    module = make_search([])
    trainer = make_trainer(
        callbacks=[GenotypeWriter(other.genotype)], limit_train_batches=1, limit_val_batches=0
    )
    for _ in range(2):
        trainer.fit(module, datamodule=search_data)
        assert sum(isinstance(callback, GenotypeWriter) for callback in trainer.callbacks) == 1  # type: ignore[attr-defined] # set by a connector
    assert Genotype.load(tmp_path / "genotype.json").mixing == module.genotype().mixing


def test_it_follows_the_strategies_and_has_no_state(make_search: SearchFactory) -> None:
    module: SearchModule = make_search([EdgeNormalization()])
    *strategies, writer = module.configure_callbacks()
    assert strategies == module.strategies
    assert isinstance(writer, GenotypeWriter)
    assert writer.state_dict() == {}
