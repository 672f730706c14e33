import pytest
import torch
from torch import Tensor

from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsSpace, DartsSupernet
from nas_lightning.supernet import ArchitectureParameters, EqualEdges, NodewiseSoftmax, SoftmaxOps

SPACE = DartsSpace()


def parameters(seed: int = 0) -> ArchitectureParameters:
    return ArchitectureParameters(SPACE, SoftmaxOps(), NodewiseSoftmax(), seed)


def test_softmax_of_operations_against_its_definition() -> None:
    alpha = torch.randn(14, 8, dtype=torch.float64)
    weights = SoftmaxOps().weights(alpha)
    expected = alpha.exp() / alpha.exp().sum(1, keepdim=True)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(weights.sum(1), torch.ones(14, dtype=torch.float64))


def test_softmax_of_edges_runs_over_the_edges_of_each_node() -> None:
    beta = torch.randn(14, dtype=torch.float64)
    weights = NodewiseSoftmax().weights(beta, SPACE.cell("normal"), torch.device("cpu"))
    for start, stop in ((0, 2), (2, 5), (5, 9), (9, 14)):  # the segments of the released code
        part = beta[start:stop].exp()
        torch.testing.assert_close(weights[start:stop], part / part.sum())


def test_equal_edges_count_fully() -> None:
    weights = EqualEdges().weights(None, SPACE.cell("normal"), torch.device("cpu"))
    assert torch.equal(weights, torch.ones(14))


def test_one_seed_one_architecture_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    first = parameters(seed=5).named()
    torch.manual_seed(2)
    torch.randn(3)
    again, other = parameters(seed=5).named(), parameters(seed=6).named()
    for name, value in first.items():
        assert torch.equal(value, again[name])
        assert not torch.equal(value, other[name])


def test_the_draw_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.randn(3)
    torch.manual_seed(1)
    parameters()
    assert torch.equal(torch.randn(3), expected)


def test_fresh_parameters_are_normal_with_standard_deviation_a_thousandth() -> None:
    values = torch.cat(
        [p.detach().flatten() for s in range(20) for p in parameters(s).named().values()]
    )
    assert len(values) == 20 * 2 * (14 * 8 + 14)
    # 5040 draws: the relative error of a standard deviation is 1/sqrt(2n) = 1 %
    assert abs(float(values.std()) - 1e-3) < 5e-5
    assert abs(float(values.mean())) < 7e-5


def test_names_shapes_and_order() -> None:
    shapes = {name: tuple(value.shape) for name, value in parameters().named().items()}
    assert list(shapes.items()) == [
        ("alpha.normal", (14, 8)),
        ("alpha.reduce", (14, 8)),
        ("beta.normal", (14,)),
        ("beta.reduce", (14,)),
    ]


def test_without_edge_parameters_there_is_no_beta() -> None:
    arch = ArchitectureParameters(SPACE, SoftmaxOps(), EqualEdges())
    assert list(arch.named()) == ["alpha.normal", "alpha.reduce"]
    assert torch.equal(arch().edges["reduce"], torch.ones(14))


def test_kinds_do_not_share_weights() -> None:
    arch = parameters()
    with torch.no_grad():
        arch.alpha["reduce"][0, 3] = 5.0
    mixing = arch().detach()
    assert float(mixing.ops["reduce"][0, 3]) > 0.9
    assert float(mixing.ops["normal"][0, 3]) == pytest.approx(1 / 8, abs=1e-3)


def test_mixing_is_differentiable_until_it_is_detached() -> None:
    arch = parameters()
    mixing = arch()
    weights: list[Tensor] = [*mixing.ops.values(), *mixing.edges.values()]
    assert all(w.requires_grad for w in weights)
    detached = mixing.detach()
    for before, after in ((mixing.ops, detached.ops), (mixing.edges, detached.edges)):
        for kind, value in before.items():
            assert torch.equal(value, after[kind])
            assert not after[kind].requires_grad


def test_no_architecture_parameter_is_a_weight_of_the_supernet() -> None:
    spec = {"in_channels": 3, "num_classes": 4, "image_size": 8}
    module = SearchModule(spec, DartsSupernet(channels=4, layers=3, nodes=2))
    weights = {p.data_ptr() for p in module.supernet.parameters()}
    arch = {p.data_ptr() for p in module.arch.parameters()}
    assert len(arch) == 2
    assert not weights & arch
    assert not any("alpha" in name for name, _ in module.supernet.named_parameters())
    assert {p.data_ptr() for p in module.parameters()} == weights | arch
