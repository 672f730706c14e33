"""A user's own task: its metric and direction decide without being registered anywhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torchmetrics import MeanAbsoluteError, Metric
from torchmetrics.classification import BinaryPrecision, BinaryRecall

from nas_lightning.callbacks import RunCheckpoint
from nas_lightning.callbacks.progress import RunProgressBar
from nas_lightning.errors import UsageError
from nas_lightning.runs.monitors import check_monitors
from nas_lightning.tasks import Classification, LanguageModeling, Reconstruction, Task
from nas_lightning.tasks.mean import Mean
from nas_lightning.training.streams import Streams
from tests.conftest import TrainerFactory
from tests.tasks.pairs import SPEC, TASKS, Pairs, retraining


class Angle(Mean):
    """Mean angle between output and target, without a direction of its own."""

    def update(self, output: Tensor, target: Tensor) -> None:  # type: ignore[override] # others
        cosine = torch.cosine_similarity(output, target.to(output.dtype), dim=1)
        super().update(cosine.clamp(-1, 1).acos().mean(), len(output))


class Steering(Task):
    """Directions in the space of three values."""

    directions: ClassVar[Any] = {"angle": "min"}

    def loss(self, output: Tensor, batch: Any) -> Tensor:
        return torch.nn.functional.mse_loss(output, batch[1].to(output.dtype))

    def metrics(self, data_spec: Mapping[str, Any]) -> dict[str, Metric]:
        return {"angle": Angle(), "absolute": MeanAbsoluteError()}

    def predictions(self, output: Tensor) -> dict[str, Tensor]:
        return {"direction": output}


class Recorder(Callback):
    """Keeps the angles of the epochs."""

    def __init__(self) -> None:
        self.angles: list[float] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.angles.append(float(trainer.callback_metrics["retrain/val_angle"]))


def test_its_metric_is_shown_and_chooses_the_best_epoch(
    make_trainer: TrainerFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Pairs("multi-label", batch_size=8, mode="retrain", val_fraction=0.5)
    saving, recorder = RunCheckpoint(tmp_path, monitor="main"), Recorder()
    module = retraining("multi-label", Steering())
    trainer = make_trainer(max_epochs=4, callbacks=[saving, recorder, RunProgressBar()],
                           enable_checkpointing=True, enable_progress_bar=True)  # fmt: skip
    trainer.validate(module, datamodule=data, verbose=False)  # resets metrics in inference mode
    check_monitors(trainer, module, data)
    trainer.fit(module, datamodule=data)
    assert (saving.monitor, saving.mode) == ("retrain/val_angle", "min")
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert best["epoch"] == recorder.angles.index(min(recorder.angles))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert len(lines) == 4
    for line in lines:
        shown = [part.split()[0] for part in line.split("  ")[2:]]
        assert shown == ["train_loss", "val_loss", "val_angle", "train_angle"]


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (RunCheckpoint(monitor="retrain/val_angles"), "did you mean retrain/val_angle"),
        (RunCheckpoint(monitor="zzz"), "no metric 'zzz' is logged; there are retrain/train_abs.*, "
         "retrain/train_angle, .*retrain/val_angle, retrain/val_loss"),
        (RunCheckpoint(monitor="main", mode="max"), "checkpoint.mode is max, but retrain/val_angle "
         "is better when it is lower: set it to min"),
        (EarlyStopping("retrain/val_angle", mode="max"), "EarlyStopping.mode is max, but"),
    ],
)  # fmt: skip
def test_unknown_names_and_other_directions_are_refused_before_training(
    callback: Callback, message: str, make_trainer: TrainerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Pairs("multi-label", batch_size=8, mode="retrain", val_fraction=0.5)
    trainer = make_trainer(callbacks=[callback], enable_checkpointing=True)
    with pytest.raises(UsageError, match=message):
        check_monitors(trainer, retraining("multi-label", Steering()), data)


def own(directions: Any, **metrics: Any) -> Task:
    """A task with these directions and metrics."""

    class Own(Steering):
        def metrics(self, data_spec: Mapping[str, Any]) -> Any:
            return metrics.get("all", metrics)

    Own.directions = directions
    return Own()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (own({"a": "up"}, a=Angle()), "Own.directions: a must be max or min, found 'up'"),
        (own({"b": "max"}, a=Angle()), "has b, but there are the metrics a: name the main one"),
        (own({"a": "max"}, a=MeanAbsoluteError()), "a is max, but MeanAbsoluteError is better "
         "towards min: set it to min"),
        (own({}), "Own.metrics must return metrics of torchmetrics by name, found {}"),
        (own({}, all=MeanAbsoluteError()), "found MeanAbsoluteError"),
        (own({}, a=max), "found {'a': <built-in function max>}"),
        (own({}, loss=Angle()), "the name loss is that of the task's loss"),
    ],
)  # fmt: skip
def test_wrong_declarations_are_refused(task: Task, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Streams(task, SPEC, ["val"])
    assert "\n" not in str(caught.value)


def test_undeclared_metrics_have_their_own_direction_or_none() -> None:
    streams = Streams(own({}, b=MeanAbsoluteError(), c=BinaryRecall(), a=Angle()), SPEC, ["val"])
    assert streams.directions == {"a": None, "b": "min", "c": "max"}
    streams = Streams(own({"c": "max", "a": "min"}, b=MeanAbsoluteError(), c=BinaryRecall(),
                          a=Angle()), SPEC, ["val"])  # fmt: skip
    assert list(streams.directions.items()) == [("c", "max"), ("a", "min"), ("b", "min")]
    assert streams.main == "c"


def test_metrics_with_equal_counts_stay_apart() -> None:
    """Compute groups of torchmetrics would merge these two, and update only one of them."""
    streams = Streams(own({}, p=BinaryPrecision(), r=BinaryRecall()), SPEC, ["val"])
    metrics: Any = streams.metrics["val_metrics"]
    for _ in range(2):
        metrics.update(torch.tensor([0.9, 0.2]), torch.tensor([1, 1]))
    for metric in metrics.values():
        assert int(metric.tp) == 2
        assert int(metric.fn) == 2


def test_each_shipped_task_declares_all_its_metrics() -> None:
    """With the direction that torchmetrics gives them."""
    images = {**SPEC, "dims": 2, "image_size": 16, "peak": 1.0, "num_classes": 7}
    for task in (Classification(), LanguageModeling(), Reconstruction(),
                 *(make() for make in TASKS.values())):  # fmt: skip
        metrics: Any = task.metrics(images)
        assert set(task.directions) == set(metrics), task
        assert Streams(task, images, ["val"]).main == next(iter(task.directions))
