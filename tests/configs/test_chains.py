"""The shipped chains: every search of each is built, with what the one before it would keep."""

from typing import Any

import pytest
import yaml

from nas_lightning.cli.study import read
from nas_lightning.runs.configs import shipped
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import KeepOperations, SkipCap, SkipDropout, WarmUp
from nas_lightning.studies.prepare import _checked_search


def searches(configs: str) -> list[SearchModule]:
    """Build the searches of a chain."""
    (method,) = read(["--config", configs, "--retrain", "cifar_retrain"]).study.methods
    return [cli.model for cli in _checked_search(method, ("--data.mode", "search"))[1]]


def of(kind: type[Any], module: SearchModule) -> Any:
    return next((part for part in module.strategies if isinstance(part, kind)), None)


def test_pdarts_is_that_of_the_released_code() -> None:
    found = searches("cifar_pdarts")
    layers = [m.factory.layers for m in found if isinstance(m.factory, DartsSupernet)]
    assert layers == [5, 11, 17]
    assert [of(SkipDropout, m).rate for m in found] == [0.1, 0.4, 0.7]
    for module in found:
        assert of(SkipDropout, module).frozen == of(WarmUp, module).epochs == 10
        assert (module.gradient_clip, module.arch_gradient_clip) == (5.0, 5.0)
        assert module.arch.alpha["normal"].shape == (14, 8)
    candidates = [
        {len(row) for rows in m.arch().active.values() for row in rows} or {8} for m in found
    ]
    assert candidates == [{8}, {5}, {3}]
    assert [of(SkipCap, m) for m in found[:2]] == [None, None]
    assert of(SkipCap, found[2]).most == 2
    config = yaml.safe_load(shipped()["cifar_pdarts.yaml"].read_text())
    assert config["data"]["init_args"]["batch_size"] == 96
    assert config["trainer"]["max_epochs"] == 25


@pytest.mark.parametrize(
    ("configs", "sizes"),
    [
        ("digits_pdarts", [6, 4, 2]),
        ("digits_idarts,methods/pdarts", [6, 4, 2]),
        ("nb201_small_darts,methods/pdarts", [5, 4, 2]),
    ],
)
def test_the_searches_have_fewer_and_fewer_operations(configs: str, sizes: list[int]) -> None:
    modules = searches(configs)
    found = [
        {len(row) for rows in m.arch().active.values() for row in rows} or {sizes[0]}
        for m in modules
    ]
    assert found == [{size} for size in sizes]
    keep = [of(KeepOperations, module) for module in modules]
    assert keep[0] is None
    assert [part.keep for part in keep[1:]] == sizes[1:]
