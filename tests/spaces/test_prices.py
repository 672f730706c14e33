"""Costs of candidates: their sum is what the network of a genotype counts, in every space."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas_lightning.architecture import Genotype, NetworkFactory, SearchSpace, random_genotype
from nas_lightning.architecture.cost import count_parameters
from nas_lightning.architecture.prices import Prices
from nas_lightning.architecture.resources import MultiplyAdds, Parameters, Resource
from nas_lightning.errors import UsageError
from nas_lightning.layers.text import TextInput
from nas_lightning.operators import Blur
from nas_lightning.search import one_hot
from nas_lightning.search.selection import Selection
from nas_lightning.spaces import (
    Choice,
    ChoiceNetwork,
    ChoiceSupernet,
    DartsNetwork,
    DartsSpace,
    IndividualDartsSpace,
    NasBench201Network,
    NasBench201Space,
    ReconstructionNetwork,
    ReconstructionSpace,
    RecurrentNetwork,
    RecurrentSpace,
    family_of,
)

IMAGES = {"in_channels": 3, "num_classes": 5, "image_size": 16}
SIGNALS = {"in_channels": 1, "image_size": 16, "dims": 1, "operator": Blur().to_config()}
CHAIN = ChoiceSupernet("tests.spaces.choice.networks.Chain")
MOBILE = ChoiceSupernet(
    "nas_lightning.spaces.mobile.MobileNetwork",
    {"width": 0.2, "blocks": [2, 1, 1, 1, 1, 1], "small_images": True},
)
DEEP = ChoiceSupernet("tests.spaces.nested.Nested")
CASES: dict[str, tuple[SearchSpace, NetworkFactory, dict[str, Any]]] = {
    "darts": (DartsSpace(), DartsNetwork(6, 5), IMAGES),
    "imagenet stem": (DartsSpace(2), DartsNetwork(4, 4, "imagenet"), {**IMAGES, "image_size": 32}),
    "individual": (IndividualDartsSpace(4, 2), DartsNetwork(4, 4), IMAGES),
    "nas_bench_201": (NasBench201Space(), NasBench201Network(4, 2), IMAGES),
    "recurrent": (RecurrentSpace(3), RecurrentNetwork(hidden=6), {"num_tokens": 11}),
    "reconstruction": (ReconstructionSpace(3), ReconstructionNetwork(3, 4), SIGNALS),
    "choice": (CHAIN.space_of(IMAGES), ChoiceNetwork(), IMAGES),
    "wider choice": (CHAIN.space_of(IMAGES), ChoiceNetwork(None, {"width": 7}), IMAGES),
    "mobile": (MOBILE.space_of(IMAGES), ChoiceNetwork(), IMAGES),
    "nested choice": (DEEP.space_of(IMAGES), ChoiceNetwork(), IMAGES),
}  # fmt: skip


def inputs(name: str) -> Any:
    """A real input for one sample."""
    if name == "recurrent":
        return TextInput(torch.zeros(1, 1, dtype=torch.long))
    size = CASES[name][2]["image_size"]
    return torch.randn(1, 3, size, size)


def counted(name: str, genotype: Genotype, resource: type[Resource]) -> int:
    """Count the network itself, with real tensors."""
    _, factory, spec = CASES[name]
    network = factory.build(genotype, spec).eval()
    if resource is Parameters:
        return count_parameters(network)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(inputs(name))
    return counter.get_total_flops() // 2


def prices_of(name: str, resource: type[Resource]) -> Prices:
    space, factory, spec = CASES[name]
    return family_of(space).prices(space, factory, spec, resource())


@pytest.mark.parametrize("resource", [Parameters, MultiplyAdds])
@pytest.mark.parametrize("name", CASES)
def test_one_hot_weights_cost_what_the_network_of_the_genotype_counts(
    name: str, resource: type[Resource]
) -> None:
    space = CASES[name][0]
    if name == "reconstruction" and resource is MultiplyAdds:
        with pytest.raises(UsageError, match=r"multiply-adds of .* set resource to parameters"):
            prices_of(name, resource)
        return
    prices = prices_of(name, resource)
    low, high = prices.bounds(space)
    selection = Selection(space, torch.device("cpu"))
    seen = set()
    for seed in range(4):
        genotype = random_genotype(space, seed)
        mixing = one_hot(space, genotype, torch.device("cpu"))
        exact = counted(name, genotype, resource)
        assert prices.of(genotype) == exact
        kept = {kind: weights.double() for kind, weights in selection.expected(mixing).items()}
        assert float(prices.total(kept)) == exact
        assert low <= exact <= high
        seen.add(exact)
    assert (len(seen) == 1) == (name == "recurrent")  # all recurrent cells cost the same


@pytest.mark.parametrize("name", ["darts", "nas_bench_201", "choice", "nested choice"])
@pytest.mark.parametrize("resource", [Parameters, MultiplyAdds])
def test_the_bounds_are_those_of_the_cheapest_and_the_dearest_candidates(
    name: str, resource: type[Resource]
) -> None:
    space = CASES[name][0]
    prices = prices_of(name, resource)

    def extreme(largest: bool) -> float:
        """Cost of the network that takes the extreme candidate of each kind, alone or joined."""
        ops = {}
        for cell in space.cells:
            table: Any = sum(c.costs for c in prices.charges if c.kind == cell.kind)
            table = table if largest else -table
            columns = [m for m, p in enumerate(cell.primitives) if p not in space.excluded]
            allowed = torch.zeros(len(cell.primitives))
            allowed[columns] = 1
            ops[cell.kind] = (table - table.min() + 1) * allowed
        mixing = one_hot(space, random_genotype(space, 0), torch.device("cpu"))
        edges = {kind: torch.ones_like(weights) for kind, weights in mixing.edges.items()}
        kept = Selection(space, torch.device("cpu")).decided(type(mixing)(ops, edges))
        return float(prices.total(kept))

    low, high = prices.bounds(space)
    assert low <= extreme(largest=False) <= extreme(largest=True) <= high
    if "choice" not in name:
        assert (low, high) == (extreme(largest=False), extreme(largest=True))


def test_a_candidate_inside_another_is_charged_by_both_probabilities() -> None:
    prices = prices_of("nested choice", Parameters)
    space = CASES["nested choice"][0]
    p = {"outer": 0.3, "inner": 0.6}
    kept = {
        kind: torch.tensor([[1 - p[kind], p[kind]]], dtype=torch.float64) for kind in space.kinds
    }
    # outer: small (6 parameters) or deep (10 and an inner choice of 8 or 20)
    expected = prices.fixed + 0.7 * 6 + 0.3 * (10 + 0.4 * 8 + 0.6 * 20)
    assert float(prices.total(kept)) == pytest.approx(expected, rel=1e-12)


class Shared(nn.Module):
    """One module is a candidate of two choices."""

    def __init__(self) -> None:
        super().__init__()
        one = nn.Conv2d(3, 3, 1)
        self.a = Choice({"one": one, "skip": nn.Identity()})
        self.b = Choice({"one": one, "skip": nn.Identity()})

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        out: Tensor = self.b(self.a(x))
        return out


class Branching(nn.Module):
    """Branches on a value, which the meta device does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.a = Choice({"one": nn.Conv2d(3, 3, 1), "skip": nn.Identity()})

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        out: Tensor = self.a(x if float(x.sum()) > 0 else -x)
        return out


@pytest.mark.parametrize(
    ("network", "message"),
    [(Shared, "uses one module at two of its choices"), (Branching, "must run on the device meta")],
)
def test_networks_that_cannot_be_counted_are_refused(
    network: Callable[[], nn.Module], message: str
) -> None:
    path = f"{__name__}.{network.__name__}"
    factory = ChoiceSupernet(path)
    space = factory.space_of(IMAGES)
    with pytest.raises(UsageError, match=message):
        family_of(space).prices(space, ChoiceNetwork(), IMAGES, MultiplyAdds())


def test_images_of_unknown_size_have_no_multiply_adds() -> None:
    space, factory, spec = CASES["nas_bench_201"]
    unknown = {name: value for name, value in spec.items() if name != "image_size"}
    with pytest.raises(UsageError, match="no image_size: set resource to parameters"):
        family_of(space).prices(space, factory, unknown, MultiplyAdds())
    assert family_of(space).prices(space, factory, unknown, Parameters()).fixed > 0
