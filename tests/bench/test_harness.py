"""Steps outside of Lightning's loop do what they do inside it."""

import dataclasses

import pytest
import torch
from torch import Tensor

from nas_lightning.bench import Options, measure
from nas_lightning.bench.case import Case, Group, Parts, Step
from nas_lightning.bench.harness import Harness, quiet
from nas_lightning.callbacks import speed
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import DartsNetwork
from nas_lightning.strategies import EdgeNormalization, PartialChannels, WarmUp
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.search.tracing import Traces

DATA = {"in_channels": 3, "num_classes": 4, "image_size": 8, "train_size": 64, "batch_size": 8}


@pytest.fixture
def search(make_search: SearchFactory) -> Case:
    def make() -> Parts:
        strategies: list[SearchStrategy] = [PartialChannels(4), EdgeNormalization()]
        return Parts(make_search(strategies), Synthetic(**DATA))

    return Case("a search", make, epochs=1)


@pytest.fixture
def retraining() -> Case:
    def make() -> Parts:
        torch.manual_seed(0)
        module = RetrainModule(SPEC, "DARTS_V2", DartsNetwork(4, 3), auxiliary_weight=0)
        return Parts(module, Synthetic(mode="retrain", **DATA))

    return Case("a retraining", make, epochs=1, trainer={"gradient_clip_val": 0.1})


def harness(case: Case) -> Harness:
    with quiet():
        return Harness(case, "cpu")


def values(module: torch.nn.Module) -> list[Tensor]:
    return [value.detach().clone() for value in module.parameters()]


def changed(module: torch.nn.Module, before: list[Tensor]) -> bool:
    pairs = zip(values(module), before, strict=True)
    return any(not torch.equal(now, then) for now, then in pairs)


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_a_step_equals_the_first_batch_of_a_fit(
    kind: Step, search: Case, retraining: Case, make_trainer: TrainerFactory
) -> None:
    case = search if kind == "search" else retraining
    module, data = case.make()
    start = values(module)
    settings = {"limit_train_batches": 1, "limit_val_batches": 0, **case.trainer}
    make_trainer(**settings).fit(module, datamodule=data)
    stepped = harness(case)
    stepped.step(kind)()
    assert changed(module, start)
    for name, value in module.named_parameters():
        torch.testing.assert_close(dict(stepped.module.named_parameters())[name], value)


def test_arch_and_weight_steps_are_the_two_parts(search: Case) -> None:
    found = harness(search)
    arch, supernet = found.module.arch, found.module.supernet
    assert isinstance(arch, torch.nn.Module)
    assert isinstance(supernet, torch.nn.Module)
    before = values(arch), values(supernet)
    found.step("arch")()
    assert changed(arch, before[0])
    assert not changed(supernet, before[1])
    before = values(arch), values(supernet)
    found.step("weight")()
    assert not changed(arch, before[0])
    assert changed(supernet, before[1])


def test_precision_is_the_trainers(search: Case) -> None:
    found = harness(dataclasses.replace(search, trainer={"precision": "bf16-mixed"}))
    kinds = []
    head = dict(found.module.named_modules())["supernet.head"]
    head.register_forward_hook(lambda module, args, out: kinds.append(out.dtype))
    found.step("search")()
    assert kinds == [torch.bfloat16] * 2


def test_epochs_with_architecture_steps(make_search: SearchFactory) -> None:
    def make() -> Parts:
        return Parts(make_search([WarmUp(3)]), Synthetic(**DATA))

    found = harness(Case("warm-up", make, epochs=10))
    assert found.arch_epochs() == 7
    assert found.module.current_epoch == 9  # as before: after the warm-up
    assert found.batches == 4  # 32 samples of a half
    assert found.images == 8


@pytest.mark.parametrize(("limit", "batches"), [(3, 3), (100, 4), (0.5, 2)])
def test_batches_as_the_trainer_limits_them(limit: float, batches: int, search: Case) -> None:
    case = dataclasses.replace(search, trainer={"limit_train_batches": limit})
    assert harness(case).batches == batches


def test_batches_of_a_preset_are_given(search: Case) -> None:
    assert harness(dataclasses.replace(search, batches=390)).batches == 390


def test_batches_start_again_after_the_last(retraining: Case) -> None:
    found = harness(retraining)
    sizes = {len(found.next_batch()[0]) for _ in range(20)}
    assert sizes == {8}


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_steps_of_the_other_kind_are_refused(kind: str, search: Case, retraining: Case) -> None:
    found = harness(search if kind == "search" else retraining)
    with pytest.raises(UsageError, match="it has no step"):
        found.step("retrain" if kind == "search" else "search")


def test_a_fit_is_timed(retraining: Case, search: Case) -> None:
    found = harness(retraining)
    before = values(found.module)
    with quiet():
        assert found.fit() > 0
        assert not changed(found.module, before)  # a run of its own
        few = dataclasses.replace(search, make=lambda: _few(search))
        with pytest.raises(UsageError, match="more than 2 training batches"):
            harness(few).fit()


@pytest.mark.long
def test_a_search_with_graphs_is_timed_after_its_capture(
    search: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = dataclasses.replace(search, graphs=True)
    assert harness(case).without_graphs == "there are none on cpu"
    assert harness(case).warm_up == 0
    monkeypatch.setitem(speed.CAPTURES, "cpu", lambda: Traces(torch.nn.Module()))
    found = harness(case)
    assert found.without_graphs is None
    module = found.module
    assert isinstance(module, SearchModule)
    assert module.graphs is not None
    step = found.step("search")
    for _ in range(found.warm_up):
        assert not module.graphs.replayed
        step()
    assert module.graphs.replayed == {"arch step": 1, "weight step": 1}
    with quiet(), pytest.raises(UsageError, match="more than 6 training batches"):
        found.fit()  # there are four
    found.close()
    assert module.graphs is None


def test_what_runs_without_graphs_is_said(search: Case) -> None:
    lines: list[str] = []
    case = dataclasses.replace(search, graphs=True)
    group = Group("a group", ("arch",), (case,))
    with quiet():  # as `nas bench` does
        measure([group], Options(repeat=1, warm_up=0, accelerator="cpu", say=lines.append))
    assert [line for line in lines if "without graphs" in line] == [
        "a group: a search without graphs: there are none on cpu"
    ]


def _few(case: Case) -> Parts:
    return Parts(case.make().module, Synthetic(**(DATA | {"train_size": 32})))
