"""User-defined operations: names, sources, norms, shapes, and the fast cell with them."""

import copy
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.errors import UsageError
from nas_lightning.layers import NormRule, build_primitive, primitive_names, primitive_sources
from nas_lightning.layers.own import _OWN, OwnOperation, register_primitive
from nas_lightning.layers.primitives import RETRAIN_NORM
from nas_lightning.spaces import DartsSupernet
from nas_lightning.supernet import (
    ArchitectureParameters,
    CellExecution,
    EqualEdges,
    SoftmaxOps,
    reference_cell,
    reference_preprocess,
)

SEARCH_NORM = NormRule(affine=False, after_pool=True, running_stats=False)
SPEC = {"in_channels": 3, "num_classes": 4, "image_size": 8}


class Reflecting(nn.Sequential):
    """Layers that the fast cell knows, with unknown settings, so it must not join them."""

    def __init__(self, channels: int, stride: int, affine: bool) -> None:
        conv = nn.Conv2d(channels, channels, 3, stride, 1, bias=False, padding_mode="reflect")
        super().__init__(nn.ReLU(), conv, nn.BatchNorm2d(channels, affine=affine))

    def forward(self, x: Tensor) -> Tensor:
        """Return twice the output of the layers, unlike `Sequential`."""
        out: Tensor = 2 * super().forward(x)  # type: ignore[no-untyped-call] # torch
        return out


def wrong_shape(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Conv2d(channels, channels + 1, 1, stride)


def no_module(channels: int, stride: int, affine: bool) -> nn.Module:
    return channels  # type: ignore[return-value] # a user's mistake


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Provide a module `my_ops`, and forget the names that a test registers."""
    module = ModuleType("my_ops")
    for found in (Reflecting, wrong_shape, no_module):
        setattr(module, found.__name__, found)
        monkeypatch.setattr(found, "__module__", "my_ops")
    monkeypatch.setitem(sys.modules, "my_ops", module)
    for name in list(_OWN):
        monkeypatch.delitem(_OWN, name)
    return module


def test_a_class_is_named_by_its_import_path() -> None:
    names = primitive_names(["none", "my_ops.Reflecting"])
    assert names == ("none", "my_ops.Reflecting")
    assert primitive_sources(names) == ["none", "my_ops.Reflecting"]


def test_a_registered_name_stands_for_the_import_path() -> None:
    register_primitive("reflecting")(Reflecting)
    for given in ("reflecting", "my_ops.Reflecting"):
        names = primitive_names(["none", given])
        assert names == ("none", "reflecting")
        assert primitive_sources(names) == ["none", "my_ops.Reflecting"]
    with pytest.raises(UsageError, match="each once"):  # one operation under two names
        primitive_names(["reflecting", "my_ops.Reflecting"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("sep_conv_3x4", "did you mean sep_conv_3x3"),
        ("my_ops.Nothing", "cannot import my_ops.Nothing"),
        ("nobody.Conv", "PYTHONPATH"),
        ("my_ops.wrong_shape", "register_primitive"),  # a function that is not registered
        ("torch.nn.functional.relu", "register_primitive"),
    ],
)
def test_other_objects_are_refused(given: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        primitive_names(["none", given])


def test_a_name_belongs_to_one_operation() -> None:
    with pytest.raises(UsageError, match="a shipped operation"):
        register_primitive("sep_conv_3x3")(Reflecting)
    register_primitive("mine")(Reflecting)
    register_primitive("mine")(Reflecting)  # a module that is imported again
    with pytest.raises(UsageError, match=r"belongs to my_ops\.Reflecting"):
        register_primitive("mine")(wrong_shape)
    with pytest.raises(UsageError, match="is not a name"):
        register_primitive("a b")


def test_batch_norms_follow_the_rule_of_the_cell() -> None:
    primitive_names(["none", "my_ops.Reflecting"])
    searched = build_primitive("my_ops.Reflecting", 4, 1, SEARCH_NORM)
    assert not list(searched.buffers())
    x = torch.randn(8, 4, 6, 6)
    assert torch.equal(searched.eval()(x), searched.train()(x))  # statistics of the batch
    retrained = build_primitive("my_ops.Reflecting", 4, 1, RETRAIN_NORM)
    assert {name for name, _ in retrained.named_buffers()} >= {"op.2.running_mean"}
    assert len(list(retrained.parameters())) == 3  # with scale and shift


def test_wrong_operations_are_named_with_their_fault() -> None:
    register_primitive("wide")(wrong_shape)
    register_primitive("nothing")(no_module)
    with pytest.raises(UsageError, match=r"must map \[2, 4, 7, 7\] to \[2, 4, 4, 4\], found"):
        build_primitive("wide", 4, 2, SEARCH_NORM)(torch.randn(2, 4, 7, 7))
    with pytest.raises(UsageError, match="must return a module, found int"):
        build_primitive("nothing", 4, 1, SEARCH_NORM)
    _OWN["short"] = copy.copy(_OWN["wide"])
    object.__setattr__(_OWN["short"], "build", lambda channels: channels)
    with pytest.raises(UsageError, match=r"\(channels, stride, affine\) failed"):
        build_primitive("short", 4, 1, SEARCH_NORM)


@pytest.mark.parametrize("k", [1, 2])
def test_the_fast_cell_equals_the_reference_with_a_user_operation(k: int) -> None:
    primitives = ["none", "skip_connect", "sep_conv_3x3", "my_ops.Reflecting", "max_pool_3x3"]
    factory = DartsSupernet(channels=4, layers=3, nodes=2, primitives=primitives)
    plain = CellExecution(reference_cell, reference_preprocess, channels_last=False)
    torch.manual_seed(0)
    fast = factory.build(SPEC, k).double()
    assert any(isinstance(module, OwnOperation) for module in fast.modules())
    slow = factory.build(SPEC, k, execution=plain).double()
    slow.load_state_dict(fast.state_dict())
    arch = ArchitectureParameters(factory.space, SoftmaxOps(), EqualEdges()).double()
    for alpha in arch.alpha.values():
        nn.init.normal_(alpha)
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    results = []
    for network in (fast, slow):
        parameters = [*arch.alpha.values(), *network.parameters()]
        loss = network(x, arch()).square().sum()
        results.append((loss, torch.autograd.grad(loss, parameters, materialize_grads=True)))
    (a, mine), (b, theirs) = results
    torch.testing.assert_close(a, b, rtol=1e-12, atol=0)
    for first, second in zip(mine, theirs, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-10)
