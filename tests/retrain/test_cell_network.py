import pytest
import torch
from torch import Tensor, nn

from nas_lightning.architecture import CellGenotype, NodeInput
from nas_lightning.errors import UsageError
from nas_lightning.layers.auxiliary import AuxiliaryHead
from nas_lightning.layers.drop_path import DropPath, set_drop_path
from nas_lightning.layers.stems import StemName
from nas_lightning.retrain import Cost, count_parameters, network_cost
from nas_lightning.spaces import PUBLISHED, CellNetwork, DartsNetwork
from nas_lightning.spaces.darts.network import DiscreteCell


def cost_of(name: str, channels: int, layers: int, classes: int, stem: StemName, size: int) -> Cost:
    spec = {"in_channels": 3, "num_classes": classes, "image_size": size}
    return network_cost(DartsNetwork(channels, layers, stem), PUBLISHED[name], spec)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# computed once from the released models of DARTS and PC-DARTS
@pytest.mark.parametrize(
    ("name", "cifar", "imagenet"),
    [
        ("DARTS_V1", 3_169_414, 4_510_432),
        ("DARTS_V2", 3_349_342, 4_718_752),
        ("PC_DARTS_CIFAR", 3_634_678, 5_270_560),
        ("PC_DARTS_IMAGENET", 3_721_510, 5_342_464),
    ],
)
def test_parameter_counts_of_the_released_models(name: str, cifar: int, imagenet: int) -> None:
    with torch.device("meta"):
        small = CellNetwork(PUBLISHED[name], 3, 10, 32, auxiliary=True)
        large = CellNetwork(PUBLISHED[name], 3, 1000, 224, 48, 14, "imagenet", auxiliary=True)
    assert small.auxiliary is not None
    assert large.auxiliary is not None
    assert count_parameters(small.auxiliary) == 476_426
    assert count_parameters(large.auxiliary) == 1_260_776
    assert count_parameters(small) == cifar + 476_426
    assert count_parameters(large) == imagenet + 1_260_776


@pytest.mark.parametrize(
    ("name", "multiply_adds"), [("DARTS_V2", 529_911_552), ("PC_DARTS_IMAGENET", 581_627_328)]
)
def test_multiply_adds_of_the_released_models(name: str, multiply_adds: int) -> None:
    cost = cost_of(name, 48, 14, 1000, "imagenet", 224)
    assert cost.multiply_adds == multiply_adds
    assert cost.image_size == 224


@pytest.mark.parametrize(("stem", "size"), [("cifar", 32), ("imagenet", 224)])
@pytest.mark.parametrize("name", ["PC_DARTS_IMAGENET", "AmoebaNet"])
def test_cost_equals_the_sum_over_layers(name: str, stem: StemName, size: int) -> None:
    network = CellNetwork(PUBLISHED[name], 3, 5, size, 4, 3, stem).eval()
    counted = 0

    def count(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal counted
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            counted += output.numel() * height * width * module.in_channels // module.groups
        elif isinstance(module, nn.Linear):
            counted += output.numel() * module.in_features

    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.randn(1, 3, size, size))
    cost = cost_of(name, 4, 3, 5, stem, size)
    assert cost.multiply_adds == counted
    assert cost.parameters == sum(p.numel() for p in network.parameters())


def test_cost_counts_the_auxiliary_head_separately() -> None:
    cost = cost_of("DARTS_V2", 4, 3, 5, "cifar", 32)
    features = 4 * 4 * 4  # four nodes; C = 4, doubled twice
    head = features * 128 + 2 * 128 + 4 * 128 * 768 + 2 * 768 + 768 * 5 + 5
    assert cost.parameters_with_auxiliary == cost.parameters + head


def test_cost_of_images_too_small_for_an_auxiliary_head() -> None:
    cost = cost_of("DARTS_V2", 4, 3, 5, "cifar", 16)
    assert cost.parameters > 0
    assert cost.parameters_with_auxiliary is None


@pytest.mark.parametrize("name", [n for n, g in PUBLISHED.items() if g.space.name == "darts"])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_every_published_cell_runs_forward_and_backward(name: str, stem: StemName) -> None:
    network = CellNetwork(PUBLISHED[name], 3, 5, 32, 4, 3, stem)
    logits, auxiliary = network(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 5)
    assert auxiliary is None
    logits.sum().backward()
    used = [p for p in network.head.parameters() if p.grad is not None]
    assert len(used) == 2


@pytest.mark.parametrize("reduction", [False, True])
def test_a_cell_equals_its_nodes_written_out(reduction: bool) -> None:
    genotype = CellGenotype(
        (
            (NodeInput("max_pool_3x3", 0), NodeInput("avg_pool_3x3", 1)),
            (
                NodeInput("skip_connect", 2),
                NodeInput("max_pool_3x3", 1),
                NodeInput("max_pool_3x3", 2),
            ),
        ),
        (3, 2),
    )
    cell = DiscreteCell(genotype, (3, 3), 4, reduction, reduction_before=False)
    s0, s1 = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    stride = 2 if reduction else 1
    first, second = (
        nn.functional.batch_norm(
            nn.functional.conv2d(s.relu(), next(pre.parameters())), None, None, training=True
        )
        for s, pre in zip((s0, s1), cell.preprocess, strict=True)
    )

    def largest(x: Tensor, stride: int) -> Tensor:
        return nn.functional.max_pool2d(x, 3, stride, 1)

    mean = nn.functional.avg_pool2d(second, 3, stride, 1, count_include_pad=False)
    node0 = largest(first, stride) + mean
    node1 = node0 + largest(second, stride) + largest(node0, 1)
    torch.testing.assert_close(cell(s0, s1), torch.cat((node1, node0), dim=1))


def test_the_auxiliary_head_runs_in_training_only() -> None:
    network = CellNetwork(PUBLISHED["DARTS_V2"], 3, 5, 32, 4, 3, auxiliary=True)
    x = torch.randn(2, 3, 32, 32)
    logits, auxiliary = network.train()(x)
    assert logits.shape == auxiliary.shape == (2, 5)
    assert network.eval()(x)[1] is None


def test_the_auxiliary_head_reads_the_second_reduction_cell() -> None:
    network = CellNetwork(PUBLISHED["DARTS_V2"], 3, 5, 32, 4, 4, auxiliary=True)
    network(torch.randn(2, 3, 32, 32))[1].sum().backward()
    reached = [any(p.grad is not None for p in cell.parameters()) for cell in network.cells]
    assert reached == [True, True, True, False]  # of 4 cells, 1 and 2 are reductions


@pytest.mark.parametrize(("stem", "least"), [("cifar", 8), ("imagenet", 7)])
def test_features_too_small_for_the_auxiliary_head_are_refused(stem: StemName, least: int) -> None:
    head = AuxiliaryHead(4, 5, stem, least)
    assert head(torch.randn(2, 4, least, least)).shape == (2, 5)
    with pytest.raises(UsageError, match=f"at least {least}x{least} pixels, found"):
        AuxiliaryHead(4, 5, stem, least - 1)


def test_images_too_small_for_the_auxiliary_head_are_refused() -> None:
    with pytest.raises(UsageError, match="found 2x2: set auxiliary_weight to 0"):
        CellNetwork(PUBLISHED["DARTS_V2"], 3, 5, 8, 4, 3, auxiliary=True)


def drop(p: float) -> DropPath:
    module = DropPath()
    set_drop_path(module, p)
    return module


def test_drop_path_zeroes_or_scales_whole_samples() -> None:
    x = torch.rand(2000, 2, 3, 3) + 0.5
    ratio = (drop(0.25)(x) / x).flatten(1)
    assert bool(((ratio - ratio[:, :1]).abs() < 1e-6).all())
    dropped = ratio[:, 0] == 0
    torch.testing.assert_close(ratio[~dropped, 0], torch.full((int((~dropped).sum()),), 4 / 3))
    # 2000 draws with probability 0.25: standard deviation 0.0097
    assert abs(float(dropped.float().mean()) - 0.25) < 0.04


def test_drop_path_keeps_the_mean() -> None:
    out = drop(0.4)(torch.ones(20_000, 1, 1, 1))
    # standard deviation of the mean: sqrt(0.4 / 0.6 / 20000) = 0.006
    assert abs(float(out.mean()) - 1) < 0.025


def test_drop_path_does_not_modify_its_input() -> None:
    x = torch.randn(8, 2, 3, 3)
    before = x.clone()
    drop(0.9)(x)
    assert torch.equal(x, before)


def test_drop_path_is_an_identity_in_evaluation_and_at_zero() -> None:
    x = torch.randn(8, 2, 3, 3)
    assert drop(0.9).eval()(x) is x
    assert drop(0.0)(x) is x


def cell_of(primitive: str, reduction: bool) -> DiscreteCell:
    """Return a cell whose single node reads each input once."""
    node = (NodeInput(primitive, 0), NodeInput(primitive, 1))
    return DiscreteCell(CellGenotype((node,), (2,)), (3, 3), 4, reduction, False)


@pytest.mark.parametrize(
    ("primitive", "reduction", "droppable"),
    [
        ("skip_connect", False, False),
        ("skip_connect", True, True),  # a convolution at stride 2
        ("max_pool_3x3", False, True),
        ("sep_conv_3x3", False, True),
    ],
)
def test_every_path_but_an_identity_may_be_dropped(
    primitive: str, reduction: bool, droppable: bool
) -> None:
    cell = cell_of(primitive, reduction)
    set_drop_path(cell, 0.5)
    s0, s1 = torch.randn(64, 3, 4, 4), torch.randn(64, 3, 4, 4)
    silent = (cell(s0, s1) == 0).flatten(1).all(1)
    # both paths of a sample are dropped with probability 1/4
    assert bool(silent.any()) is droppable


def test_the_probability_reaches_every_path_that_may_be_dropped() -> None:
    network = CellNetwork(PUBLISHED["DARTS_V2"], 3, 5, 8, 4, 3)
    set_drop_path(network, 0.3)
    found = [m.p for m in network.modules() if isinstance(m, DropPath)]
    # 8 inputs a cell: two identities in the normal cell, and in a reduction cell three
    # identities (from node to node)
    assert found == [0.3] * (6 + 5 + 5)
