"""The space of ProxylessNAS: its sizes, its published networks, and a search in it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.architecture.cost import count_parameters, network_cost
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.layers import MBConv
from nas_lightning.layers.choice import Choice, choices_of
from nas_lightning.search import SearchModule
from nas_lightning.spaces import (
    ChoiceSupernet,
    MobileNetwork,
    MobileSpace,
    default_network,
    family_of,
    freeze,
    load_genotype,
)
from nas_lightning.spaces.mobile import rounded
from nas_lightning.strategies import BinaryGates
from tests.conftest import TrainerFactory

PATH = "nas_lightning.spaces.mobile.MobileNetwork"
IMAGENET = {"in_channels": 3, "num_classes": 1000, "image_size": 224}
SMALL: dict[str, Any] = {"width": 0.25, "blocks": [2, 1, 1, 1, 1, 1], "small_images": True}


def test_it_has_the_blocks_of_the_paper() -> None:
    space = ChoiceSupernet(PATH).space_of(IMAGENET)
    assert isinstance(space, MobileSpace)
    sizes = [len(cell.primitives) for cell in space.cells]
    assert len(sizes) == 21
    assert [row for row, size in enumerate(sizes) if size == 6] == [0, 4, 8, 12, 16, 20]
    assert sizes.count(7) == 15


def test_stem_head_and_sizes() -> None:
    """Of the images after each part, and the parameters that no block has, written out."""
    with torch.device("meta"):
        network = MobileNetwork(3, 1000)
    seen: list[tuple[int, ...]] = []
    for choice in [*network.blocks]:
        assert isinstance(choice, Choice)
        choice.register_forward_hook(lambda *_, seen=seen: seen.append(tuple(_[-1].shape[1:])))
        choice._weights = torch.ones(len(choice.names), device="meta")
    assert network(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 1000)
    stages = [(24, 56), (40, 28), (80, 14), (96, 14), (192, 7)]
    assert seen == [(c, s, s) for c, s in stages for _ in range(4)] + [(320, 7, 7)]
    rest = count_parameters(network) - count_parameters(network.blocks)
    stem = 3 * 9 * 32 + 2 * 32
    first = 9 * 32 + 2 * 32 + 32 * 16 + 2 * 16
    assert rest == stem + first + 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000


@pytest.mark.parametrize(
    ("name", "parameters", "millions"),
    [
        ("PROXYLESS_GPU", 7_119_848, 465),
        ("PROXYLESS_CPU", 4_361_648, 439),
        ("PROXYLESS_MOBILE", 4_080_512, 320),
    ],
)
def test_the_published_networks_have_the_published_number_of_parameters(
    name: str, parameters: int, millions: int
) -> None:
    """Those of the released weights; the multiply-adds are ours, to notice a change."""
    genotype = load_genotype(name)
    family = family_of(genotype.space)
    found = network_cost(default_network(genotype.space), genotype, family.data)
    assert found.parameters == parameters
    assert found.multiply_adds // 10**6 == millions


@pytest.mark.parametrize("channels", range(1, 400))
def test_widths_are_multiples_of_8_within_a_tenth(channels: int) -> None:
    found = rounded(channels)
    assert found % 8 == 0
    assert found >= 0.9 * channels
    assert abs(found - channels) <= 7 if channels >= 8 else found == 8


def test_a_search_its_genotype_and_its_network(
    make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    """The frozen network has the weights of the chosen blocks, and the file builds the network."""
    supernet = ChoiceSupernet(PATH, SMALL)
    module = SearchModule(search_data.data_spec, supernet, strategies=[BinaryGates()])
    make_trainer(limit_train_batches=2, limit_val_batches=1).fit(module, datamodule=search_data)
    genotype = module.genotype()
    genotype.save(tmp_path / "genotype.json")
    again = Genotype.load(tmp_path / "genotype.json")
    assert isinstance(again.space, MobileSpace)
    assert again == genotype
    network = module.supernet.get_submodule("network")
    frozen = freeze(network, again)
    assert not choices_of(frozen)
    built = default_network(again.space).build(again, search_data.data_spec)
    assert count_parameters(built) == count_parameters(frozen)
    images = torch.randn(4, 3, 8, 8)
    assert built.train()(images)[0].shape == (4, 4)


def test_a_skipped_block_is_an_identity() -> None:
    space = ChoiceSupernet(PATH, SMALL).space_of({**IMAGENET, "image_size": 32})
    network = MobileNetwork(3, 10, **SMALL)
    for seed in range(20):
        genotype = random_genotype(space, seed)
        frozen = freeze(network, genotype)
        (cell,) = (genotype.cells["block_01"],)
        kind = nn.Identity if cell.nodes[0][0].primitive == "skip_connect" else MBConv
        assert isinstance(frozen.get_submodule("blocks.1"), kind)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width must be at least 0.01"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"blocks": [4, 4]}, "blocks must have 6 numbers, one for each stage, found 2"),
        ({"blocks": [0] * 6}, "each of blocks must be at least 1"),
        ({"channels": [8] * 5}, "channels must have 6 numbers"),
        ({"candidates": ["skip_connect"]}, "list candidates once each, and at least one MBConv"),
        ({"candidates": ["mb3_3x3", "mb3_3x3"]}, "list candidates once each"),
        ({"candidates": ["mb3_3x5"]}, "no candidate 'mb3_3x5': the usual ones are mb3_3x3"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"MobileNetwork: {message}"):
        MobileNetwork(3, 10, **arguments)
