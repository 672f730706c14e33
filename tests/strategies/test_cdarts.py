"""CDARTS: its losses and schedule in closed form, its evaluation network, and its refusals."""

import copy
import itertools
import math
from typing import Any, cast

import pytest
import torch
from torch import nn

from nas_lightning.architecture import random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.layers.drop_path import DropPath
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.search.replayable import forbids_graphs
from nas_lightning.spaces import DartsSupernet, NasBench201Supernet
from nas_lightning.spaces.darts.network import CellNetwork
from nas_lightning.spaces.darts.supernet import CellSupernet
from nas_lightning.strategies import (
    A2M,
    CDARTS,
    GDAS,
    AmendedGradient,
    AuxiliarySkip,
    BinaryGates,
    EdgeNormalization,
    FairDARTS,
    RobustDARTS,
    SingleLevel,
    Unrolled,
)
from nas_lightning.strategies.cdarts.cycles import Cycles
from nas_lightning.strategies.cdarts.distillation import distance, joined
from nas_lightning.strategies.cdarts.evaluation import (
    DistillationHead,
    EvaluationNetwork,
    evaluation_network,
)
from nas_lightning.supernet import reference_cell
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.reference import reference_preprocess
from tests.conftest import PRIMITIVES, SPEC, SearchFactory

ONE = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.1, 4.0]], dtype=torch.float64)
TWO = torch.tensor([[0.5, 0.5, -1.0], [0.2, 3.0, 3.5]], dtype=torch.float64)


def small(**changes: Any) -> CDARTS:
    """CDARTS with an evaluation network of four cells, without pretraining and warm-up."""
    settings = {"layers": 4, "pretrain_epochs": 0, "warmup_epochs": 0, "learn_heads": True}
    return CDARTS(**{**settings, **changes})


def network_of(module: SearchModule, seed: int = 0) -> EvaluationNetwork:
    """The evaluation network of a search, with cells drawn at random."""
    network = evaluation_network(module.networks)
    network.begin(0, random_genotype(module.space, seed=seed))
    return network


# -- losses and schedule ---------------------------------------------------------------------------


def test_the_divergence_is_a_mean_over_samples_and_classes_as_in_torch() -> None:
    temperature, found = 2.0, 0.0
    for one, two in zip(ONE.tolist(), TWO.tolist(), strict=True):
        p = [math.exp(x / temperature) for x in two]
        q = [math.exp(x / temperature) for x in one]
        for a, b in zip(p, q, strict=True):
            a, b = a / sum(p), b / sum(q)
            found += a * math.log(a / b) / 6
    assert float(distance("kl", ONE, TWO, temperature)) == pytest.approx(found, rel=1e-12)
    with pytest.warns(UserWarning, match="reduction"):
        torchs = nn.KLDivLoss()((ONE / 2).log_softmax(1), (TWO / 2).softmax(1))
    torch.testing.assert_close(distance("kl", ONE, TWO, temperature), torchs)


def test_the_other_distances_in_closed_form_and_as_in_torch() -> None:
    pairs = list(zip(ONE.flatten().tolist(), TWO.flatten().tolist(), strict=True))
    squares = sum((a - b) ** 2 for a, b in pairs) / 6
    assert float(distance("mse", ONE, TWO, 2)) == pytest.approx(squares)
    smooth = sum(
        (a - b) ** 2 / 2 if abs(a - b) < 1 else abs(a - b) - 0.5 for a, b in pairs
    ) / 6  # fmt: skip
    assert float(distance("smooth_l1", ONE, TWO, 2)) == pytest.approx(smooth)
    cosines = [
        sum(a * b for a, b in zip(one, two, strict=True)) / (math.hypot(*one) * math.hypot(*two))
        for one, two in zip(ONE.tolist(), TWO.tolist(), strict=True)
    ]
    assert float(distance("cosine", ONE, TWO, 2)) == pytest.approx(1 - sum(cosines) / 2)
    torch.testing.assert_close(distance("mse", ONE, TWO, 2), nn.MSELoss()(ONE, TWO))
    torch.testing.assert_close(distance("smooth_l1", ONE, TWO, 2), nn.SmoothL1Loss()(ONE, TWO))
    torchs = 1 - nn.CosineSimilarity(dim=1, eps=1e-6)(ONE, TWO).mean()
    torch.testing.assert_close(distance("cosine", ONE, TWO, 2), torchs)


def test_logits_are_weighted_by_the_softmax_of_the_shares() -> None:
    shares = torch.tensor([0.2, -0.1, 0.3], dtype=torch.float64)
    logits = [ONE, TWO, ONE * TWO]
    total = sum(map(math.exp, shares.tolist()))
    weighted = [math.exp(s) / total * part for s, part in zip(shares, logits, strict=True)]
    torch.testing.assert_close(joined(logits, shares, "sum"), sum(weighted))
    torch.testing.assert_close(joined(logits, shares, "stack"), torch.cat(weighted))


def test_the_cycles_of_a_search() -> None:
    cycles = Cycles(pretraining=2, warmup=1, joint=2)
    phases = ["pretraining"] * 2 + ["warm-up", "joint", "joint"] * 2 + ["warm-up"]
    assert [cycles.phase(epoch) for epoch in range(9)] == phases
    assert [cycles.cycle(epoch) for epoch in range(9)] == [-1, -1, 0, 0, 0, 1, 1, 1, 2]
    assert [cycles.joint_epochs(epoch) for epoch in range(9)] == [0, 0, 0, 0, 1, 2, 2, 3, 4]
    # 1 in the warm-up, then a cosine of two epochs that ends at 0.2
    expected = [1.0, 1.0, 1.0, 1.0, 0.6, 1.0, 1.0, 0.6, 1.0]
    assert [cycles.rate(epoch, 0.2) for epoch in range(9)] == pytest.approx(expected)
    # four joint epochs, so zero from the second on
    decays = [1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0]
    assert [cycles.decay(epoch, 8, 0.5) for epoch in range(9)] == pytest.approx(decays)


def test_the_released_schedule_has_thirty_cycles_in_62_epochs() -> None:
    cycles = Cycles(2, 1, 1)
    assert cycles.cycle(61) == 29
    assert cycles.joint_epochs(62) == 30
    # max(0, 5 (1 - i / (30 · 0.667))) in the joint epoch of cycle i
    found = [5 * cycles.decay(3 + 2 * i, 62, 0.667) for i in range(30)]
    assert found == pytest.approx([max(0.0, 5 * (1 - i / (30 * 0.667))) for i in range(30)])
    assert found[20] > 0 == found[21]


def test_the_regulariser_counts_pools_and_skips_three_times(make_search: SearchFactory) -> None:
    strategy = small(coefficient=2.0)
    module = make_search([strategy])
    by_hand = sum(
        abs(row[column])
        for alpha in module.arch.alpha.values()
        for row in alpha.tolist()
        for column in (PRIMITIVES.index("max_pool_3x3"), PRIMITIVES.index("skip_connect"))
    )
    strategy._c = 2.0 * strategy.cycles.decay(1, 4, 0.5)
    assert float(strategy.regulariser(module.arch).detach()) == pytest.approx(3 * 1.0 * by_hand)


# -- the evaluation network ------------------------------------------------------------------------


def parts(edge_or_path: nn.Module) -> list[nn.Module]:
    """The layers with weights of an operation, in order."""
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    return [layer for layer in edge_or_path.modules() if isinstance(layer, kinds)]


def test_it_is_the_network_of_its_genotype(make_search: SearchFactory) -> None:
    """With its weights, the retraining's network has the same logits in training."""
    module = make_search([small(layers=6)])
    network = network_of(module)
    genotype = random_genotype(module.space, seed=0)
    other = CellNetwork(genotype, 3, 4, 8, channels=8, layers=6)
    other.stem.load_state_dict(module.supernet.stem.state_dict(), strict=False)  # type: ignore[union-attr]
    other.head.load_state_dict(network.stack.head.state_dict())
    cells: list[Any] = list(network.stack.cells)
    for theirs, cell, kind in zip(list(other.cells), cells, network.stack.kinds, strict=True):
        plain: Any = theirs
        pairs = list(zip(plain.preprocess, cell.preprocess, strict=True))
        for node, target in zip(genotype.cells[kind].nodes, cell.cell.nodes, strict=True):
            for place, kept in enumerate(node):
                sources = {cell.cell.edges[i].source: i for i in cell.cell.incoming(target)}
                edge = sources[kept.source]
                op = cell.edges[edge].ops[PRIMITIVES.index(kept.primitive)]
                pairs.append((plain.nodes[target - 2][place], op))
        for one, two in pairs:
            for layer, source in zip(parts(one), parts(two), strict=True):
                if isinstance(layer, nn.Conv2d):
                    layer.load_state_dict(source.state_dict())
    images = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(network(images), other(images)[0], rtol=1e-4, atol=1e-5)


def test_fast_cells_are_reference_cells(make_search: SearchFactory) -> None:
    network = network_of(make_search([small()])).double()
    plain = copy.deepcopy(network)
    reference = CellExecution(reference_cell, reference_preprocess, channels_last=False)
    for part in (plain.stack, *plain.stack.cells):
        part.execution = reference
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    outputs = [each(images) for each in (network, plain)]
    torch.testing.assert_close(*outputs)
    for output in outputs:
        output.exp().sum().backward()
    for (name, one), two in zip(network.named_parameters(), plain.parameters(), strict=True):
        if one.grad is None or two.grad is None:
            assert one.grad is two.grad, name
        else:
            torch.testing.assert_close(one.grad, two.grad, msg=name)


def test_only_chosen_operations_get_gradients(make_search: SearchFactory) -> None:
    network = network_of(make_search([small()]))
    network(torch.randn(4, 3, 8, 8)).sum().backward()
    cells: list[Any] = list(network.stack.cells)
    for cell, kind in zip(cells, network.stack.kinds, strict=True):
        for edge, running in zip(cell.edges, network.mixing().active[kind], strict=True):
            for m, op in enumerate(edge.ops):
                for weight in op.parameters():
                    assert (weight.grad is not None) == (m in running)


def test_heads_are_those_of_the_released_code_where_they_fit() -> None:
    """Pooling windows of 6 pixels, 5 for features of 7; smaller ones for smaller features."""
    windows = {size: DistillationHead(4, 3, size).features[1] for size in (16, 14, 8, 7, 4, 2)}
    assert [getattr(pool, "kernel_size", None) for pool in windows.values()] == [
        6,
        6,
        6,
        5,
        2,
        None,
    ]
    assert DistillationHead(4, 3, 2)(torch.randn(2, 4, 2, 2)).shape == (2, 3)
    with pytest.raises(UsageError, match="at least 2x2 pixels, found 1x1"):
        DistillationHead(4, 3, 1)


def test_the_stem_is_shared_and_the_imagenet_stem_fits(make_search: SearchFactory) -> None:
    supernet = DartsSupernet(4, 3, "imagenet", 1, 2, PRIMITIVES)
    module = SearchModule({**SPEC, "image_size": 64}, supernet, strategies=[small(layers=14)])
    network = network_of(module)
    found = cast("CellSupernet", module.supernet)
    assert network.stack.stem is found.stem
    kinds = network.stack.kinds
    assert [i for i, kind in enumerate(kinds) if kind == "reduce"] == [4, 9]  # stages of 5, 5, 4
    both = network.both(found, torch.randn(2, 3, 64, 64), module.arch())
    assert [[part.shape for part in logits] for logits in both] == [[(2, 4)] * 3] * 2


def test_it_has_no_running_statistics_scales_and_paths_to_drop() -> None:
    module = SearchModule(SPEC, DartsSupernet(8, 3, nodes=2), strategies=[small()])
    network = evaluation_network(module.networks)
    norms = [m for cell in network.stack.cells for m in cell.modules() if hasattr(m, "affine")]
    assert norms
    assert not any(norm.affine or norm.track_running_stats for norm in norms)
    drops = [m for m in network.modules() if isinstance(m, DropPath)]
    assert not any(drop.dropping for drop in drops)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        *(Unrolled(), AmendedGradient(), GDAS(), BinaryGates(), FairDARTS(), SingleLevel()),
        *(EdgeNormalization(), RobustDARTS(), A2M(), AuxiliarySkip()),
    ],
)
def test_what_would_have_no_effect_is_refused_by_both_names(
    other: SearchStrategy, make_search: SearchFactory
) -> None:
    for strategies in itertools.permutations([other, small()]):
        with pytest.raises(UsageError, match="conflicting strategies: ") as found:
            make_search(copy.deepcopy(strategies))
        assert "CDARTS" in str(found.value)
        assert type(other).__name__ in str(found.value)
        assert "\n" not in str(found.value)


def test_learned_edges_need_their_own_argument(make_search: SearchFactory) -> None:
    module = make_search([small(mean_edges=False), EdgeNormalization()])
    assert set(module.arch.beta) == {"normal", "reduce"}
    edges = make_search([small()]).arch().edges["normal"]
    torch.testing.assert_close(edges, torch.tensor([1 / 2] * 2 + [1 / 3] * 3))


def test_other_networks_are_refused() -> None:
    for supernet in (
        NasBench201Supernet(channels=4, cells=1),
        DartsSupernet(8, 3, nodes=2, individual=True),
        DartsSupernet(8, 3, nodes=2, head="dense"),
    ):
        with pytest.raises(UsageError, match="CDARTS needs normal and reduction cells"):
            SearchModule(SPEC, supernet, strategies=[small()])


def test_its_passes_are_not_captured(make_search: SearchFactory) -> None:
    assert "CDARTS may change" in str(forbids_graphs(make_search([small(mean_edges=False)])))
