"""Networks with choices: the mixture, and the network that a genotype chooses."""

import copy
import re

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.architecture import Genotype
from nas_lightning.errors import UsageError
from nas_lightning.search.discretize import one_hot
from nas_lightning.spaces import (
    Choice,
    ChoiceNetwork,
    ChoiceSpace,
    ChoiceSupernet,
    MixedNetwork,
    default_network,
    freeze,
)
from nas_lightning.supernet import ArchitectureParameters, EqualEdges, SoftmaxOps
from tests.spaces.choice.networks import ByHand, Chain

SPEC = {"in_channels": 3, "num_classes": 5, "image_size": 8}
HERE = "tests.spaces.choice.networks"
CHOSEN = {"kernel": "k3", "last": "deep", "activation": "relu"}


def factory(running_stats: bool = True) -> ChoiceSupernet:
    return ChoiceSupernet(f"{HERE}.Chain", running_stats=running_stats)


def genotype(space: ChoiceSpace, chosen: dict[str, str]) -> Genotype:
    empty = {"format": "nas-lightning genotype", "version": 2, "space": space.to_config()}
    return Genotype.from_dict({**empty, "choices": chosen})


def by_hand(network: Chain, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The mixture, written out."""

    def mix(choice: Choice, name: str, x: Tensor) -> Tensor:
        outs = [op(x) for op in choice.candidates.values()]
        return torch.einsum("o,obchw->bchw", weights[name], torch.stack(outs))

    def last(x: Tensor) -> Tensor:
        conv, inner = network.last.candidates["deep"].children()
        assert isinstance(inner, Choice)
        return weights["last"][0] * x + weights["last"][1] * mix(inner, "activation", conv(x))

    x = network.stem(x)
    for block in network.blocks:
        assert isinstance(block, Choice)
        x = mix(block, "kernel", x)
    out: Tensor = network.head(last(last(x)).mean((2, 3)))
    return out


def test_the_mixture_and_its_gradients() -> None:
    torch.manual_seed(0)
    made = factory()
    space = made.space_of(SPEC)
    assert space.choices == {
        "kernel": ["k1", "k3"], "last": ["skip", "deep"], "activation": ["tanh", "relu"],
    }  # fmt: skip
    supernet = made.build(SPEC, k=1).double()
    arch = ArchitectureParameters(space, SoftmaxOps(), EqualEdges(), seed=1).double()
    twin = copy.deepcopy(supernet.network)
    assert isinstance(twin, Chain)
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    out = supernet(x, arch())
    weights = {name: alpha.softmax(-1)[0] for name, alpha in arch.alpha.items()}
    wanted = by_hand(twin, x, weights)
    torch.testing.assert_close(out, wanted, rtol=1e-12, atol=1e-12)
    alphas = list(arch.alpha.values())
    found = torch.autograd.grad(out.square().sum(), [*alphas, *supernet.parameters()])
    again = torch.autograd.grad(wanted.square().sum(), [*alphas, *twin.parameters()])
    for one, other in zip(found, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert all(grad.abs().sum() > 0 for grad in found[: len(alphas)])


def test_a_frozen_network_is_the_one_written_by_hand() -> None:
    torch.manual_seed(0)
    searched = Chain(3, 5).double().eval()
    frozen = freeze(searched, CHOSEN)
    plain = ByHand(3, 5).double().eval()
    assert frozen.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(frozen.state_dict())
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert torch.equal(frozen(x), plain(x))
    assert not any(type(m).__module__.startswith("nas_lightning") for m in frozen.modules())
    # the searched network keeps its choices and shares no tensor
    assert any(isinstance(module, Choice) for module in searched.modules())
    pointers = {p.data_ptr() for p in searched.parameters()}
    assert not pointers & {p.data_ptr() for p in frozen.parameters()}


def test_one_hot_weights_compute_the_frozen_network() -> None:
    """One-shot evaluation rests on this; only the chosen candidates run."""
    torch.manual_seed(0)
    made = factory(running_stats=False)
    supernet = made.build(SPEC, k=1).double()
    found = genotype(made.space_of(SPEC), CHOSEN)
    mixing = one_hot(made.space_of(SPEC), found, torch.device("cpu"))
    ran: list[nn.Module] = []
    frozen = freeze(supernet.network, found).double()
    (k1, k3) = supernet.get_submodule("network.blocks.0.candidates").children()
    for op in (k1, k3):
        op.register_forward_hook(lambda module, *_: ran.append(module))
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(supernet(x, mixing), frozen(x))
    assert ran == [k3]


def test_the_genotype_builds_the_network_again() -> None:
    found = genotype(factory().space_of(SPEC), {**CHOSEN, "kernel": "k1"})
    again = Genotype.from_dict(found.to_dict())
    assert again == found
    assert again.space == found.space
    torch.manual_seed(0)
    retrained = default_network(again.space).build(again, SPEC)
    out, auxiliary = retrained(torch.randn(2, 3, 8, 8))
    assert out.shape == (2, 5)
    assert auxiliary is None
    assert retrained.get_submodule("network.blocks.0.0").kernel_size == (1, 1)
    wide = ChoiceNetwork(arguments={"width": 12}).build(found, SPEC)
    assert wide.get_submodule("network.head").in_features == 12


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TwoShapes", r"'four' returns \[2, 4, 8, 8\], 'five' returns \[2, 5, 8, 8\]"),
        ("Idle", "the network never calls the choice spare"),
        ("Plain", "has no choices: put a Choice into it"),
        ("SameName", "two choices have the name 'block': give each its own name"),
        ("OtherGroup", "group 'block' must have the same candidates, found a, b and a, c"),
        ("conv", r"conv is not a subclass of torch\.nn\.Module"),
        ("Missing", "has no attribute 'Missing'"),
        ("OnValues", r"'four' returns \[2, 4, 8, 8\], 'five' returns \[2, 5, 8, 8\]"),
        ("Raises", r"Raises\(num_classes=5\) cannot be built: no such width$"),
        ("Crash", r"Crash fails for images \[2, 3, 8, 8\]: Expected 3D .*"),
    ],
)
def test_networks_that_cannot_be_searched(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        ChoiceSupernet(f"{HERE}.{name}").space_of(SPEC)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({**CHOSEN, "kernel": "k9"}, "the choice 'kernel' has no candidate 'k9'; it has k1, k3"),
        ({"kernel": "k3"}, "the genotype does not decide the choice 'last'"),
        ({"kernel": "k3", "last": "deep"}, "does not decide the choice 'activation'"),
        ({**CHOSEN, "block": "k3"}, "Chain has no choice 'block'; it has activation, kernel, last"),
    ],
)
def test_genotypes_that_do_not_fit(chosen: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        freeze(Chain(3, 5), chosen)
    freeze(Chain(3, 5), {"kernel": "k1", "last": "skip"})  # the nested choice is gone


def test_choices_that_cannot_be_made() -> None:
    one = {"a": nn.Identity()}
    with pytest.raises(UsageError, match="the choice block has no candidates"):
        Choice({}, name="block")
    with pytest.raises(UsageError, match="must be a module, found builtin"):
        Choice({"a": torch.relu}, name="block")  # type: ignore[dict-item]
    for name in ("a b", "", "a.b", "keys"):
        with pytest.raises(UsageError, match="cannot be the name of a choice"):
            Choice(one, name=name)
    for name in ("a.b", "", "keys"):
        with pytest.raises(UsageError, match="cannot be the name of a candidate"):
            Choice({name: nn.Identity()})
    with pytest.raises(UsageError, match="give a name or a group, not both"):
        Choice(one, name="a", group="b")
    with pytest.raises(UsageError, match=r"the choice among a is open: .* call freeze"):
        Choice(one)(torch.zeros(1))


def test_arguments_come_from_the_data_unless_they_are_set() -> None:
    built = ChoiceSupernet(f"{HERE}.Chain", {"num_classes": 7, "width": 2}).build(SPEC, k=1)
    assert isinstance(built, MixedNetwork)
    assert built.get_submodule("network.head").out_features == 7
    with pytest.raises(UsageError, match="'depth'; its arguments are in_channels, num_classes, w"):
        ChoiceSupernet(f"{HERE}.Chain", {"depth": 7}).space_of(SPEC)
    with pytest.raises(UsageError, match="'depth'; it has no arguments, and the data sets"):
        ChoiceSupernet(f"{HERE}.SameName", {"depth": 7}).space_of(SPEC)
    with pytest.raises(UsageError, match="PartialChannels: the candidates"):
        factory().build(SPEC, k=4)
