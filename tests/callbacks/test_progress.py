"""The progress bar: its lines at several widths, and the lines of finished epochs."""

import io
import re
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import rich
import torch
from lightning import Callback
from rich.console import Console

from nas_lightning.callbacks import progress
from nas_lightning.callbacks.progress import REFRESH, Pace, RunProgressBar, in_words
from nas_lightning.display import Bar, clock, that_fit
from tests.conftest import SearchFactory, TrainerFactory

LEFT = ["epoch 3/50  batch 117/390", "epoch 3/50  117/390", "3/50 117/390"]
RIGHT = ["0:32 left, run 1:12:40 left", "0:32, run 1:12:40", "1:12:40"]
VALUES = ["train_loss 1.234", "val_loss 1.402", "val_accuracy 0.5123", "arch_loss 1.301"]
VALUES += ["train_accuracy 0.4", "skips_normal 2"]


@pytest.fixture(autouse=True)
def _console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give back rich's console of the process, which Lightning's bar replaces."""
    console = rich.get_console()
    monkeypatch.setattr(console, "__dict__", dict(vars(console)))


def drawn(bar: Bar, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(bar)
    return captured.get().splitlines()


@pytest.mark.parametrize(
    ("width", "first", "last", "shown"),
    [
        (120, LEFT[0], RIGHT[0], 6),
        (80, LEFT[0], RIGHT[0], 4),
        (60, LEFT[0], RIGHT[1], 3),
        (40, LEFT[1], RIGHT[2], 2),
        (24, LEFT[2], RIGHT[2], 1),
    ],
)
def test_the_lines_fit(width: int, first: str, last: str, shown: int) -> None:
    top, below = drawn(Bar(LEFT, RIGHT, 117, 390, VALUES), width)
    assert top.startswith(first)
    assert top.rstrip().endswith(last)
    assert below.split("  ")[1:] == VALUES[:shown]
    assert max(len(top), len(below)) <= width


def test_the_bar_is_as_long_as_its_share() -> None:
    # 80 columns - 25 and 27 of the texts - 2 gaps of 2: 24 for the whole bar
    for done, full in ((0, 0), (195, 12), (390, 24)):
        top, _ = drawn(Bar(LEFT, RIGHT, done, 390, VALUES), 80)
        assert top.count("━") == full
    (top,) = drawn(Bar(["epoch 3  batch 117"], [""], 117, None), 80)  # of unknown length
    assert top.startswith("epoch 3  batch 117")


def test_what_fits() -> None:
    assert that_fit(["abc", "de", "f"], 7) == "abc  de"
    assert that_fit(["abc", "de", "f"], 6) == "abc"
    assert that_fit(["abc"], 1) == "abc"
    assert that_fit([], 5) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7, "0:07"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03"), (176523, "2 d 1:02:03")],
)
def test_times(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_losses_come_first_and_skips_last() -> None:
    metrics = {
        "search/skips_normal": torch.tensor(2.0),
        "search/arch_loss_step": torch.tensor(1.3),
        "search/edges": 0.5,
        "search/train_accuracy": 0.4,
        "search/val_accuracy": 0.51234,
        "search/train_loss_epoch": 1.2,
        "search/val_loss": 1.4,
    }
    assert in_words(metrics, ["accuracy"]) == [
        "train_loss 1.2", "val_loss 1.4", "val_accuracy 0.5123", "arch_loss 1.3",
        "train_accuracy 0.4", "edges 0.5", "skips_normal 2",
    ]  # fmt: skip


def test_metrics_of_the_task_come_before_others() -> None:
    """Whatever they are called."""
    metrics = {"search/other": 1.0, "search/val_dice": 0.5, "search/train_dice": 0.25}
    assert in_words(metrics, ["dice"]) == ["val_dice 0.5", "train_dice 0.25", "other 1"]
    assert in_words(metrics) == ["other 1", "train_dice 0.25", "val_dice 0.5"]


def test_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("nas_lightning.callbacks.progress.time.monotonic", lambda: now[0])
    pace = Pace()
    pace.begin(4)  # resumed after four batches of ten
    assert pace.left(10, 2) == (None, None)
    now[0], pace.done = 6.0, 7
    assert pace.left(10, 2) == (6.0, 46.0)  # 2 s a batch, and two epochs of ten batches
    assert pace.left(10, None) == (6.0, None)
    assert pace.left(None, 2) == (None, None)
    now[0], pace.done = 12.0, 10
    pace.begin(0)
    now[0], pace.done = 16.0, 2
    assert pace.left(10, 1) == (16.0, 36.0)  # the first epoch was not whole
    now[0], pace.done = 37.0, 10  # 25 s with its validation
    pace.begin(0)
    now[0], pace.done = 40.0, 1
    assert pace.left(10, 1) == (27.0, 52.0)


class Stamp(Callback):
    """Prints in the middle of each epoch."""

    def on_train_batch_end(self, *args: Any) -> None:
        if args[-1] == 1:
            print("a word from elsewhere")


def fit(
    make_search: SearchFactory, make_trainer: TrainerFactory, data: Any, bar: RunProgressBar
) -> None:
    """Three epochs of four batches, of which the second is validated."""
    trainer = make_trainer(
        max_epochs=3,
        enable_progress_bar=True,
        check_val_every_n_epoch=2,
        num_sanity_val_steps=0,
        callbacks=[bar, Stamp()],
    )
    trainer.fit(make_search(), datamodule=data)


def check(lines: list[str]) -> None:
    epochs = [line for line in lines if line.startswith("epoch")]
    assert [line.split()[1] for line in epochs] == ["1/3", "2/3", "3/3"]
    assert ["val_loss" in line for line in epochs] == [False, True, False]
    assert ["val_accuracy" in line for line in epochs] == [False, True, False]
    for line in epochs:
        assert re.match(r"epoch ./3  \d+\.\d s  train_loss \d", line)


def test_one_line_per_epoch_in_a_log_file(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fit(make_search, make_trainer, search_data, RunProgressBar())
    lines = capsys.readouterr().out.splitlines()
    check(lines)
    assert lines.count("a word from elsewhere") == 3
    assert len(lines) == 6
    assert "arch_loss" in lines[-1]  # a file has room for all


def test_finished_epochs_stay_above_the_bar_in_a_terminal(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    bar = RunProgressBar()
    bar._console_kwargs = {"file": screen, "force_terminal": True, "width": 80}
    fit(make_search, make_trainer, search_data, bar)
    # without the codes that move the cursor
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    lines = [line.rstrip() for line in re.split("[\r\n]+", text)]
    check([line for line in lines if re.match(r"epoch ./3  \d+\.", line)])
    assert lines.count("a word from elsewhere") == 3
    assert [line for line in lines if re.match(r"epoch 3/3  batch ./4  ━+", line)]
    assert not [line for line in lines if "epoch 0" in line.lower()]
    # the echo of Ctrl-C has room after the bar: a line that wraps leaves its remains on the screen
    below = [
        line for line in re.split("[\r\n]+", text) if re.match(r"epoch ./3  batch|  train", line)
    ]
    assert len(below) > 4
    assert max(map(len, below)) <= 77
    assert "batch" not in lines[-1]  # the bar is gone at the end


def test_losses_on_a_device_are_read_every_tenth_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    read: list[int] = []

    class Trainer:
        progress_bar_metrics: ClassVar[dict[str, float]] = {}
        strategy = SimpleNamespace(root_device=torch.device("cuda", 0))

        @property
        def callback_metrics(self) -> dict[str, float]:
            read.append(bar.pace.done)
            return {}

    bar = RunProgressBar()
    for now in range(35):
        monkeypatch.setattr(
            "nas_lightning.callbacks.progress.time.monotonic", lambda now=now: 10.0 * now
        )
        bar.pace.done = now + 1
        bar._update_metrics(Trainer(), SimpleNamespace())  # type: ignore[arg-type] # stand-ins
    assert read == [REFRESH, 2 * REFRESH, 3 * REFRESH]
