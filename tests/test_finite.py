"""What is said of losses and gradients that are not finite, before a step is taken."""

import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from nas_lightning.errors import DivergedError
from nas_lightning.finite import check_finite
from tests.processes import run_two_processes

FINITE = torch.tensor(1.0)
VALUES = [math.nan, math.inf, -math.inf]


class Net(nn.Module):
    """Five tensors of different shapes, with gradients, in the third batch of epoch 2."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        shapes = ((3, 2, 3, 3), (7,), (4, 5), (1,), (2, 6))
        self.parts = nn.ParameterList(torch.zeros(shape, dtype=dtype) for shape in shapes)
        for part in self.parts:
            part.grad = torch.randn(part.shape, generator=generator).to(dtype)
        fit_loop = SimpleNamespace(batch_idx=3)
        self.trainer = SimpleNamespace(current_epoch=2, global_step=11, fit_loop=fit_loop)


def check(net: Any, loss: Tensor = FINITE, **kwargs: Any) -> None:
    check_finite(net, "weight step", loss, SGD(net.parameters(), lr=0.025), **kwargs)


def gradient(net: Net, index: int) -> Tensor:
    found: Tensor | None = net.parts[index].grad
    assert found is not None
    return found


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("seed", range(5))
def test_one_broken_entry_anywhere_is_found_and_named(seed: int, value: float) -> None:
    net, place = Net(), random.Random(seed)
    check(net)
    index = place.randrange(len(net.parts))
    flat = gradient(net, index).view(-1)
    flat[place.randrange(len(flat))] = value
    with pytest.raises(DivergedError) as caught:
        check(net)
    kind = "nan" if math.isnan(value) else "inf"
    assert str(caught.value) == (
        "epoch 2, batch 3 (step 11): loss of the weight step 1, gradient not finite in "
        f"parts.{index} (1 {kind} of {len(flat)}), learning rate 0.025"
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_in_other_precisions(dtype: torch.dtype) -> None:
    net = Net(dtype)
    check(net)
    gradient(net, 2)[1, 1] = math.nan
    with pytest.raises(DivergedError, match=r"parts\.2 \(1 nan of 20\)"):
        check(net)


def test_large_but_finite_gradients_pass() -> None:
    net = Net()
    for index in range(len(net.parts)):
        gradient(net, index).fill_(1e38)  # the square of which is not finite
    assert not math.isfinite(float(torch.nn.utils.get_total_norm(gradient(net, 0))))
    check(net)


@pytest.mark.parametrize("value", VALUES)
def test_a_loss_alone_is_enough(value: float) -> None:
    with pytest.raises(DivergedError, match=f"step {value:g}, all gradients finite, learning"):
        check(Net(), torch.tensor(value))


def test_what_has_no_gradient_is_passed_over() -> None:
    net = Net()
    for part in net.parts:
        part.grad = None
    check(net)
    net.parts[1].grad = torch.full((7,), math.inf)
    with pytest.raises(DivergedError, match=r"in parts\.1 \(7 inf of 7\), learning"):
        check(net)


def test_a_long_list_is_cut() -> None:
    net = Net()
    gradient(net, 0).view(-1)[:5] = torch.tensor([math.nan, math.nan, math.inf, 0.0, -math.inf])
    for index in range(1, 5):
        gradient(net, index).fill_(math.nan)
    with pytest.raises(
        DivergedError, match=r"in parts\.0 \(2 nan, 2 inf of 54\), parts\.1 .*, parts\.2 .* and 2 m"
    ):
        check(net)


def test_a_gradient_scaler_is_left_to_its_work_but_not_a_broken_loss() -> None:
    net = Net()
    gradient(net, 0).fill_(math.inf)
    check(net, scaled=True)
    with pytest.raises(DivergedError, match="loss of the weight step nan"):
        check(net, torch.tensor(math.nan), scaled=True)


def one_rank_is_broken(folder: Path) -> None:
    """What each of the two processes does: only the second one's loss is not finite."""
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    check(Net(), torch.tensor(3.0))
    try:
        check(Net(), torch.tensor(math.inf if rank else 3.0))
    except DivergedError as error:
        (folder / f"{rank}.txt").write_text(str(error), encoding="utf-8")
    torch.distributed.destroy_process_group()


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_say_the_same(tmp_path: Path) -> None:
    run_two_processes("tests.test_finite", "one_rank_is_broken", tmp_path)
    first, second = ((tmp_path / f"{rank}.txt").read_text("utf-8") for rank in range(2))
    assert "loss of the weight step inf, all gradients finite" in first
    assert first == second
