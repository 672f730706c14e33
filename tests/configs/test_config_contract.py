"""Every shipped configuration, in small sizes: run, rebuilt from a checkpoint, resumed exactly."""

import pickle
from pathlib import Path

import pytest
import torch
from lightning import Callback, Trainer

from nas_lightning.runs.command import run
from nas_lightning.search import SearchModule
from tests.configs.shrink import CONFIGS, SELECTIONS, build, small
from tests.conftest import TrainerFactory
from tests.methods import rest_long


class Save(Callback):
    """Saves a checkpoint after the first batch.

    Args:
        path: Where the checkpoint goes.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        if (trainer.current_epoch, trainer.fit_loop.batch_idx) == (0, 0):
            trainer.save_checkpoint(self.path, weights_only=False)


# one of each space and kind of data, and one of each way to change a step
RUN = [
    *("digits_idarts.yaml", "digits_cdarts.yaml", "digits_sgas.yaml", "digits_retrain.yaml"),
    *("nb201_gaea_gdas.yaml", "imagenet_proxyless.yaml", "imagenet_retrain.yaml"),
    *("ptb_recurrent.yaml", "wikitext_recurrent_retrain.yaml"),
    *("signal_deblur.yaml", "image_inpaint_retrain.yaml"),
]
"""Configurations that `make test` runs; it builds most others in full size."""
SETTINGS = [
    "--trainer.fast_dev_run=false",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.logger=false",
    "--pictures=false",
]


# the callbacks of the command, without which the second run resumes
@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint need.*")
@pytest.mark.parametrize("name", rest_long(CONFIGS, keep=RUN))
def test_it_runs_is_rebuilt_and_resumed(
    name: str, tmp_path: Path, make_trainer: TrainerFactory
) -> None:
    path = tmp_path / "middle.ckpt"
    callback = [f"--trainer.callbacks+={__name__}.Save", f"--trainer.callbacks.path={path}"]
    epochs = 2 if name in SELECTIONS else 1
    length = [f"--trainer.max_epochs={epochs}", *SELECTIONS.get(name, [])]
    cli = run([*small(name, tmp_path), *SETTINGS, *length, *callback])
    assert cli.trainer.global_step > 0
    straight = cli.model

    rebuilt = type(straight).load_from_checkpoint(path, weights_only=True, map_location="cpu")
    saved = torch.load(path, weights_only=True)["state_dict"]
    for key, value in rebuilt.state_dict().items():
        assert torch.equal(value, saved[key]), key
    if isinstance(straight, SearchModule) and isinstance(rebuilt, SearchModule):
        assert repr(rebuilt.strategies) == repr(straight.strategies)
        assert rebuilt.plan.describe() == straight.plan.describe()
        assert repr(pickle.loads(pickle.dumps(rebuilt.strategies))) == repr(straight.strategies)

    clip = {"gradient_clip_val": cli.trainer.gradient_clip_val}  # of retrainings
    trainer = make_trainer(max_epochs=epochs, limit_train_batches=2,
                           limit_val_batches=epochs - 1, **clip)  # fmt: skip
    trainer.fit(rebuilt, datamodule=cli.datamodule, ckpt_path=path, weights_only=True)
    for key, value in straight.state_dict().items():
        assert torch.equal(value, rebuilt.state_dict()[key]), key


@pytest.mark.parametrize("name", ["digits_idarts.yaml", "ptb_recurrent_retrain.yaml"])
def test_one_seed_is_one_start(name: str, tmp_path: Path) -> None:
    one, other = (build(small(name, tmp_path)).model.state_dict() for _ in range(2))
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
