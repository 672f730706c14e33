"""Dropout after skip connections: its schedule, its places, and both computations of a cell."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsSupernet, NasBench201Supernet
from nas_lightning.strategies import KeepOperations, PartialChannels, SkipDropout
from nas_lightning.strategies.skip_dropout import DroppedSkip, with_dropout
from nas_lightning.supernet import fast_cell, reference_cell
from nas_lightning.supernet.reference import MixedEdge
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.supernet.fast_cases import Case, assert_equal, case, choose, darts_cell

PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")


def test_the_schedule_of_the_released_code() -> None:
    """25 epochs, the first 10 of them with α frozen: two formulas that do not join."""
    found = [SkipDropout(0.7).rate_in(epoch, 25) for epoch in range(25)]
    assert found[:10] == pytest.approx([0.7 * (24 - e) / 25 for e in range(10)], rel=1e-15)
    assert found[10:] == pytest.approx([0.7 * math.exp(-0.2 * e) for e in range(15)], rel=1e-15)
    assert found[9] == pytest.approx(0.42)
    assert found[10] == 0.7
    assert found[24] / 0.7 == pytest.approx(0.0608, abs=5e-5)


def places(module: nn.Module) -> set[tuple[str, int, int]]:
    """Name, column and stride of the edges with dropout."""
    return {
        (name, column, edge.stride)
        for name, edge in module.named_modules()
        if isinstance(edge, MixedEdge)
        for column, op in enumerate(edge.ops)
        if isinstance(op, DroppedSkip)
    }


@pytest.mark.parametrize("k", [1, 2])
def test_it_is_after_skips_of_stride_1_only(k: int, make_search: SearchFactory) -> None:
    partial = [PartialChannels(k)] if k > 1 else []
    module = make_search([*partial, SkipDropout()])
    plain = make_search(partial)
    found = places(module)
    edges = [e for e in plain.supernet.modules() if isinstance(e, MixedEdge)]
    assert len(found) == sum(edge.stride == 1 for edge in edges)
    assert {(column, stride) for _, column, stride in found} == {(2, 1)}
    # two of the three cells are reductions, in which four of five edges leave the inputs
    assert len(found) == 5 + 1 + 1
    assert module.state_dict().keys() == plain.state_dict().keys()


def test_without_a_rate_the_supernet_is_as_it_was(make_search: SearchFactory) -> None:
    assert not places(make_search([SkipDropout(0.0)]))


def test_every_cell_of_nas_bench_201_has_it() -> None:
    supernet = NasBench201Supernet(channels=4, cells=1)
    module = SearchModule(SPEC, supernet, strategies=[SkipDropout()])
    assert len(places(module)) == 3 * 6


def test_a_supernet_without_skips_is_refused() -> None:
    supernet = DartsSupernet(4, 3, nodes=1, primitives=("none", "sep_conv_3x3"))
    with pytest.raises(UsageError, match="the supernet has none: remove it"):
        SearchModule(SPEC, supernet, strategies=[SkipDropout()])


def test_the_rate_is_set_at_the_start_of_each_epoch(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    strategy, seen = SkipDropout(0.5, frozen=2), []

    def note(trainer: object, module: SearchModule, *_: object) -> None:
        seen.append({part.p for part in module.modules() if isinstance(part, DroppedSkip)})

    strategy.on_train_batch_start = note  # type: ignore[method-assign, assignment] # of the test
    module = make_search([strategy])
    trainer = make_trainer(max_epochs=4, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    assert seen == [{0.375}, {0.25}, {0.5}, {0.5 * math.exp(-0.2)}]


def given(p: float, k: int = 1, reduction: bool = False) -> Case:
    found = case(darts_cell(2, PRIMITIVES), k=k, reduction=reduction)
    altered = with_dropout(found.edges)  # type: ignore[arg-type] # as good as a supernet
    for part in altered.modules():
        if isinstance(part, DroppedSkip):
            part.p = p
    return found


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize(("k", "reduction"), [(1, False), (1, True), (2, False), (2, True)])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_fast_cell_is_the_reference_cell(
    p: float, k: int, reduction: bool, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all values dropped, and with none."""
    choose(size, monkeypatch)
    assert_equal(given(p, k, reduction))


def test_with_every_value_dropped_only_skips_of_stride_1_are_gone() -> None:
    for reduction in (False, True):
        dropped = given(1.0, reduction=reduction)
        edges, ops = (
            copy.deepcopy(case(dropped.cell, reduction=reduction).edges),
            dropped.ops.clone(),
        )
        for row, edge in zip(ops, dropped.cell.edges, strict=True):
            if not (reduction and edge.source < 2):
                row[PRIMITIVES.index("skip_connect")] = 0
        without = reference_cell(dropped.cell, dropped.inputs, edges, ops, dropped.scales)
        found = reference_cell(
            dropped.cell, dropped.inputs, dropped.edges, dropped.ops, dropped.scales
        )
        torch.testing.assert_close(found, without)


@pytest.mark.parametrize("compute", [reference_cell, fast_cell])
def test_the_mean_is_the_cell_without_dropout(compute: Callable[..., Tensor]) -> None:
    """Of a node that all operations enter linearly: the first."""
    torch.manual_seed(0)
    dropped, plain = given(0.5), given(0.0)

    def first(one: Case) -> Tensor:
        return compute(one.cell, one.inputs, one.edges, one.ops, one.scales)[:, :8]

    with torch.no_grad():
        exact = first(plain)
        many = torch.stack([first(dropped) for _ in range(400)])
    assert float((many[0] - exact).abs().max()) > 0.1
    spread = many.std(0) / math.sqrt(len(many))
    assert float(((many.mean(0) - exact) / spread.clamp_min(1e-12)).abs().max()) < 6
    for part in dropped.edges.modules():
        part.eval()
    for part in plain.edges.modules():
        part.eval()
    torch.testing.assert_close(first(dropped), first(plain), rtol=0, atol=0)


def test_removed_skips_are_not_drawn(make_search: SearchFactory) -> None:
    """Operations that never run take no random numbers."""
    candidates: dict[str, dict[str, list[str]] | list[str]] = {
        "normal": ["sep_conv_3x3"],
        "reduce": ["sep_conv_3x3"],
    }
    module = make_search([SkipDropout(0.5), KeepOperations(candidates=candidates)])
    for part in module.modules():
        if isinstance(part, DroppedSkip):
            part.p = 0.5
    before = torch.get_rng_state()
    module(torch.randn(2, 3, 8, 8, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), before)
