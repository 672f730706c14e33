"""The NAS-Bench-201 supernet and network against published sizes and against each other."""

import pytest
import torch
from torch import Tensor

from nas_lightning.architecture import random_genotype
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.retrain import network_cost
from nas_lightning.search import SearchModule, one_hot
from nas_lightning.spaces import PUBLISHED, NasBench201Network, NasBench201Supernet
from nas_lightning.spaces.nas_bench_201 import from_string, to_string
from nas_lightning.strategies import EdgeNormalization, ExponentiatedGradient, PartialChannels
from tests.conftest import TrainerFactory

SPEC = {"in_channels": 3, "num_classes": 10, "image_size": 32}
ALL = "|{0}~0|+|{0}~0|{0}~1|+|{0}~0|{0}~1|{0}~2|"


@pytest.mark.parametrize(
    ("primitive", "parameters", "multiply_adds"),
    # the largest and the smallest of the benchmark: 1.531546 M and 0.073306 M, 220.12 M and 7.78 M
    [("nor_conv_3x3", 1_531_546, 220_119_680), ("none", 73_306, 7_783_040)],
)
def test_published_sizes(primitive: str, parameters: int, multiply_adds: int) -> None:
    cost = network_cost(NasBench201Network(), from_string(ALL.format(primitive)), SPEC)
    assert (cost.parameters, cost.multiply_adds) == (parameters, multiply_adds)


@pytest.mark.parametrize("seed", range(6))
def test_one_hot_weights_make_the_discrete_network(seed: int) -> None:
    """The supernet with one operation an edge computes what the network of the cell does."""
    torch.manual_seed(seed)
    factory = NasBench201Supernet(4, 2, affine=True, running_stats=True)
    genotype = random_genotype(factory.space, seed)
    supernet = factory.build(SPEC, 1).double()
    network = NasBench201Network(4, 2).build(genotype, SPEC).double()
    theirs = supernet.skeleton.state_dict()
    mine: dict[str, Tensor] = {}
    edges = [str(edge) for edge in factory.space.cells[0].edges]
    for name, value in network.skeleton.state_dict().items():
        parts = name.split(".")
        if parts[0] == "stages":  # stages.S.C.nodes.N.I.… → stages.S.C.edges.E.ops.M.…
            node, index = int(parts[4]), int(parts[5])
            kept = genotype.cells["cell"].nodes[node][index]
            edge = edges.index(f"{kept.source}-{node + 1}")
            op = factory.primitives.index(kept.primitive)
            name = ".".join([*parts[:3], "edges", str(edge), "ops", str(op), *parts[6:]])
        mine[".".join(parts)] = theirs[name]
        assert value.shape == theirs[name].shape
    network.skeleton.load_state_dict(mine)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    mixing = one_hot(factory.space, genotype, torch.device("cpu"))
    torch.testing.assert_close(supernet.eval()(x, mixing), network.eval()(x)[0])


def test_partial_channels_and_edge_weights_fit(make_trainer: TrainerFactory) -> None:
    data = Synthetic(in_channels=3, num_classes=4, image_size=8, train_size=64, batch_size=8)
    spec = {"in_channels": 3, "num_classes": 4, "image_size": 8}
    strategies = [PartialChannels(2), EdgeNormalization()]
    module = SearchModule(spec, NasBench201Supernet(4, 1), strategies=strategies)
    make_trainer(limit_train_batches=2).fit(module, datamodule=data)
    assert module.arch.beta["cell"].shape == (6,)
    assert to_string(module.genotype()).count("~") == 6


def test_argmax_takes_none_where_it_is_strongest() -> None:
    spec = {"in_channels": 3, "num_classes": 4, "image_size": 8}
    module = SearchModule(spec, NasBench201Supernet(4, 1))
    alpha = torch.full((6, 5), -1.0)
    for edge, best in enumerate((0, 1, 2, 3, 4, 0)):
        alpha[edge, best] = 1.0
    module.arch.alpha["cell"].data.copy_(alpha)
    assert to_string(module.genotype()) == (
        "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
    )


def test_without_none_there_are_four_columns() -> None:
    factory = NasBench201Supernet(4, 1, primitives=["skip_connect", "nor_conv_3x3"])
    spec = {"in_channels": 3, "num_classes": 4, "image_size": 8}
    module = SearchModule(spec, factory, strategies=[ExponentiatedGradient()])
    assert module.arch.alpha["cell"].shape == (6, 2)
    assert "none" not in to_string(module.genotype())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown sep_conv_9x9.*choose from none"):
        NasBench201Supernet(primitives=["sep_conv_9x9", "none"])
    with pytest.raises(UsageError, match="cells must be at least 1 and at most 1,000, found 0"):
        NasBench201Supernet(cells=0)
    with pytest.raises(UsageError, match="no auxiliary head"):
        NasBench201Supernet(4, 1).build(SPEC, 1, auxiliary=True)
    with pytest.raises(UsageError, match="no auxiliary head"):
        NasBench201Network().build(from_string(ALL.format("none")), SPEC, auxiliary=True)
    with pytest.raises(UsageError, match="cannot build cells of 'darts'"):
        NasBench201Network().build(PUBLISHED["DARTS_V2"], SPEC)
    with pytest.raises(UsageError, match="K = 3 must divide"):
        NasBench201Supernet(16, 1).build(SPEC, 3)
