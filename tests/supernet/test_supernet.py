from collections.abc import Sequence
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.search import one_hot
from nas_lightning.spaces import DARTS_PRIMITIVES, CellNetwork, CellSupernet, DartsSupernet
from nas_lightning.supernet import Mixing

SPEC = {"in_channels": 3, "num_classes": 4, "image_size": 8}
CIFAR = {"in_channels": 3, "num_classes": 10, "image_size": 32}
IMAGENET = {"in_channels": 3, "num_classes": 1000, "image_size": 224}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("factory", "spec", "k", "count"),
    [
        (DartsSupernet(), CIFAR, 1, 1_930_618),
        (DartsSupernet(), CIFAR, 4, 299_578),
        (DartsSupernet(stem="imagenet"), IMAGENET, 2, 956_512),
    ],
    ids=["DARTS", "PC-DARTS", "PC-DARTS on ImageNet"],
)
def test_parameter_count_of_the_released_supernets(
    factory: DartsSupernet, spec: dict[str, int], k: int, count: int
) -> None:
    with torch.device("meta"):
        supernet = factory.build(spec, k)
    assert sum(p.numel() for p in supernet.parameters()) == count


def uniform(factory: DartsSupernet) -> Mixing:
    cells = factory.space.cells
    return Mixing(
        {c.kind: torch.full((len(c.edges), len(c.primitives)), 0.2) for c in cells},
        {c.kind: torch.ones(len(c.edges)) for c in cells},
    )


@pytest.mark.parametrize("k", [1, 2])
def test_logits_of_the_imagenet_stem(k: int) -> None:
    factory = DartsSupernet(channels=4, layers=3, nodes=2, stem="imagenet")
    supernet = factory.build({**SPEC, "image_size": 32}, k)
    assert supernet(torch.randn(2, 3, 32, 32), uniform(factory)).shape == (2, 4)


def test_batch_statistics_make_evaluation_and_training_alike() -> None:
    factory = DartsSupernet(channels=4, layers=3, nodes=2)
    supernet = factory.build(SPEC, 1)
    x, mixing = torch.randn(4, 3, 8, 8), uniform(factory)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    train = supernet.train()(x, mixing)
    torch.testing.assert_close(supernet.eval()(x, mixing), train)
    # nothing drifts with a forward pass
    after = supernet.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_running_statistics_on_request() -> None:
    factory = DartsSupernet(channels=4, layers=3, nodes=2, running_stats=True)
    supernet = factory.build(SPEC, 1)
    norms = [m for m in supernet.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.track_running_stats for norm in norms)
    assert sum(norm.affine for norm in norms) == 1  # the stem's


@pytest.mark.parametrize("k", [1, 2])
def test_gradients_of_the_mixing_weights_are_finite_differences(k: int) -> None:
    factory = DartsSupernet(
        channels=4, layers=3, nodes=2, primitives=("none", "skip_connect", "sep_conv_3x3")
    )
    supernet = factory.build(SPEC, k).double()
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    target = torch.tensor([0, 2, 3])

    def loss(*weights: Tensor) -> Tensor:
        n_ops, r_ops, n_edges, r_edges = weights
        mixing = Mixing({"normal": n_ops, "reduce": r_ops}, {"normal": n_edges, "reduce": r_edges})
        return nn.functional.cross_entropy(supernet(x, mixing), target)

    weights = [torch.rand(s, dtype=torch.float64) + 0.1 for s in ((5, 3), (5, 3), (5,), (5,))]
    gradients = torch.autograd.grad(loss(*[w.requires_grad_() for w in weights]), weights)
    step = 1e-6
    for weight, gradient in zip(weights, gradients, strict=True):
        flat = weight.detach().view(-1)
        for i in range(len(flat)):
            with torch.no_grad():
                flat[i] += step
                above = loss(*weights)
                flat[i] -= 2 * step
                below = loss(*weights)
                flat[i] += step
            slope = float(above - below) / (2 * step)
            assert float(gradient.reshape(-1)[i]) == pytest.approx(slope, rel=1e-4, abs=1e-8)


def copy_convolutions(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of convolutions and linear layers; batch norms stay as they are."""
    kinds = (nn.Conv2d, nn.Linear)
    pairs = zip(
        [m for m in source.modules() if isinstance(m, kinds)],
        [m for m in target.modules() if isinstance(m, kinds)],
        strict=True,
    )
    for mine, theirs in pairs:
        theirs.load_state_dict(mine.state_dict())


def inherit(
    supernet: CellSupernet, network: CellNetwork, genotype: Genotype, primitives: Sequence[str]
) -> None:
    """Copy to a discrete network what its paths have in the supernet."""
    copy_convolutions(supernet.stem, network.stem)
    copy_convolutions(supernet.head, network.head)
    for kind, mixed, cell in zip(supernet.kinds, supernet.cells, network.cells, strict=True):
        copy_convolutions(cast("nn.Module", mixed.preprocess), cast("nn.Module", cell.preprocess))
        row = 0
        for i, node in enumerate(genotype.cells[kind].nodes):
            for j, kept in enumerate(node):
                edge = cast("nn.ModuleList", mixed.edges)[row + kept.source]
                op = cast("nn.ModuleList", edge.ops)[primitives.index(kept.primitive)]
                paths = cast("nn.ModuleList", cast("nn.ModuleList", cell.nodes)[i])
                copy_convolutions(op, paths[j])
            row += 2 + i


@pytest.mark.parametrize("seed", range(4))
def test_one_hot_mixing_computes_the_network_of_the_genotype(seed: int) -> None:
    # without pooling: it has a batch norm in search only
    primitives = [p for p in DARTS_PRIMITIVES if "pool" not in p]
    factory = DartsSupernet(channels=4, layers=4, primitives=primitives)
    supernet = factory.build(SPEC, 1).double()
    genotype = random_genotype(factory.space, seed)
    network = CellNetwork(genotype, 3, 4, 8, channels=4, layers=4).double()
    inherit(supernet, network, genotype, primitives)
    # retrain's batch norms are fresh, scale 1 and shift 0, and in training use the batch
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    logits, auxiliary = network.train()(x)
    assert auxiliary is None
    torch.testing.assert_close(
        supernet(x, one_hot(factory.space, genotype, torch.device("cpu"))), logits
    )


@pytest.mark.parametrize("k", [3, 16])
def test_a_k_that_does_not_fit_is_refused_at_construction(k: int) -> None:
    with pytest.raises(UsageError, match=f"K = {k} must divide the 16 channels"):
        DartsSupernet().build(CIFAR, k)


def test_an_image_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(UsageError, match="30x30 pixels are 15x15 before reduction cell 5"):
        DartsSupernet().build({**CIFAR, "image_size": 30}, 1)


@pytest.mark.parametrize(
    ("primitives", "reason"),
    [
        (["none", "sep_conv_9x9"], "unknown sep_conv_9x9"),
        (["skip_connect"], "at least 2"),
        (["skip_connect", "skip_connect"], "at least 2"),
        ([], "at least 2"),
    ],
)
def test_primitives_that_make_no_search_are_refused(primitives: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        DartsSupernet(primitives=primitives)
