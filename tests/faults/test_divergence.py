"""Numbers that are not finite: the run stops before the step, and nothing is lost."""

import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.conftest import Nas
from tests.faults.inject import Inject, different, hashes
from tests.methods import rest_long

SEARCH = "fit --config search --data.train_size 64 --trainer.max_epochs 3"  # 4 batches an epoch
RETRAIN = "fit --config retrain --model.genotype genotype.json --trainer.max_epochs 3"  # 3
WHOLE: dict[str, dict[str, Any]] = {}


def inject(where: str, **kwargs: Any) -> list[str]:
    """Arguments that list the callback, and only it."""
    options = {"where": where, **kwargs}
    settings = [f"--trainer.callbacks.{name}={value}" for name, value in options.items()]
    return ["--trainer.callbacks+=tests.faults.inject.Inject", *settings]


def saved(run_dir: str) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(f"{run_dir}/checkpoints/last.ckpt", weights_only=True)
    return content


# stage, where the number is broken, its value → the step that is named
FAULTS = [
    ("search", "train", "nan", "weight step"),
    ("search", "val", "inf", "arch step"),
    ("search", "arch.alpha.", "nan", "arch step"),
    ("search", "arch.beta.", "inf", "arch step"),
    ("search", "supernet.", "nan", "weight step"),
    ("retrain", "batch", "nan", "training step"),
    ("retrain", "network.", "-inf", "training step"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "where", "value", "step"), FAULTS)
def test_it_stops_before_the_step_and_goes_on_to_the_same_end(
    nas: Nas, stage: str, where: str, value: str, step: str
) -> None:
    line = {"search": SEARCH, "retrain": RETRAIN}[stage]
    whole = undisturbed(nas, stage, line)
    place = random.Random(repr((stage, where, value)))
    batch = place.randrange(4 if stage == "search" else 3)
    if where.endswith("."):
        where = place.choice([n for n in parameters(whole) if n.startswith(where)])
    broken = nas(line, *inject(where, epoch=1, batch=batch, value=value, entry=place.randrange(9)))

    assert broken.code == 1
    (message,) = [text for text in broken.err.splitlines() if "nas:" in text]
    assert message.startswith(f"nas: epoch 2, batch {batch + 1} (step ")
    assert f"loss of the {step} " in message
    if where in ("train", "val", "batch"):
        assert f"{step} nan, gradient not finite in " in message
    else:
        kind = "nan" if value == "nan" else "inf"
        assert f"gradient not finite in {where} (1 {kind} of " in message
    path = f"runs/{stage}/checkpoints/last.ckpt"
    if where in ("train", "val", "batch"):
        named = "batch[0]" if where == "batch" else f"batch.{where}[0]"
        assert f"the data is not finite, {named} has 1 {value} of " in message
        assert message.endswith(
            "no learning rate helps against this: find and mend these values in the data"
        )
        assert "lower learning rate" not in message
    else:
        assert f"--ckpt_path {path} --trainer.callbacks+=RollBackOnNaN" in message
    assert "learning rate 0.0" in message
    assert "Traceback" not in broken.err

    # α may have taken its step before the weights' step broke
    moved = different(Inject.state, Inject.after)
    assert all(step == "weight step" and name.startswith("arch.") for name in moved), moved
    assert hashes(Path(f"runs/{stage}")) == Inject.files
    assert {"last.ckpt"} <= set(Inject.files)

    resumed = nas(f"{line} --ckpt_path last")
    assert resumed.code == 0, resumed.err
    end = saved(f"runs/{stage}")
    assert end["global_step"] == whole["global_step"]
    assert different(end["state_dict"], whole["state_dict"]) == []


def undisturbed(nas: Nas, stage: str, line: str) -> dict[str, Any]:
    """The last checkpoint of a run that nothing happens to; made once."""
    if stage not in WHOLE:
        result = nas(f"{line} --run_dir runs/whole")
        assert result.code == 0, result.err
        WHOLE[stage] = saved("runs/whole")
    return WHOLE[stage]


def parameters(checkpoint: dict[str, Any]) -> list[str]:
    """Names of those that a run trains."""
    skip = ("running_mean", "running_var", "num_batches_tracked")
    names = [n for n in checkpoint["state_dict"] if n.rpartition(".")[2] not in skip]
    assert len(names) == sum(len(o["state"]) for o in checkpoint["optimizer_states"])
    return names


def test_without_a_checkpoint_the_message_says_so(nas: Nas) -> None:
    result = nas(SEARCH, *inject("train", epoch=0, batch=1))
    assert result.code == 1
    assert "the data is not finite, batch.train[0] has 1 nan" in result.err
    assert "no learning rate helps against this" in result.err
    assert "ckpt_path" not in result.err
    assert Path("runs/search/config.failed.yaml").is_file()  # the directory is free again


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", rest_long(["train", "val", "arch.alpha.normal"], keep=["arch.alpha.normal"])
)
def test_a_search_rolls_back_and_goes_on_at_half_the_rate(nas: Nas, where: str) -> None:
    roll = "--trainer.callbacks+=RollBackOnNaN"
    first = nas(SEARCH.replace("epochs 3", "epochs 1"))
    assert first.code == 0, first.err
    start = saved("runs/search")
    line = f"{SEARCH} --ckpt_path last"
    result = nas(line, roll, *inject(where, epoch=1, batch=2))
    assert result.code == 0, result.err
    # batches of epoch 1, the third of which is broken, then those of epoch 2
    rates = list(Inject.rates)
    assert len(rates) == 8
    assert rates[:3] == [rates[0]] * 3
    assert rates[3] == pytest.approx(rates[0] / 2)
    kept = {n: v for n, v in Inject.after.items() if n in start["state_dict"]}
    assert different(kept, {n: start["state_dict"][n] for n in kept}) == []
    state = start["optimizer_states"][0]["state"][0]["momentum_buffer"]
    assert torch.equal(
        Inject.after[f"{next(iter(Inject.after))}, momentum_buffer of optimizer 0"], state
    )
    said = next(text for text in result.out.splitlines() if "back to" in text)
    assert said.startswith("epoch 2, batch 3 (step ")
    assert "rolled back to runs/search/checkpoints/last.ckpt, learning rate now " in said
    assert said.endswith("(roll-back 1 of 10)")
    end = saved("runs/search")
    assert all(bool(v.isfinite().all()) for v in end["state_dict"].values())
    # afterwards: the lower rate survives a resume
    later = nas(
        SEARCH.replace("epochs 3", "epochs 4"), "--ckpt_path=last", roll, *inject("train", epoch=9)
    )
    assert later.code == 0, later.err
    cosine = 0.001 + (0.025 - 0.001) * (1 + math.cos(math.pi * 3 / 4)) / 2  # of four epochs
    assert Inject.rates == pytest.approx([cosine / 2] * 4)
    assert end["optimizer_states"][0]["param_groups"][0]["initial_lr"] == pytest.approx(0.0125)
    assert end["lr_schedulers"][0]["base_lrs"] == [pytest.approx(0.0125)]


@pytest.mark.parametrize(
    ("line", "where"), [(SEARCH, "val"), (RETRAIN, "batch")], ids=["search", "retrain"]
)
def test_patience_ends_and_no_broken_step_was_taken(nas: Nas, line: str, where: str) -> None:
    roll = ["--trainer.callbacks+=RollBackOnNaN", "--trainer.callbacks.patience=0"]
    result = nas(line, *roll, *inject(where, epoch=1, batch=0))
    assert result.code == 1
    assert "after 0 roll-backs" in result.err
    assert "the data is not finite" in result.err
    assert "no learning rate helps against this" in result.err
    assert different(Inject.state, Inject.after) == []


@pytest.mark.ddp
@pytest.mark.long
def test_two_processes_both_stop_and_one_speaks(work: Path) -> None:
    more = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=4"]
    line = [*SEARCH.split(), *more, *inject("train", epoch=1, batch=1, rank=1)]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-m", "nas_lightning", *line],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (message,) = [text for text in done.stderr.splitlines() if text.startswith("nas: ")]
    assert message.startswith("nas: epoch 2, batch 2 (step ")
    assert "loss of the weight step nan, gradient not finite in supernet." in message
    assert "Traceback" not in done.stderr
    end = saved("runs/search")
    assert end["epoch"] == 0
    assert all(math.isfinite(float(v.sum())) for v in end["state_dict"].values())
