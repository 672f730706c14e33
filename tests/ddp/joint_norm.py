"""Batch norm over the batches of all processes together, for the CPU and any derivative.

torch's SyncBatchNorm refuses the CPU. With it N processes of batch B / N compute what one process
does with batch B, second derivatives too, so they can be compared to rounding.
"""

import functools
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@functools.cache
def own_group() -> dist.ProcessGroup:
    """Apart from the group in which DDP reduces at the same time."""
    group = dist.new_group()
    assert isinstance(group, dist.ProcessGroup)  # not for those outside it
    return group


class SumOverRanks(torch.autograd.Function):
    """The sum over all processes; so is its derivative, and that one's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=own_group())
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return sum_over_ranks(grads[0])


def sum_over_ranks(x: Tensor) -> Tensor:
    total: Tensor = SumOverRanks.apply(x)
    return total


class JointBatchNorm(_BatchNorm):
    """Normalises by mean and variance of the whole batch; all processes hold as much of it."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (torch's name)
        assert input.dim() in (2, 4)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        dims = [0, *range(2, input.dim())]
        shape = [1, -1, *([1] * (input.dim() - 2))]
        count = input.numel() // input.shape[1] * dist.get_world_size()
        # one reduction, not two: the difference below loses nothing that matters in float64
        sums = sum_over_ranks(torch.stack((input.sum(dims), input.square().sum(dims))))
        mean, square = (sums / count).unbind()
        var = square - mean.square()
        if self.training and self.running_mean is not None and self.running_var is not None:
            assert self.momentum is not None
            assert self.num_batches_tracked is not None
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * count / (count - 1), self.momentum)
        out = (input - mean.view(shape)) * (var + self.eps).rsqrt().view(shape)
        return out * self.weight.view(shape) + self.bias.view(shape) if self.affine else out


def join_norms(module: nn.Module) -> None:
    """Make every batch norm of a module a joint one, in place; it keeps what it holds."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.__class__ = JointBatchNorm


def derivatives(joint: bool) -> dict[str, Tensor]:
    """Output of a norm in training, and derivatives of a loss by its input, for a test.

    Args:
        joint: Each of two processes has a half of the samples; otherwise there is one process.

    Returns:
        For all samples of this process: `output`, `first` derivative, `second` derivative along
        fixed numbers; `running` statistics, and `weight`, the derivative by the norm's weight.
    """
    torch.manual_seed(0)
    samples, along = torch.randn(2, 6, 3, 4, 4, dtype=torch.float64).unbind()
    norm = nn.BatchNorm2d(3, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    if joint:
        half = slice(3 * dist.get_rank(), 3 * dist.get_rank() + 3)
        samples, along = samples[half], along[half]
        join_norms(norm)
    x = samples.clone().requires_grad_()
    output = norm(x)
    loss = (output.exp() * along).sum()
    (first, weight) = torch.autograd.grad(loss, [x, norm.weight], create_graph=True)
    (second,) = torch.autograd.grad((first * along).sum(), [x])
    assert norm.running_var is not None
    found = {"output": output, "first": first, "second": second, "weight": weight}
    return {name: value.detach() for name, value in found.items()} | {"running": norm.running_var}
