"""Signals: wherever in an epoch one comes, the resumed run ends as the whole one does."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning import signals
from nas_lightning.callbacks import (
    GracefulStop,
    RunCheckpoint,
    RunInterruptedError,
    RunRequeuedError,
)
from nas_lightning.cli import main
from nas_lightning.signals import ALL
from nas_lightning.slurm.job import RequeueError, SlurmJob


class Send(Callback):
    """Sends a signal in a batch, or in the validation after an epoch, as often as told."""

    def __init__(self, epoch: int, batch: int | None, number: int = 2, times: int = 1) -> None:
        self.where, self.number, self.times = (epoch, batch), number, times

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._send(trainer, batch_idx)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._send(trainer, None)

    def _send(self, trainer: Trainer, batch: int | None) -> None:
        if (trainer.current_epoch, batch) == self.where:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@pytest.fixture
def sigint() -> Iterator[None]:
    """Lightning leaves Ctrl-C ignored."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def stop(trainer: Trainer, module: Any, data: Any) -> RunInterruptedError:
    """Run until the signal comes."""
    handlers = [signal.getsignal(number) for number in ALL]
    with pytest.raises(RunInterruptedError) as stopped:
        trainer.fit(module, datamodule=data)
    assert [signal.getsignal(number) for number in ALL] == handlers
    return stopped.value


@pytest.mark.parametrize(
    ("where", "number", "stops"),
    [
        ((0, 1), signal.SIGINT, "after epoch 1 of 2, batch 2"),
        ((1, 1), signal.SIGTERM, "after epoch 2 of 2, batch 2"),
        ((0, 3), signal.SIGUSR1, "after epoch 1 of 2"),  # the last batch: its end still comes
        ((0, None), signal.SIGHUP, "after epoch 1 of 2"),  # in the validation
    ],
)
def test_resumed_run_ends_as_the_whole_one(
    where: tuple[int, int | None],
    number: int,
    stops: str,
    make_search: Any,
    make_trainer: Any,
    search_data: Any,
    tmp_path: Path,
) -> None:
    whole = make_search()
    make_trainer(max_epochs=2).fit(whole, datamodule=search_data)

    path = tmp_path / "last.ckpt"
    callbacks = [Send(*where, number), GracefulStop(), RunCheckpoint(tmp_path, save_top_k=0)]
    trainer = make_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    stopped = stop(trainer, make_search(), search_data)
    assert str(stopped) == f"stopped {stops}: go on from {path}"
    assert stopped.exit_code == 128 + number
    names = {item.name for item in tmp_path.iterdir()}
    assert names <= {"last.ckpt", "previous.ckpt", "genotype.json"}

    resumed = make_search(seed=1)  # other weights until the checkpoint is loaded
    saving = RunCheckpoint(tmp_path, save_top_k=0)
    again = make_trainer(max_epochs=2, callbacks=[saving], enable_checkpointing=True)
    again.fit(resumed, datamodule=search_data, ckpt_path=path, weights_only=True)
    assert (again.current_epoch, again.global_step) == (2, 16)  # two optimizers, eight batches
    expected, found = whole.state_dict(), resumed.state_dict()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


class Count(Callback):
    """Counts the batches that ended, as callbacks do that accumulate something."""

    def __init__(self) -> None:
        self.batches = 0

    def on_train_batch_end(self, *_: object, **__: object) -> None:
        self.batches += 1

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches = state_dict["batches"]


def test_a_checkpoint_has_the_end_of_the_batch_of_all_callbacks(
    make_search: Any, make_trainer: Any, search_data: Any, tmp_path: Path
) -> None:
    """Also of those that come after the one that stops the run."""
    saving = RunCheckpoint(tmp_path, save_top_k=0)
    callbacks = [Send(0, 1), GracefulStop(), Count(), saving]
    trainer = make_trainer(max_epochs=1, callbacks=callbacks, enable_checkpointing=True)
    stop(trainer, make_search(), search_data)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    assert saved["Count"] == {"batches": 2}

    count, saving = Count(), RunCheckpoint(tmp_path, save_top_k=0)
    again = make_trainer(max_epochs=1, callbacks=[count, saving], enable_checkpointing=True)
    path = tmp_path / "last.ckpt"
    again.fit(make_search(), datamodule=search_data, ckpt_path=path, weights_only=True)
    assert count.batches == 4


@pytest.mark.parametrize("number", ALL)
def test_before_the_first_batch_it_stops_without_a_checkpoint(
    number: int, make_search: Any, make_trainer: Any, search_data: Any, tmp_path: Path
) -> None:
    saving = RunCheckpoint(tmp_path / "checkpoints", save_top_k=0)
    callbacks = [Send(0, 0, number), GracefulStop(), saving]
    trainer = make_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True)
    stopped = stop(trainer, make_search(), search_data)
    assert str(stopped) == f"stopped before the first batch: {signals.START_AGAIN}"
    assert stopped.exit_code == 128 + number
    assert trainer.global_step == 0
    assert not (tmp_path / "checkpoints").exists()


def test_in_the_sanity_check_a_command_stops_at_once(
    make_search: Any, make_trainer: Any, search_data: Any, tmp_path: Path
) -> None:
    class Check(Callback):
        def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError

    callbacks = [Check(), GracefulStop(), RunCheckpoint(tmp_path, save_top_k=0)]
    trainer = make_trainer(callbacks=callbacks, enable_checkpointing=True)
    with signals.received(signals.Inbox()), pytest.raises(signals.Stopped):
        trainer.fit(make_search(), datamodule=search_data)


class Group:
    """The strategy of two processes, whose messages all come from the first one."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message

    def broadcast(self, message: str | None) -> str | None:
        self.message = self.message or message
        return self.message


@pytest.mark.parametrize("first", [True, False])
def test_no_process_waits_for_one_that_could_not_requeue(
    first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(job: SlurmJob) -> None:
        raise RequeueError("refused")

    monkeypatch.setattr("nas_lightning.callbacks.graceful_stop.requeue", refuse)
    group = Group(None if first else "refused")
    trainer: Any = SimpleNamespace(strategy=group, is_global_zero=first)
    with pytest.raises(RequeueError, match="refused"):
        GracefulStop()._requeue(trainer, SlurmJob("12", batch=True), "here")
    assert group.message == "refused"


@pytest.mark.parametrize("batch", [True, False])
def test_a_job_of_slurm_is_put_back_into_the_queue_after_its_checkpoint(
    batch: bool,
    make_search: Any,
    make_trainer: Any,
    search_data: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requeued: list[tuple[str, bool]] = []

    def requeue(job: SlurmJob) -> None:
        requeued.append((job.id, (tmp_path / "last.ckpt").exists()))

    monkeypatch.setattr("nas_lightning.callbacks.graceful_stop.requeue", requeue)
    stopping = GracefulStop(SlurmJob("12_3", batch=batch))
    callbacks = [Send(0, 1, signal.SIGUSR1), stopping, RunCheckpoint(tmp_path, save_top_k=0)]
    trainer = make_trainer(callbacks=callbacks, enable_checkpointing=True)
    stopped = stop(trainer, make_search(), search_data)
    if batch:
        assert requeued == [("12_3", True)]
        assert isinstance(stopped, RunRequeuedError)
        assert "job 12_3 is in the queue again" in str(stopped)
    else:  # from `salloc` or `srun` alone: nothing that could start again
        assert requeued == []
        assert "go on from" in str(stopped)


def test_a_signal_in_the_very_last_batch_lets_the_run_end(
    make_search: Any, make_trainer: Any, search_data: Any, tmp_path: Path
) -> None:
    callbacks = [Send(0, 3), GracefulStop(), RunCheckpoint(tmp_path, save_top_k=0)]
    trainer = make_trainer(callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(make_search(), datamodule=search_data)
    assert trainer.current_epoch == 1


@pytest.mark.usefixtures("sigint")
def test_second_ctrl_c_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = (
        "fit --data Synthetic --data.mode retrain --data.batch_size 8 --model RetrainModule "
        "--model.genotype DARTS_V2 --model.network DartsNetwork --model.network.layers 3 "
        "--model.network.channels 4 --model.auxiliary_weight 0 "
        "--trainer.accelerator cpu --trainer.max_epochs 1 --trainer.enable_model_summary false"
    )
    callback = "class_path: tests.callbacks.test_graceful_stop.Send"
    arguments = "init_args: {epoch: 0, batch: 1, times: 2}"
    code = main([*line.split(), "--trainer.callbacks", f"{{{callback}, {arguments}}}"])
    err = capsys.readouterr().err
    assert code == 130
    assert "nas: interrupted" in err
    assert "Traceback" not in err
    assert not Path("runs/default/checkpoints/last.ckpt").exists()
