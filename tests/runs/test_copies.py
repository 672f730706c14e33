"""Modules that the command builds can be copied, and configurations with any argument written."""

import copy
import pickle
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

from nas_lightning.runs.command import NASCLI
from nas_lightning.yaml_text import parse_mapping
from tests.cli.conftest import Nas

SGD = "{class_path: torch.optim.SGD, init_args: {lr: 0.1}}"
RETRAIN = "--config retrain --model.genotype genotype.json"


class Built(NASCLI):
    """Builds everything and runs nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


@pytest.mark.parametrize(
    "line",
    [f"--config search --model.weight_optimizer {SGD}", f"{RETRAIN} --model.optimizer {SGD}"],
)
def test_a_module_of_the_command_is_copied_and_pickled(line: str, work: Path) -> None:
    arguments = line.replace(": ", ":@").replace(", ", ",@").split()
    module = Built(["fit", *(item.replace("@", " ") for item in arguments)]).model
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        pairs = zip(module.parameters(), other.parameters(), strict=True)
        assert all(torch.equal(one, two) and one is not two for one, two in pairs)
        name = "weight_optimizer" if hasattr(module, "weight_optimizer") else "optimizer"
        optimizer = getattr(other, name)(other.parameters())
        assert isinstance(optimizer, torch.optim.SGD)
        assert optimizer.param_groups[0]["lr"] == 0.1


class Mood(Enum):
    """An enumeration."""

    GOOD = 1
    BAD = 2


MARK = object()


class Collector(Callback):
    """A callback with arguments that are no plain data."""

    seen: list[tuple[Any, ...]] = []  # noqa: RUF012 (of all objects)

    def __init__(
        self,
        mood: Mood = Mood.GOOD,
        text_or_mood: str | Mood = Mood.BAD,
        device: torch.device = torch.device("cpu"),  # noqa: B008 (on purpose)
        other: object = MARK,
        wait: timedelta = timedelta(minutes=5),
    ) -> None:
        self.seen.append((mood, device, other, wait))


@pytest.mark.filterwarnings(r"ignore:\s*Unable to serialize")
def test_callbacks_with_any_argument_are_written_and_read_back(nas: Nas, retrained: Path) -> None:
    line = f"fit {RETRAIN} --run_dir again --trainer.callbacks+=lightning.pytorch.callbacks.Timer"
    line += " --trainer.callbacks.duration=00:00:05:00"
    line += " --trainer.callbacks+=tests.runs.test_copies.Collector --trainer.callbacks.mood=BAD"
    result = nas(line)
    assert result.code == 0, result.err
    config = parse_mapping(Path("again/config.yaml").read_text(), "config.yaml")
    timer, collector = config["trainer"]["callbacks"]
    assert timer["init_args"]["duration"] == "00:00:05:00"
    assert collector["init_args"]["mood"] == "BAD"
    assert nas("test --config again/config.yaml").code == 0
    assert Collector.seen[-1] == Collector.seen[0]
    assert Collector.seen[0][0] is Mood.BAD


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["EMAWeightAveraging", "StochasticWeightAveraging"])
def test_averaging_works_in_a_retraining_and_is_refused_in_a_search(name: str, nas: Nas) -> None:
    more = f"--trainer.callbacks+={name}"
    if name.startswith("Stoch"):
        more += " --trainer.callbacks.swa_lrs=0.01"
    assert nas(f"fit {RETRAIN} --run_dir {name} {more}").code == 0
    assert nas(f"test --config {name}/config.yaml").code == 0
    refused = nas(f"fit --config search {more}")
    assert refused.code == 2
    assert f"nas: trainer.callbacks: {name} is for retraining" in refused.err


def test_processes_that_get_a_copy_of_the_run_are_refused(nas: Nas) -> None:
    result = nas(f"fit {RETRAIN} --trainer.strategy ddp_spawn --trainer.devices 2")
    assert result.code == 2
    assert "set trainer.strategy to ddp" in result.err
