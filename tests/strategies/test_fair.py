"""Fair DARTS: sigmoid weights, the penalty, cells of any number of edges, and their retraining."""

import math
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.data import Synthetic
from nas_lightning.drawing.cells import save_drawing
from nas_lightning.errors import UsageError
from nas_lightning.search import one_hot
from nas_lightning.spaces import DARTS_PRIMITIVES, CellNetwork, DartsSpace, DartsSupernet
from nas_lightning.strategies import ExponentiatedGradient, FairDARTS
from nas_lightning.supernet import Mixing
from tests.conftest import SearchFactory, TrainerFactory

PRIMITIVES = DARTS_PRIMITIVES[1:]  # without `none`, as in the paper
SPACE = DartsSpace(4, PRIMITIVES)
Keep = Literal["sparse", "edge"]


def mixing_of(seed: int) -> Mixing:
    """Random sigmoid weights of both kinds, about a third of them above 0.85."""
    generator = torch.Generator().manual_seed(seed)
    ops = {kind: (4 * torch.randn(14, 7, generator=generator)).sigmoid() for kind in SPACE.kinds}
    return Mixing(ops, {kind: torch.ones(14) for kind in SPACE.kinds})


def mixing_with(*places: tuple[int, int, int, float]) -> Mixing:
    """Weights of 0.1, but those of the normal cell at (target, source, operation)."""
    normal = torch.full((14, 7), 0.1)
    for target, source, operation, weight in places:
        row = next(
            i
            for i, edge in enumerate(SPACE.cell("normal").edges)
            if (edge.source, edge.target) == (source, target)
        )
        normal[row, operation] = weight
    ops = {"normal": normal, "reduce": normal.clone()}
    return Mixing(ops, {kind: torch.ones(14) for kind in SPACE.kinds})


def by_the_paper(mixing: Mixing, keep: Keep, threshold: float) -> list[set[tuple[str, int]]]:
    """The rule written out on plain lists, for every node a set of (operation, source)."""
    nodes, row = [], 0
    for node in range(4):
        rows = [[float(w) for w in mixing.ops["normal"][row + s]] for s in range(node + 2)]
        row += node + 2
        sources = list(range(node + 2))
        if keep == "sparse":
            sources = sorted(sources, key=lambda s: max(rows[s]), reverse=True)[:2]
        kept = set()
        for source in sources:
            ranked = sorted(range(7), key=lambda m: rows[source][m], reverse=True)
            for m in ranked[: 1 if keep == "sparse" else 2]:
                if rows[source][m] >= threshold:
                    kept.add((PRIMITIVES[m], source))
        nodes.append(kept)
    return nodes


@given(st.integers(0, 2**31), st.sampled_from(["sparse", "edge"]), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_cells_are_read_off_by_the_rule_of_the_paper(
    seed: int, keep: Keep, threshold: float
) -> None:
    mixing = mixing_of(seed)
    genotype = FairDARTS(keep, threshold).above_threshold(SPACE, mixing)
    found = [{(i.primitive, i.source) for i in node} for node in genotype.cells["normal"].nodes]
    assert found == by_the_paper(mixing, keep, threshold)
    assert Genotype.from_dict(genotype.to_dict()) == genotype


def test_a_node_keeps_any_number_of_inputs_strongest_first() -> None:
    mixing = mixing_with((2, 0, 2, 0.9), (2, 0, 3, 0.95), (2, 1, 0, 0.84), (5, 4, 3, 0.86))
    sparse = FairDARTS("sparse").above_threshold(SPACE, mixing).cells["normal"].nodes
    assert sparse == ((NodeInput("sep_conv_3x3", 0),), (), (), (NodeInput("sep_conv_3x3", 4),))
    edge = FairDARTS("edge").above_threshold(SPACE, mixing).cells["normal"].nodes
    assert edge[0] == (NodeInput("sep_conv_3x3", 0), NodeInput("skip_connect", 0))
    assert edge[1:3] == ((), ())
    assert (
        len(FairDARTS("sparse", 0.83).above_threshold(SPACE, mixing).cells["normal"].nodes[0]) == 2
    )


def test_the_threshold_itself_is_kept() -> None:
    mixing = mixing_with((2, 0, 2, 0.875))  # exact in binary
    cells = FairDARTS(threshold=0.875).above_threshold(SPACE, mixing).cells
    assert len(cells["normal"].nodes[0]) == 1


def test_none_is_never_kept() -> None:
    space = DartsSpace(4)
    ops = {kind: torch.full((14, 8), 0.99) for kind in space.kinds}
    mixing = Mixing(ops, {kind: torch.ones(14) for kind in space.kinds})
    for keep in ("sparse", "edge"):
        for cell in FairDARTS(keep).above_threshold(space, mixing).cells.values():
            assert all(i.primitive != "none" for node in cell.nodes for i in node)


def test_weights_start_at_one_half(make_search: SearchFactory) -> None:
    mixing = make_search([FairDARTS()]).arch()
    for weights in mixing.ops.values():
        assert torch.equal(weights.detach(), torch.full((5, 4), 0.5))


def fast(params: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=0.3)


@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_the_penalty_and_its_gradient_in_closed_form(
    distance: Literal["l2", "l1"], make_search: SearchFactory
) -> None:
    module = make_search([FairDARTS(weight=3.0, distance=distance)])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for alpha in module.arch.alpha.values():
            alpha.copy_(torch.randn(5, 4, generator=generator))
    penalty = module.plan.penalty(module.arch)
    assert isinstance(penalty, Tensor)
    gradients = torch.autograd.grad(penalty, list(module.arch.alpha.values()))
    total = 0.0
    for alpha, gradient in zip(module.arch.alpha.values(), gradients, strict=True):
        for a, g in zip(alpha.flatten().tolist(), gradient.flatten().tolist(), strict=True):
            s = 1 / (1 + math.exp(-a))
            total += (s - 0.5) ** 2 if distance == "l2" else abs(s - 0.5)
            outer = 2 * (s - 0.5) if distance == "l2" else math.copysign(1, s - 0.5)
            assert g == pytest.approx(-3 * outer * s * (1 - s) / 40, abs=1e-6)
    assert float(penalty.detach()) == pytest.approx(-3 * total / 40, rel=1e-5)


def test_the_penalty_drives_weights_to_zero_and_one(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    def spread(weight: float) -> float:
        module = make_search([FairDARTS(weight=weight)], arch_optimizer=fast)
        make_trainer(max_epochs=3, limit_val_batches=0).fit(module, datamodule=search_data)
        with torch.no_grad():
            weights = torch.cat(list(module.arch().ops.values()))
        assert torch.all(weights[:, 0] == 0.5)  # `none`: neither the loss nor the penalty moves it
        return float((weights[:, 1:] - 0.5).abs().min())

    assert spread(100.0) > max(0.2, spread(0.0))


def variable() -> Genotype:
    """An empty node, two operations on one edge, a single input, three inputs."""
    nodes = (
        (NodeInput("sep_conv_3x3", 0), NodeInput("skip_connect", 0)),
        (),
        (NodeInput("max_pool_3x3", 3),),
        (NodeInput("skip_connect", 1), NodeInput("avg_pool_3x3", 2), NodeInput("skip_connect", 4)),
    )
    return Genotype(DartsSpace(), {kind: CellGenotype(nodes, (2, 3, 4, 5)) for kind in SPACE.kinds})


def empty() -> Genotype:
    return Genotype(
        DartsSpace(), {kind: CellGenotype(((),) * 4, (2, 3, 4, 5)) for kind in SPACE.kinds}
    )


def test_cells_of_any_arity_are_saved_drawn_and_trained(tmp_path: Path) -> None:
    genotype = variable()
    genotype.save(tmp_path / "genotype.json")
    assert Genotype.load(tmp_path / "genotype.json") == genotype
    save_drawing(genotype, tmp_path / "cells.svg")
    assert (tmp_path / "cells.svg").stat().st_size > 1000
    network = CellNetwork(genotype, 3, 5, 32, 4, 3, auxiliary=True)
    logits, auxiliary = network(torch.randn(2, 3, 32, 32))
    assert logits.shape == auxiliary.shape == (2, 5)
    torch.autograd.backward(logits.sum() + auxiliary.sum())
    for index, size in ((0, 32), (1, 16)):  # a normal cell and a reduction
        s0, s1 = torch.randn(2, 12, 32, 32), torch.randn(2, 12 if index == 0 else 16, 32, 32)
        out = network.cells[index](s0, s1)
        channels = out.shape[1] // 4
        assert out.shape[2:] == (size, size)
        assert not out[:, channels : 2 * channels].any()  # the empty node
        assert out[:, :channels].any()


def test_a_cell_without_any_edge_is_saved_but_not_built(tmp_path: Path) -> None:
    empty().save(tmp_path / "genotype.json")
    found = Genotype.load(tmp_path / "genotype.json")
    with pytest.raises(UsageError, match="the normal cell has no edges"):
        CellNetwork(found, 3, 5, 32, 4, 3)
    mixed = Genotype(DartsSpace(), {**variable().cells, "reduce": empty().cells["reduce"]})
    with pytest.raises(UsageError, match="the reduce cell has no edges"):
        CellNetwork(mixed, 3, 5, 32, 4, 3)


def test_one_hot_weights_of_such_cells_run_in_the_supernet() -> None:
    factory = DartsSupernet(channels=4, layers=3, primitives=PRIMITIVES)
    supernet = factory.build({"in_channels": 3, "num_classes": 5, "image_size": 8}, k=1)
    x = torch.randn(2, 3, 8, 8)
    weights = one_hot(factory.space, variable(), torch.device("cpu"))
    assert weights.ops["normal"][0].tolist() == [0, 0, 1, 1, 0, 0, 0]  # both on the one edge
    assert [float(w.sum()) for w in weights.edges.values()] == [5.0, 5.0]
    assert supernet(x, weights).isfinite().all()
    nothing = one_hot(factory.space, empty(), torch.device("cpu"))
    bias = supernet.get_parameter("head.bias").detach()
    assert torch.equal(supernet(x, nothing).detach(), bias.expand(2, 5))


def test_a_search_starts_with_empty_cells_and_is_tested_all_the_same(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module = make_search([FairDARTS()])
    trainer = make_trainer()
    trainer.fit(module, datamodule=search_data)
    assert not any(any(cell.nodes) for cell in module.genotype().cells.values())
    trainer.test(module, datamodule=search_data, verbose=False)
    assert float(trainer.callback_metrics["one_shot/test_loss"]) > 0


def test_two_relaxations_conflict(make_search: SearchFactory) -> None:
    with pytest.raises(UsageError, match="FairDARTS and ExponentiatedGradient both decide the op"):
        make_search([FairDARTS(), ExponentiatedGradient()])


@pytest.mark.parametrize("arguments", [{"threshold": 1.5}, {"threshold": -0.1}, {"weight": -1.0}])
def test_settings_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=rf"FairDARTS: {next(iter(arguments))} must be"):
        FairDARTS(**arguments)  # type: ignore[arg-type]
