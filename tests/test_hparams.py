import json
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch.cli import instantiate_module
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import StepLR

from nas_lightning.hparams import describe, init_args, to_config
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.spaces import PUBLISHED, DartsNetwork, DartsSupernet
from nas_lightning.strategies import PartialChannels, WarmUp
from nas_lightning.tasks import Classification
from nas_lightning.training.schedules import CosineSchedule, LinearSchedule, Schedule, TorchSchedule

SPEC = {"in_channels": 3, "num_classes": 4, "image_size": 8}


def plain(module: torch.nn.Module) -> dict[str, Any]:
    """The recorded arguments after a way through JSON: nothing but plain data survives it."""
    content: dict[str, Any] = json.loads(json.dumps(dict(module.hparams)))  # type: ignore[arg-type]
    assert content.pop("_instantiator") == "lightning.pytorch.cli.instantiate_module"
    return content


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        ("x", "x"),
        ((1, [2, (3,)]), [1, [2, [3]]]),
        ({"a": (1,), 2: None}, {"a": [1], "2": None}),
        (SGD, "torch.optim.sgd.SGD"),
        (
            partial(Adam, lr=0.1, betas=(0.5, 0.999)),
            {
                "class_path": "torch.optim.adam.Adam",
                "init_args": {"lr": 0.1, "betas": [0.5, 0.999]},
            },
        ),
        (
            [CosineSchedule(0.1)],
            [
                {
                    "class_path": "nas_lightning.training.schedules.CosineSchedule",
                    "init_args": {"eta_min": 0.1, "warmup_epochs": 0, "from_start": False},
                }
            ],
        ),
    ],
)
def test_plain_data_of_an_argument(value: object, expected: object) -> None:
    assert to_config(value) == expected


@pytest.mark.parametrize(
    "schedule", [CosineSchedule(0.2, 3), LinearSchedule(warmup_epochs=1)], ids=repr
)
def test_description_is_the_constructor_call(schedule: Schedule) -> None:
    names = {"CosineSchedule": CosineSchedule, "LinearSchedule": LinearSchedule}
    again = eval(describe(schedule), names)
    assert type(again) is type(schedule)
    assert vars(again) == vars(schedule)


def test_arguments_of_an_object() -> None:
    assert init_args(LinearSchedule(7)) == {"tail_epochs": 7, "warmup_epochs": 0}
    assert init_args(PartialChannels(2)) == {"k": 2}


def test_a_retraining_is_rebuilt_from_what_it_recorded() -> None:
    module = RetrainModule(
        SPEC,
        "DARTS_V1",
        DartsNetwork(4, 2),
        task=Classification(0.2),
        optimizer=partial(SGD, lr=0.3, momentum=0.8),
        schedule=TorchSchedule(partial(StepLR, step_size=3)),
        auxiliary_weight=0.0,
        drop_path=0.1,
    )
    recorded = plain(module)
    again = instantiate_module(RetrainModule, recorded)
    assert isinstance(again, RetrainModule)
    assert again.genotype == PUBLISHED["DARTS_V1"]
    assert repr(again.task) == repr(module.task)
    assert again.drop_path == 0.1
    optimizer = again.optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimizer, SGD)
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.3, 0.8)
    scheduler = again.schedule.build(optimizer, 10)
    assert isinstance(scheduler, StepLR)
    assert scheduler.step_size == 3
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    assert {name: value.shape for name, value in again.state_dict().items()} == shapes


def test_defaults_are_recorded_too() -> None:
    module = RetrainModule(SPEC, "DARTS_V1", DartsNetwork(4, 2), auxiliary_weight=0.0)
    again = instantiate_module(RetrainModule, plain(module))
    optimizer = again.optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimizer, SGD)
    wanted = {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4}  # of DARTS
    assert {name: optimizer.defaults[name] for name in wanted} == wanted
    assert repr(again.schedule) == "CosineSchedule(eta_min=0.0, warmup_epochs=0, from_start=False)"
    assert again.drop_path == 0.2


def test_a_search_is_rebuilt_from_what_it_recorded() -> None:
    module = SearchModule(
        SPEC,
        DartsSupernet(channels=8, layers=3, nodes=2, primitives=("none", "skip_connect")),
        strategies=[PartialChannels(2), WarmUp(epochs=3)],
        weight_schedule=CosineSchedule(0.01),
        arch_gradient_clip=1.0,
    )
    again = instantiate_module(SearchModule, plain(module))
    assert isinstance(again, SearchModule)
    assert repr(again.strategies) == repr(module.strategies)
    assert repr(again.weight_schedule) == repr(CosineSchedule(0.01))
    assert again.arch_gradient_clip == 1.0
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    assert {name: value.shape for name, value in again.state_dict().items()} == shapes


def test_what_is_recorded_can_be_recorded_again() -> None:
    module = RetrainModule(SPEC, "DARTS_V1", DartsNetwork(4, 2), auxiliary_weight=0.0)
    first = plain(module)
    assert plain(instantiate_module(RetrainModule, first))["genotype"] == first["genotype"]
