"""The counters against modules whose work is counted by hand."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from nas_lightning.bench.counters import Dispatched, Saved, count

FLOAT = 4  # bytes


def test_views_and_empty_tensors_are_no_kernels() -> None:
    x = torch.ones(4, 6)
    with Dispatched() as found:
        x.t().reshape(24)  # a copy: 1
        x.view(2, 12).unbind()
        torch.split(x, 2)[0].detach().unsqueeze(0).expand(3, 2, 6)
        torch.empty_like(x)
        x.new_empty(3)
        (x @ x.t()).add_(1)  # a product and an addition: 2
    assert found.kernels == 3


def test_forward_and_backward_kernels() -> None:
    x, w = torch.ones(3, 2), torch.ones(2, 5, requires_grad=True)
    with Dispatched() as found:
        loss = (x @ w).relu().sum()  # three
        torch.autograd.backward(
            loss
        )  # ones for the loss, threshold, product; sum's derivative is a view
    assert found.kernels == 6
    assert w.grad is not None


def test_the_peak_of_what_lives_at_one_time() -> None:
    x = torch.ones(100)  # there before: does not count
    with Dispatched() as found:
        a = x + 1
        b = a * 2  # two alive
        del a
        c = b - 1  # two alive
        del b
        c.mul_(3)  # writes into what is there
        d = c.view(10, 10)[2:]  # a view
        del c
        e = d.sum()  # 100 numbers and one
    assert found.peak_bytes == 200 * FLOAT
    assert float(e) == 80 * 9


def test_a_storage_counts_again_when_its_place_is_used_again() -> None:
    with Dispatched() as found:
        for size in (10, 1000, 10):
            torch.zeros(size)
    assert found.peak_bytes == 1000 * FLOAT


def test_saved_bytes_of_a_known_graph() -> None:
    w = torch.ones(10, requires_grad=True)
    saved = Saved([w])
    with saved.hooks():
        a = w * w  # saves w twice, which is there anyway
        b = a.exp()  # saves its result
        c = b * b  # saves b twice: the storage that exp saved
        torch.autograd.backward(c.sigmoid().sum())  # saves its result
    assert saved.peak_bytes == 20 * FLOAT


def test_saved_bytes_are_given_back_by_backward() -> None:
    w = torch.ones(10, requires_grad=True)
    saved = Saved()
    with saved.hooks():
        for _ in range(3):
            torch.autograd.backward(w.exp().sum())
    assert saved.peak_bytes == 10 * FLOAT


def test_saved_bytes_that_no_backward_pass_reads_are_given_back_too() -> None:
    w, alpha = torch.ones(10, requires_grad=True), torch.ones((), requires_grad=True)
    saved = Saved([w, alpha])
    with saved.hooks():
        for _ in range(3):
            # on the way to α, the node of exp, which saves its own result, is not run
            torch.autograd.grad((alpha * w.exp()).sum(), alpha)
    assert saved.peak_bytes == 10 * FLOAT


def test_saved_bytes_of_a_view_are_those_of_its_storage() -> None:
    w = torch.ones(10, requires_grad=True)
    saved = Saved([w])
    with saved.hooks():
        b = w + 1
        torch.autograd.backward((b[:5] * b[5:]).sum())  # two halves of one storage
    assert saved.peak_bytes == 10 * FLOAT


def test_checkpointing_lowers_the_peak() -> None:
    layers = nn.ModuleList(nn.Sequential(*(nn.Tanh() for _ in range(6))) for _ in range(4))
    x = torch.ones(1000, requires_grad=True)

    def peak(checkpointed: bool) -> int:
        def step() -> Tensor:
            y = x
            for layer in layers:
                y = checkpoint(layer, y, use_reentrant=False) if checkpointed else layer(y)
            total: Tensor = y.sum()
            torch.autograd.backward(total)
            return total

        with Dispatched() as found:
            step()
        return int(found.peak_bytes)

    # 24 results are kept, or one for each layer and six of the layer that is computed again
    assert peak(checkpointed=False) >= 24 * 1000 * FLOAT
    assert peak(checkpointed=True) <= 14 * 1000 * FLOAT


def test_everything_together() -> None:
    layer = nn.Linear(3, 5, bias=False)
    x = torch.ones(7, 3)

    def step() -> None:
        layer.zero_grad()
        torch.autograd.backward(layer(x).sum())

    found = count(step, layer.parameters(), torch.device("cpu"), 0)
    # forward and the derivative of the weight: 7 · 3 · 5 multiply-adds each
    assert found.flops == 2 * 2 * 7 * 3 * 5
    assert found.launches is None
    assert found.saved_bytes == 7 * 3 * FLOAT  # the input
    # what the product gives, the loss, its derivative, and the gradient of the weight
    assert found.peak_bytes >= (7 * 5 + 1) * FLOAT


def test_flops_are_those_of_torchs_counter() -> None:
    layers = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4), nn.Conv2d(4, 6, 1), nn.ReLU()
    )

    def step() -> None:
        torch.autograd.backward(layers(torch.ones(2, 4, 8, 8)).mean((2, 3)).sum())

    with FlopCounterMode(display=False) as expected:
        step()
    with Dispatched() as found:
        step()
    assert found.flops == expected.get_total_flops() > 0
