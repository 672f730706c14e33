"""Messages about losses and gradients that are not finite, before a step is taken."""

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
from nas_lightning.training.finite import Arrival, FiniteSteps, check_finite
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
        "epoch 3, batch 4 (step 11): loss of the weight step 1, gradient not finite in "
        f"parts.{index} (1 {kind} of {len(flat)}), learning rate 0.025"
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_in_other_precisions(dtype: torch.dtype) -> None:
    net = Net(dtype)
    check(net)
    gradient(net, 2)[1, 1] = math.nan
    with pytest.raises(DivergedError, match=r"parts\.2 \(1 nan of 20\)"):
        check(net)


def test_gradients_without_a_norm_are_refused() -> None:
    """Clipping would make zeros of them."""
    net = Net()
    gradient(net, 0).fill_(1e38)  # the square of which is not finite
    with pytest.raises(DivergedError, match="step 1, gradients too large to have a norm, learning"):
        check(net)


def test_the_norm_is_handed_out() -> None:
    net = Net(torch.float64)
    flat = torch.cat([gradient(net, index).flatten() for index in range(len(net.parts))])
    optimizer = SGD(net.parameters(), lr=0.025)
    norm = check_finite(net, "step", FINITE, optimizer)  # type: ignore[arg-type]
    late = FiniteSteps(Device().send).check(net, "step", FINITE, optimizer)  # type: ignore[arg-type]
    assert float(norm) == float(late) == pytest.approx(float(flat.square().sum().sqrt()), rel=1e-12)


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
    """The work of each of the two processes; only the loss of the second is not finite."""
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


class Device:
    """Values take their time to the host: they are read, in order, only when they are waited for.

    Attributes:
        waited: For each value that was waited for, how many had been sent by then.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.waited: list[tuple[int, int]] = []

    def send(self, values: Tensor) -> Arrival:
        """Begin to copy."""
        number, copied = self.sent, values.clone()
        self.sent += 1

        def arrived() -> Tensor:
            self.waited.append((number, self.sent))
            return copied

        return arrived


def late(steps: FiniteSteps, net: Net, loss: Tensor = FINITE, **kwargs: Any) -> None:
    steps.check(net, "weight step", loss, SGD(net.parameters(), lr=0.025), **kwargs)  # type: ignore[arg-type]


def test_a_late_answer_is_looked_at_so_many_steps_later() -> None:
    device, net = Device(), Net()
    steps = FiniteSteps(device.send, lag=3)
    for batch in range(5):
        net.trainer.fit_loop.batch_idx = batch
        late(steps, net, torch.tensor(math.nan if batch == 2 else 1.0))
    # the answers of steps 0 and 1, each when three more had been sent
    assert device.waited == [(0, 4), (1, 5)]
    with pytest.raises(DivergedError) as caught:
        late(steps, net)
    assert str(caught.value) == (
        "epoch 3, batch 3 (step 11): loss of the weight step nan, norm of its gradients "
        f"{norm(net):g}, learning rate 0.025"
    )
    assert caught.value.taken


def test_by_default_an_answer_is_looked_at_four_steps_later() -> None:
    """The GPU has the time of two batches of a search, and a broken run ends soon."""
    device, net = Device(), Net()
    steps = FiniteSteps(device.send)
    for _ in range(6):
        late(steps, net)
    assert device.waited == [(0, 5), (1, 6)]


def norm(net: Net) -> float:
    squares = [float(gradient(net, i).square().sum()) for i in range(len(net.parts))]
    return math.sqrt(sum(squares))


def test_settling_looks_at_all_that_are_on_their_way() -> None:
    device, net = Device(), Net()
    steps = FiniteSteps(device.send, lag=3)
    late(steps, net)
    gradient(net, 1)[3] = -math.inf
    late(steps, net)
    assert device.waited == []
    with pytest.raises(DivergedError, match="step 1, norm of its gradients inf"):
        steps.settle()
    assert device.waited == [(0, 2), (1, 2)]
    steps.settle()  # nothing is left


def test_what_was_sent_is_not_what_stands_there_later() -> None:
    """The gradients of the next step overwrite those that were asked about."""
    device, net = Device(), Net()
    steps = FiniteSteps(device.send)
    gradient(net, 0).fill_(math.nan)
    late(steps, net)
    gradient(net, 0).fill_(0)
    with pytest.raises(DivergedError):
        steps.settle()


def test_at_once_names_the_tensor_and_is_not_taken() -> None:
    device, net = Device(), Net()
    gradient(net, 1)[3] = math.nan
    with pytest.raises(DivergedError, match=r"in parts\.1 \(1 nan of 7\)") as caught:
        late(FiniteSteps(device.send), net, at_once=True)
    assert not caught.value.taken
    assert device.sent == 0
    with pytest.raises(DivergedError, match=r"in parts\.1 \(1 nan of 7\)"):
        late(FiniteSteps(), net)  # the CPU always looks at once


def test_an_earlier_run_is_forgotten() -> None:
    steps = FiniteSteps(Device().send)
    late(steps, Net(), torch.tensor(math.nan))
    steps.forget()
    steps.settle()
