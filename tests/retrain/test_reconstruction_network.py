"""The discrete reconstruction: operations against formulas, and refused settings."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.errors import UsageError
from nas_lightning.operators import Blur
from nas_lightning.spaces import (
    DiscreteReconstruction,
    ReconstructionNetwork,
    ReconstructionSpace,
    default_network,
    load_genotype,
)
from nas_lightning.spaces.reconstruction.operations import Regularizer
from nas_lightning.spaces.reconstruction.patches import patches, spread

SPEC = {"in_channels": 2, "image_size": 8, "dims": 2, "operator": Blur(1.0, 5).to_config()}


def single(primitive: str) -> Genotype:
    cell = CellGenotype(((NodeInput(primitive, 0),),), (1,), 1)
    return Genotype(ReconstructionSpace(), {"unrolled": cell})


def built(primitive: str) -> tuple[DiscreteReconstruction, Any]:
    torch.manual_seed(0)
    network = ReconstructionNetwork(3, 4).build(single(primitive), SPEC).double()
    (node,) = network.nodes
    assert isinstance(node, torch.nn.ModuleList)
    return network, node[0]


def penalty(u: Tensor, op: Regularizer) -> Tensor:
    return torch.log(torch.cosh(op.filters @ patches(u))).sum()


def cnn(u: Tensor, op: Any) -> Tensor:
    hidden = F.relu(F.linear(patches(u).T, op.first.weight, op.first.bias))
    hidden = F.relu(op.second(hidden))
    return u + spread((hidden @ op.last.T).T, u.shape)


def expected(primitive: str, op: Any, operator: Blur, y: Tensor) -> Tensor:
    """Compute an operation's output; gradients come from autograd on the functions themselves."""
    u = operator.adjoint(y).requires_grad_()
    data = 0.5 * (operator(u) - y).square().sum()
    losses: dict[str, Callable[[], Tensor]] = {
        "data_gradient": lambda: data,
        "regularizer": lambda: penalty(u, op),
        "gradient_step": lambda: data + penalty(u, op),
    }
    if primitive in losses:
        (slope,) = torch.autograd.grad(losses[primitive](), u)
        return u - F.softplus(op.raw) * slope
    others = {
        "skip_connect": lambda: u,
        "residual_cnn": lambda: cnn(u, op),
        "shift": lambda: torch.cat([u[..., -2:, :], u[..., :-2, :]], -2)[
            ..., [6, 7, 0, 1, 2, 3, 4, 5]
        ],
    }
    return others[primitive]()


@pytest.mark.parametrize(
    "primitive",
    ["skip_connect", "data_gradient", "regularizer", "gradient_step", "residual_cnn", "shift"],
)
def test_each_operation_against_its_formula(primitive: str) -> None:
    network, op = built(primitive)
    operator = Blur(1.0, 5).double()
    y = operator(torch.randn(3, 2, 8, 8, dtype=torch.float64))
    found, auxiliary = network(y)
    assert auxiliary is None
    expect = expected(primitive, op, operator, y)
    # in both, the operator's kernel was computed in float32 and cast
    torch.testing.assert_close(found, expect, rtol=1e-10, atol=1e-10)


def test_a_data_gradient_lowers_the_error_of_the_measurement() -> None:
    network, _ = built("data_gradient")
    operator = network.operator
    y = operator(torch.randn(3, 2, 8, 8, dtype=torch.float64))
    before, after = operator.adjoint(y), network(y)[0]
    assert (operator(after) - y).norm() < 0.9 * (operator(before) - y).norm()


def test_it_is_the_default_of_its_space() -> None:
    assert isinstance(default_network(single("shift").space), ReconstructionNetwork)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"genotype": "DARTS_V2"}, "found a genotype of darts"),
        ({"auxiliary": True}, "set auxiliary_weight to 0"),
        ({"data_spec": {"num_tokens": 8}}, "has no operator, only num_tokens"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"genotype": single("shift"), "data_spec": SPEC, **change}
    if isinstance(arguments["genotype"], str):
        arguments["genotype"] = load_genotype(arguments["genotype"])
    with pytest.raises(UsageError, match=message):
        ReconstructionNetwork().build(**arguments)
