from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import SGD

from nas_lightning.architecture import Genotype
from nas_lightning.data import Synthetic
from nas_lightning.errors import CheckpointError, UsageError
from nas_lightning.layers.drop_path import DropPath
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import PUBLISHED, CellNetwork, DartsNetwork
from nas_lightning.tasks import Classification
from nas_lightning.training.checkpoints import read_checkpoint
from nas_lightning.training.schedules import LinearSchedule

SPEC = {"in_channels": 3, "num_classes": 4, "image_size": 8}
TrainerFactory = Callable[..., Trainer]


def make(
    genotype: str | dict[str, Any] = "DARTS_V2", channels: int = 4, layers: int = 3, **kwargs: Any
) -> RetrainModule:
    lightning.seed_everything(0, verbose=False)
    settings: dict[str, Any] = {"auxiliary_weight": 0.0, **kwargs}
    return RetrainModule(SPEC, genotype, DartsNetwork(channels, layers), **settings)


@pytest.fixture
def data() -> Synthetic:
    return Synthetic(
        in_channels=3,
        num_classes=4,
        image_size=8,
        train_size=64,
        test_size=16,
        batch_size=8,
        mode="retrain",
    )


class Recorder(Callback):
    """Record the drop path probabilities and the losses of each epoch."""

    def __init__(self) -> None:
        self.probabilities: list[set[float]] = []
        self.losses: list[float] = []
        self.rates: list[float] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            paths = [m for m in pl_module.modules() if isinstance(m, DropPath)]
            self.probabilities.append({path.p for path in paths})
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.losses.append(float(trainer.callback_metrics["retrain/train_loss_epoch"]))


def test_training_learns_with_all_schedules(data: Synthetic, make_trainer: TrainerFactory) -> None:
    recorder = Recorder()
    module = make(drop_path=0.3)
    make_trainer(max_epochs=4, callbacks=[recorder]).fit(module, datamodule=data)
    # p_max * epoch / epochs
    assert all(len(p) == 1 for p in recorder.probabilities)
    ramp = [p.pop() for p in recorder.probabilities]
    assert ramp == pytest.approx([0.0, 0.075, 0.15, 0.225])
    # cosine from 0.025 to 0
    expected = [0.0125 * (1 + torch.tensor(torch.pi * e / 4).cos().item()) for e in range(4)]
    assert recorder.rates == pytest.approx(expected)
    assert recorder.losses[-1] < recorder.losses[0]


def test_the_trained_network_generalises_to_the_test_set(
    data: Synthetic, make_trainer: TrainerFactory
) -> None:
    module = make("DARTS_V1", channels=8, drop_path=0.0)
    trainer = make_trainer(max_epochs=6)
    before = trainer.test(module, datamodule=data, verbose=False)[0]
    trainer.fit(module, datamodule=data)
    after = trainer.test(module, datamodule=data, verbose=False)[0]
    assert after["retrain/test_loss"] < before["retrain/test_loss"]
    assert after["retrain/test_accuracy"] >= 0.75  # chance: 0.25


def test_the_auxiliary_loss_is_added_with_its_weight() -> None:
    spec = {**SPEC, "image_size": 32}
    module = RetrainModule(spec, "DARTS_V2", DartsNetwork(4, 3), auxiliary_weight=0.4)
    batch = (torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))
    module.seed_draws = lambda batch_idx: None  # type: ignore[method-assign] # no trainer here
    module.streams.report = lambda *args: None  # type: ignore[method-assign]
    loss = module.training_step(batch, 0)
    logits, auxiliary = module.network(batch[0])
    main, second = (-out.log_softmax(1)[range(4), range(4)].mean() for out in (logits, auxiliary))
    torch.testing.assert_close(loss, main + 0.4 * second)


def test_without_a_weight_there_is_no_auxiliary_head() -> None:
    network = make(auxiliary_weight=0.0).network
    assert isinstance(network, CellNetwork)
    assert network.auxiliary is None


def outputs(module: RetrainModule) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        result: Tensor = module.eval()(torch.randn(4, 3, 8, 8, generator=generator))
    return result


def test_a_checkpoint_outlives_the_genotype_file(
    data: Synthetic, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    file = tmp_path / "genotype.json"
    PUBLISHED["PC_DARTS_CIFAR"].save(file)
    module = make(
        str(file),
        task=Classification(label_smoothing=0.1),
        optimizer=partial(SGD, lr=0.05),
        schedule=LinearSchedule(tail_epochs=2),
    )
    trainer = make_trainer()
    trainer.fit(module, datamodule=data)
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    file.unlink()
    again = RetrainModule.load_from_checkpoint(path, weights_only=True)
    # the training stores channels last, which rounds differently
    assert torch.allclose(outputs(again), outputs(module), rtol=1e-4, atol=1e-6)
    assert again.genotype == PUBLISHED["PC_DARTS_CIFAR"]
    assert repr(again.task) == "Classification(label_smoothing=0.1)"
    assert repr(again.schedule) == "LinearSchedule(tail_epochs=2, warmup_epochs=0)"
    optimizer = again.optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert optimizer.defaults["lr"] == 0.05
    assert optimizer.defaults["momentum"] == 0


def test_resumed_training_equals_uninterrupted_training(
    data: Synthetic, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    whole = make(drop_path=0.5)
    make_trainer(max_epochs=3).fit(whole, datamodule=data)

    class Save(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    make_trainer(max_epochs=3, callbacks=[Save()]).fit(make(drop_path=0.5), datamodule=data)
    resumed = make(drop_path=0.5)
    resumed.draw_seed += 1  # the checkpoint's counts
    make_trainer(max_epochs=3).fit(
        resumed, datamodule=data, ckpt_path=tmp_path / "middle.ckpt", weights_only=True
    )
    torch.testing.assert_close(outputs(resumed), outputs(whole), rtol=0, atol=0)


@pytest.fixture
def checkpoint(data: Synthetic, make_trainer: TrainerFactory, tmp_path: Path) -> Path:
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(make(), datamodule=data)
    trainer.save_checkpoint(tmp_path / "v2.ckpt")
    return tmp_path / "v2.ckpt"


def test_a_checkpoint_records_its_contents(checkpoint: Path) -> None:
    content = read_checkpoint(checkpoint)
    assert content["nas_lightning"]["kind"] == "retrain"
    assert content["nas_lightning"]["space"] == "darts"
    saved = Genotype.from_dict(content["hyper_parameters"]["genotype"])
    assert saved == PUBLISHED["DARTS_V2"]


def averaged(name: str) -> dict[str, Any]:
    """Return published cells with average instead of max pooling, which has the same tensors."""
    content = PUBLISHED[name].to_dict()
    for cell in content["cells"].values():
        for node in cell["nodes"]:
            for kept in node:
                kept["primitive"] = kept["primitive"].replace("max_pool", "avg_pool")
    return content


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"genotype": "DARTS_V1"}, "another genotype: set model.genotype"),
        ({"genotype": averaged("DARTS_V2")}, "another genotype"),
        ({"channels": 8}, "another network: model.network.channels is 4 in the .* and 8 now"),
        ({"layers": 4}, "another network"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(
    kwargs: dict[str, Any],
    reason: str,
    checkpoint: Path,
    data: Synthetic,
    make_trainer: TrainerFactory,
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        make_trainer().test(make(**kwargs), datamodule=data, ckpt_path=checkpoint)


def test_max_and_average_pooling_have_the_same_tensors() -> None:
    # only a comparison of genotypes can distinguish their checkpoints
    mine, other = make("DARTS_V2").state_dict(), make(averaged("DARTS_V2")).state_dict()
    assert {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in other.items()}


def test_a_search_checkpoint_is_refused() -> None:
    module = make()
    stamp = {"kind": "search", "space": "darts", "version": "0"}
    content: dict[str, Any] = {"nas_lightning": stamp, "state_dict": module.state_dict()}
    with pytest.raises(CheckpointError, match="from a search run: use one of a retrain run"):
        module.on_load_checkpoint(content)
    with pytest.raises(CheckpointError, match="from another program"):
        module.on_load_checkpoint({"state_dict": module.state_dict()})


def test_data_in_search_mode_is_refused(make_trainer: TrainerFactory) -> None:
    search = Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=64, test_size=16, batch_size=8
    )
    with pytest.raises(UsageError, match="set data mode to retrain"):
        make_trainer().fit(make(), datamodule=search)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0])
def test_a_drop_path_that_is_not_a_probability_is_refused(p: float) -> None:
    with pytest.raises(UsageError, match=f"found {p}"):
        make(drop_path=p)


def test_a_run_without_a_number_of_epochs_is_refused(
    data: Synthetic, make_trainer: TrainerFactory
) -> None:
    trainer = make_trainer(max_epochs=None, max_steps=9, limit_val_batches=0)
    with pytest.raises(UsageError, match=r"set trainer\.max_epochs"):
        trainer.fit(make(), datamodule=data)


def test_predictions_are_the_logits_in_order(data: Synthetic, make_trainer: TrainerFactory) -> None:
    module = make()
    batches = make_trainer().predict(module, datamodule=data)
    assert batches is not None
    images = torch.cat([x for x, _ in data.test_dataloader()])
    with torch.no_grad():
        expected = module.eval()(images)
    torch.testing.assert_close(torch.cat([torch.as_tensor(b) for b in batches]), expected)
