"""The contract of every strategy: it pickles, acts, announces unused weights and is rebuilt."""

import pickle
from pathlib import Path

import pytest
import torch

import nas_lightning.strategies
from nas_lightning.search import SearchModule, SearchStrategy
from tests.methods import CHANGES_NOTHING, CLASSES, build
from tests.recorded import recorded_kind, recorded_without, same

Kind = type[SearchStrategy]


@pytest.mark.parametrize("kind", CLASSES)
def test_it_pickles_and_says_what_it_is(kind: Kind) -> None:
    strategy = build(kind)[-1]
    again = pickle.loads(pickle.dumps(strategy))
    assert repr(again) == repr(strategy)
    assert eval(repr(strategy), vars(nas_lightning.strategies)).__dict__ == strategy.__dict__


@pytest.mark.parametrize("kind", list(CLASSES))
def test_it_changes_the_run(kind: Kind) -> None:
    without = recorded_without(repr(build(kind)[:-1]))
    with_it = recorded_kind(kind.__name__).trace
    assert same(without, with_it) == (kind.__name__ in CHANGES_NOTHING)


@pytest.mark.parametrize("kind", list(CLASSES))
def test_weights_without_a_gradient_are_announced(kind: Kind) -> None:
    """DDP waits for the gradients of all weights, unless the class says that some get none."""
    found = recorded_kind(kind.__name__)
    assert bool(found.without) == kind.leaves_parameters_unused


@pytest.mark.parametrize("kind", list(CLASSES))
def test_a_checkpoint_rebuilds_it(kind: Kind, tmp_path: Path) -> None:
    found = recorded_kind(kind.__name__)
    module = found.module
    found.trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = SearchModule.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert repr(again.strategies) == repr(module.strategies)
    assert again.genotype().cells == module.genotype().cells
    for name, value in module.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
