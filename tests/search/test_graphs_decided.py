"""`Speed` replays some searches as graphs, and says why it does not replay the others."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from nas_lightning.callbacks import Speed, speed
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import DartsNetwork
from nas_lightning.strategies import CheckpointCells
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.methods import METHODS, fresh
from tests.search.test_graphs import REPLAYED, WHY_NOT, fit
from tests.search.test_recurrent_search import data as text
from tests.search.test_recurrent_search import search as recurrent_search
from tests.search.tracing import Traces


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> list[Traces]:
    """As if there were graphs on the CPU; what was captured."""
    captures: list[Traces] = []

    def capture() -> Traces:
        captures.append(Traces(torch.nn.Module()))
        return captures[-1]

    monkeypatch.setitem(speed.CAPTURES, "cpu", capture)
    return captures


@pytest.fixture
def said(recwarn: pytest.WarningsRecorder) -> Callable[[], list[str]]:
    """Return the warnings about graphs so far."""
    warnings.simplefilter("always")

    def messages() -> list[str]:
        found = [str(warning.message) for warning in recwarn]
        return [message for message in found if message.startswith("Speed: CUDA graphs are")]

    return messages


@pytest.mark.parametrize("method", METHODS)
def test_speed_replays_what_can_be_replayed_and_says_why_not(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory,
    on_the_cpu: list[Traces], said: Callable[[], list[str]],
) -> None:  # fmt: skip
    module, callback = make_search(fresh(method)), Speed(graphs=True)
    callback.setup(make_trainer(), module, "fit")
    if method in REPLAYED:
        assert (len(said()), len(on_the_cpu)) == (0, 1)
        assert module.graphs is not None
    else:
        (message,) = said()
        assert WHY_NOT[method] in message
        assert on_the_cpu == []
        assert module.graphs is None


@pytest.mark.long
@pytest.mark.parametrize("method", METHODS)
def test_speed_fits_with_graphs_or_as_without(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory,
    on_the_cpu: list[Traces], said: Callable[[], list[str]],
) -> None:  # fmt: skip
    def make() -> SearchModule:
        return make_search(fresh(method))

    found = fit(make(), make_trainer, Speed(graphs=True))
    if method in REPLAYED:
        assert (len(said()), len(on_the_cpu)) == (0, 1)
        assert on_the_cpu[0].operations["convolution"] > 0
    else:
        (message,) = said()
        assert WHY_NOT[method] in message
        assert on_the_cpu == []
        torch.testing.assert_close(found, fit(make(), make_trainer), rtol=0, atol=0)


@pytest.mark.usefixtures("on_the_cpu")
@pytest.mark.parametrize(
    ("strategies", "kwargs", "why"),
    [
        ([], {"drop_path": 0.2}, "drop path changes"),
        ([CheckpointCells()], {}, "CheckpointCells may change"),
    ],
)
def test_speed_leaves_out_what_a_graph_would_fix(
    strategies: Sequence[SearchStrategy], kwargs: dict[str, Any], why: str,
    make_search: SearchFactory, make_trainer: TrainerFactory, said: Callable[[], list[str]],
) -> None:  # fmt: skip
    fit(make_search(strategies, **kwargs), make_trainer, Speed(graphs=True))
    (message,) = said()
    assert why in message


@pytest.mark.usefixtures("on_the_cpu")
def test_hidden_states_are_not_replayed(
    make_trainer: TrainerFactory, said: Callable[[], list[str]]
) -> None:
    make_trainer(callbacks=[Speed(graphs=True)]).fit(recurrent_search(), datamodule=text())
    (message,) = said()
    assert "LanguageModeling may change" in message


def test_there_are_no_graphs_on_a_cpu_and_the_run_says_so(
    make_search: SearchFactory, make_trainer: TrainerFactory, said: Callable[[], list[str]]
) -> None:
    module = make_search([])
    fit(module, make_trainer, Speed(graphs=True))
    (message,) = said()
    assert "there are none on cpu" in message
    assert module.graphs is None


def test_what_cannot_be_asked_for(make_search: SearchFactory, make_trainer: TrainerFactory) -> None:
    with pytest.raises(UsageError, match="have their own graphs"):
        fit(make_search([]), make_trainer, Speed(graphs=True, compile=True))
    module = RetrainModule(SPEC, "DARTS_V2", DartsNetwork(4, 3), auxiliary_weight=0)
    with pytest.raises(UsageError, match="graphs are for searches"):
        make_trainer(callbacks=[Speed(graphs=True)]).fit(
            module, datamodule=Synthetic(in_channels=3, num_classes=4, image_size=8, mode="retrain")
        )
