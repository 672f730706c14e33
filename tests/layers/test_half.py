"""Convolutions in bfloat16 on a CPU."""

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.layers.half import DepthwiseConv2d
from nas_lightning.layers.primitives import PRIMITIVES, RETRAIN_NORM
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import DartsNetwork
from nas_lightning.spaces.darts import DARTS_PRIMITIVES
from tests.conftest import SPEC, TrainerFactory


def gradients(conv: nn.Module, x: Tensor, up: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Output and gradients, with images and kernels that are exact in bfloat16."""
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        out: Tensor = conv(x)
    assert out.dtype == dtype
    grads = torch.autograd.grad(out, [x, *conv.parameters()], up.to(dtype))
    return [out, *grads]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_depthwise_convolution_in_bfloat16(
    kernel: int, stride: int, dilation: int, layout: torch.memory_format
) -> None:
    """Images of 32x32 pixels in channels-last format are those that oneDNN computes wrongly."""
    torch.manual_seed(0)
    padding = dilation * (kernel - 1) // 2
    conv = DepthwiseConv2d(8, 8, kernel, stride, padding, dilation, groups=8, bias=False)
    conv = conv.bfloat16().float().to(memory_format=layout)
    x = torch.randn(4, 8, 32, 32).bfloat16().float().contiguous(memory_format=layout)
    up = torch.randn(4, 8, 32 // stride, 32 // stride).bfloat16()
    plain = nn.Conv2d(8, 8, kernel, stride, padding, dilation, groups=8, bias=False).double()
    plain.load_state_dict(conv.state_dict())
    wanted = gradients(plain, x.double(), up, torch.float64)
    # memory that was freed with NaN in it shows what reads memory that nobody wrote
    for _ in range(3):
        junk = [torch.full((2**n,), torch.nan) for n in range(8, 20)]
        del junk
        for one, other in zip(gradients(conv, x, up, torch.bfloat16), wanted, strict=True):
            assert (one.double() - other).norm() < 0.01 * other.norm()


@pytest.mark.parametrize("name", DARTS_PRIMITIVES)
def test_primitives_convolve_depthwise_with_it(name: str) -> None:
    network = PRIMITIVES[name](8, 1, RETRAIN_NORM)
    depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert all(isinstance(m, DepthwiseConv2d) for m in depthwise)
    assert bool(depthwise) == ("sep" in name or "dil" in name)


def test_dilated_convolutions_of_the_user_are_refused(make_trainer: TrainerFactory) -> None:
    module = RetrainModule(SPEC, "DARTS_V2", DartsNetwork(4, 3), auxiliary_weight=0.0)
    conv = module.network.get_submodule("stem.body.0")
    assert isinstance(conv, nn.Conv2d)
    conv.dilation = conv.padding = (2, 2)
    images = Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=48, test_size=16, batch_size=8,
        mode="retrain",
    )  # fmt: skip
    with pytest.raises(
        UsageError, match=r"network.stem.body.0: .*set trainer.precision to 32-true"
    ):
        make_trainer(precision="bf16-mixed", max_epochs=1).fit(module, datamodule=images)
    make_trainer(precision="32-true", max_epochs=1, limit_train_batches=1).fit(
        module, datamodule=images
    )


def test_networks_are_counted_on_the_meta_device() -> None:
    """That device knows no autocast."""
    conv = DepthwiseConv2d(8, 8, 3, 1, 2, 2, groups=8, device="meta")
    assert conv(torch.empty(1, 8, 6, 6, device="meta")).shape == (1, 8, 6, 6)
