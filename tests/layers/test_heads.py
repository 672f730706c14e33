"""The dense head: its values and derivatives, and its place in networks."""

import pytest
import torch
from torch.nn import functional as F

from nas_lightning.architecture import random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.layers import DenseHead
from nas_lightning.layers.heads import upsample
from nas_lightning.spaces import DartsNetwork, DartsSupernet, get_space

SPEC = {"in_channels": 3, "num_classes": 5, "image_size": 32}


@pytest.mark.parametrize("scale", [1, 2, 3, 8])
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 1, 1, 5)])
def test_upsampling_is_bilinear(shape: tuple[int, ...], scale: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    found = upsample(x, scale)
    expected = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(found)
    derivatives = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (found, expected)]
    torch.testing.assert_close(*derivatives, rtol=1e-12, atol=1e-12)


def test_a_head_without_enlargement_is_a_linear_layer_at_each_pixel() -> None:
    head = DenseHead(4, 2, 1).double()
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    expected = torch.einsum("bchw,oc->bohw", x, head.conv.weight[:, :, 0, 0])
    assert head.conv.bias is not None
    torch.testing.assert_close(head(x), expected + head.conv.bias[:, None, None])


@pytest.mark.parametrize(("stem", "size"), [("cifar", 32), ("imagenet", 64)])
def test_supernet_and_network_have_an_output_at_each_pixel(stem: str, size: int) -> None:
    spec = {**SPEC, "image_size": size}
    genotype = random_genotype(get_space("darts"), seed=0)
    network = DartsNetwork(4, 6, stem, head="dense").build(genotype, spec, auxiliary=True)  # type: ignore[arg-type] # a name
    output, auxiliary = network.train()(torch.randn(2, 3, size, size))
    assert output.shape == auxiliary.shape == (2, 5, size, size)
    factory = DartsSupernet(4, 6, stem, nodes=2, head="dense")  # type: ignore[arg-type] # a name
    supernet = factory.build(spec, 1, auxiliary=True)
    assert isinstance(supernet.head, DenseHead)
    assert supernet.head.scale == (4 if stem == "cifar" else 32)
    assert isinstance(supernet.auxiliary, DenseHead)
    assert supernet.auxiliary.scale == supernet.head.scale


def test_images_of_other_sizes_are_enlarged_by_the_same_number() -> None:
    genotype = random_genotype(get_space("darts"), seed=0)
    network = DartsNetwork(4, 3, head="dense").build(genotype, SPEC).eval()
    assert network(torch.randn(2, 3, 16, 24))[0].shape == (2, 5, 16, 24)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="head must be classification or dense, found 'wide'"):
        DartsSupernet(4, 3, head="wide").build(SPEC, 1)  # type: ignore[arg-type] # on purpose
    with pytest.raises(UsageError, match="images of 94 pixels have features of 3"):
        DartsNetwork(4, 3, "imagenet", head="dense").build(
            random_genotype(get_space("darts"), seed=0), {**SPEC, "image_size": 94}
        )
