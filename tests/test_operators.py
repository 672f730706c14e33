"""Forward operators: adjoint, norm at most 1, and comparisons with other computations."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from nas_lightning import operators
from nas_lightning.errors import UsageError
from nas_lightning.operators import (
    Blur,
    BlurDownsample,
    Identity,
    Inpainting,
    Operator,
    build_operator,
    spatial_dims,
    tikhonov,
)

ALL = [
    kind
    for _, kind in inspect.getmembers(operators, inspect.isclass)
    if issubclass(kind, Operator) and kind is not Operator
]
SHAPES = [(8,), (12,), (64,), (8, 8), (12, 12), (8, 16), (20, 12)]


def make(kind: Any, shape: tuple[int, ...]) -> Operator | None:
    """An operator for signals of this shape, in double precision; none if there is none."""
    square = len(set(shape)) == 1
    if "size" not in inspect.signature(kind).parameters:
        operator: Operator = kind()
    elif square:
        operator = kind(shape[0])
    else:
        return None
    return operator.double()


CASES = [
    pytest.param(operator, shape, id=f"{kind.__name__}-{shape}")
    for kind in ALL
    for shape in SHAPES
    if (operator := make(kind, shape)) is not None
]


def dense(linear: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The matrix of a linear function of one sample with one channel, column by column."""
    count = int(np.prod(shape))
    columns = linear(torch.eye(count, dtype=torch.float64).view(count, 1, *shape))
    return columns.flatten(1).numpy().T


def test_all_operators_are_found() -> None:
    assert set(ALL) >= {Identity, Blur, BlurDownsample, Inpainting}


@pytest.mark.parametrize(("operator", "shape"), CASES)
def test_the_adjoint_is_the_transposed_matrix(operator: Operator, shape: tuple[int, ...]) -> None:
    matrix = dense(operator, shape)
    measured = operator(torch.zeros(1, 1, *shape, dtype=torch.float64)).shape[2:]
    np.testing.assert_allclose(dense(operator.adjoint, measured), matrix.T, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(ALL),
    st.integers(1, 2),
    st.integers(2, 9),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 1000),
)
def test_inner_products_agree(
    kind: Any, dims: int, quarter: int, batch: int, channels: int, seed: int
) -> None:
    shape = [4 * quarter] * dims
    operator = make(kind, tuple(shape))
    assert operator is not None
    operator.float()
    torch.manual_seed(seed)
    x = torch.randn(batch, channels, *shape)
    measured = operator(x)
    y = torch.randn_like(measured)
    back = operator.adjoint(y)
    assert back.shape == x.shape
    scale = float(x.norm() * y.norm())
    assert float((measured * y).sum() - (x * back).sum()) == pytest.approx(0, abs=1e-5 * scale)


@pytest.mark.parametrize(("operator", "shape"), CASES)
def test_the_spectral_norm_is_at_most_one(operator: Operator, shape: tuple[int, ...]) -> None:
    assert np.linalg.norm(dense(operator, shape), ord=2) <= 1 + 1e-6


@pytest.mark.parametrize(("operator", "shape"), CASES)
def test_samples_and_channels_do_not_mix(operator: Operator, shape: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *shape, dtype=torch.float64)
    whole, back = operator(x), operator.adjoint(operator(x))
    for sample in range(2):
        for channel in range(3):
            one = operator(x[sample, channel][None, None])
            torch.testing.assert_close(whole[sample, channel], one[0, 0])
            torch.testing.assert_close(back[sample, channel], operator.adjoint(one)[0, 0])


# -- each operator -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (64,), (16, 20), (2, 33)])
@pytest.mark.parametrize(("sigma", "taps"), [(2.0, 9), (0.7, 5), (1.5, 1)])
def test_blur_is_scipys_gaussian_filter(shape: tuple[int, ...], sigma: float, taps: int) -> None:
    x = torch.randn(2, 3, *shape)
    axes = tuple(range(2, 2 + len(shape)))
    truncate = (taps // 2) / sigma  # scipy's radius is truncate · sigma
    expected = ndimage.gaussian_filter(
        x.double().numpy(), sigma, mode="wrap", truncate=truncate, axes=axes
    )
    np.testing.assert_allclose(Blur(sigma, taps)(x).numpy(), expected, atol=1e-6)


def test_blur_is_symmetric() -> None:
    for shape in ((16,), (8, 12)):
        matrix = dense(Blur().double(), shape)
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
        np.testing.assert_allclose(matrix.sum(axis=0), 1, atol=1e-6)


def test_blur_downsample_keeps_every_fourth_at_norm_one() -> None:
    x = torch.randn(2, 1, 16, 24)
    kept = Blur()(x)[:, :, ::4, ::4]
    samples = dense(Blur().double(), (16, 24)).reshape(16, 24, -1)[::4, ::4].reshape(24, -1)
    scale = 1 / np.linalg.norm(samples, ord=2)
    assert scale == pytest.approx(4, rel=0.1)  # of sixteen pixels one is kept
    torch.testing.assert_close(BlurDownsample()(x), scale * kept)
    torch.testing.assert_close(BlurDownsample(stride=1)(x), Blur()(x))
    y = torch.zeros(1, 1, 4)
    y[0, 0, 2] = 1.0
    spread = torch.zeros(1, 1, 16)
    spread[0, 0, 8] = 1.0
    line = 1 / np.linalg.norm(dense(Blur().double(), (16,))[::4], ord=2)
    torch.testing.assert_close(BlurDownsample().adjoint(y), line * Blur()(spread))


@pytest.mark.parametrize(("keep", "kept"), [(0.5, 8), (0.3, 5), (1.0, 16), (0.001, 1)])
def test_inpainting_drops_samples(keep: float, kept: int) -> None:
    x = torch.randn(3, 2, 16)
    y = Inpainting(16, keep)(x)
    there = y != 0
    assert torch.equal(y[there], x[there])
    assert torch.equal(there.all(0).all(0), there.any(0).any(0))  # the same everywhere
    assert int(there[0, 0].sum()) == kept
    assert int(Inpainting(8, 0.25)(torch.ones(1, 1, 8, 8)).sum()) == 16


def test_inpainting_depends_on_its_seed() -> None:
    x = torch.ones(1, 1, 64)
    assert torch.equal(Inpainting(64)(x), Inpainting(64)(x))
    assert not torch.equal(Inpainting(64)(x), Inpainting(64, seed=1)(x))


# -- as modules --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_gradients_flow(kind: Any) -> None:
    operator = make(kind, (8,))
    assert operator is not None
    x = torch.randn(2, 1, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(operator, x)
    y = operator(x).detach().requires_grad_()
    assert torch.autograd.gradcheck(operator.adjoint, y)
    assert torch.autograd.gradgradcheck(operator, x)


@pytest.mark.parametrize("kind", ALL)
def test_training_after_a_validation(kind: Any) -> None:
    operator = make(kind, (8,))
    assert operator is not None
    x = torch.randn(2, 1, 8, dtype=torch.float64)
    with torch.inference_mode():  # as Lightning validates
        first = operator.adjoint(operator(x))
    x.requires_grad_()
    again = operator.adjoint(operator(x))
    again.square().sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(first, again.detach())
    assert x.grad is not None


@pytest.mark.parametrize("kind", ALL)
def test_nothing_is_allocated_on_the_meta_device(kind: Any) -> None:
    with torch.device("meta"):  # where the cost of a network is counted
        operator = make(kind, (8,))
        assert operator is not None
        y = operator(torch.empty(2, 1, 8))
    assert operator.adjoint(y).device.type == "meta"
    real = torch.randn(2, 1, 8)
    other = make(kind, (8,))
    assert other is not None
    assert torch.equal(operator(real), other(real))


@pytest.mark.parametrize("kind", ALL)
def test_nothing_goes_into_a_checkpoint(kind: Any) -> None:
    operator = make(kind, (8,))
    assert operator is not None
    assert operator.state_dict() == {}
    assert list(operator.parameters()) == []


@pytest.mark.parametrize(
    "operator",
    [
        Identity(),
        Blur(1.5, 7),
        BlurDownsample(1.0, 5, 2),
        Inpainting(8, 0.25, 3),
    ],
    ids=repr,
)
def test_plain_data_makes_the_same_operator(operator: Operator) -> None:
    config = operator.to_config()
    assert set(config) == {"class_path", "init_args"}
    again = build_operator(config)
    assert type(again) is type(operator)
    assert repr(again) == repr(operator)
    x = torch.randn(2, 1, 8)
    assert torch.equal(again(x), operator(x))


def test_the_constructor_call_is_shown() -> None:
    assert repr(Blur(1.5)) == "Blur(sigma=1.5, taps=9)"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "class_path"),
        ({"class_path": "Blur"}, "no operator can be built"),
        ({"class_path": "nas_lightning.operators.Blurr"}, "Blurr"),
        ({"class_path": "no_such_package.Blur"}, "no_such_package"),
        ({"class_path": "nas_lightning.operators.Blur", "init_args": {"width": 3}}, "width"),
        ({"class_path": "torch.nn.Identity", "init_args": {}}, "is not an operator"),
    ],
)
def test_what_is_no_operator(config: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build_operator(config)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Blur(sigma=0), "sigma must be above 0"),
        (lambda: Blur(taps=4), "taps must be odd"),
        (lambda: Blur(taps=-1), "taps must be at least 1"),
        (lambda: BlurDownsample(stride=0), "stride must be at least 1"),
        (lambda: BlurDownsample(sigma=-1), "sigma must be above 0"),
        (lambda: BlurDownsample()(torch.zeros(1, 1, 8, 6)), "stride 4 must divide"),
        (lambda: Inpainting(0), "size must be at least 1"),
        (lambda: Inpainting(8, keep=0), "keep must be above 0"),
        (lambda: Inpainting(8, keep=1.1), "keep must be above 0"),
        (lambda: Inpainting(8)(torch.zeros(1, 1, 9)), "set size to that of the data"),
        (lambda: Inpainting(8)(torch.zeros(1, 1, 8, 9)), "set size to that of the data"),
        (lambda: spatial_dims(torch.zeros(1, 8)), "takes"),
        (lambda: Blur()(torch.zeros(1, 1, 8, 8, 8)), "takes"),
        (lambda: tikhonov(Blur(), torch.zeros(1, 1, 8), 0.0), "strength must be positive"),
        (lambda: tikhonov(Blur(), torch.zeros(1, 1, 8), 1.0, 0), "iterations must be at least"),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call()
