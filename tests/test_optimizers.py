"""Optimizers that step in one operation, against the same ones that do not."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, AdamW, Optimizer, RMSprop, SparseAdam

from nas_lightning.errors import UsageError
from nas_lightning.training.optimizers import check_optimizer, fuse, prepare

MADE: list[Callable[[Any], Optimizer]] = [
    partial(SGD, lr=0.1),
    partial(SGD, lr=0.1, momentum=0.9, weight_decay=3e-4),
    partial(SGD, lr=0.1, momentum=0.9, nesterov=True),
    partial(Adam, lr=0.1, betas=(0.5, 0.999), weight_decay=1e-3),
    partial(AdamW, lr=0.1, amsgrad=True),
]


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((3, 2), (4,), (2, 3, 3, 3))
    values = [torch.randn(size, dtype=torch.float64, generator=generator) for size in sizes]
    return [nn.Parameter(value) for value in values]


def steps(optimizer: Optimizer, learned: list[nn.Parameter], first: int, last: int) -> list[Tensor]:
    """Parameters after steps, in each of which another one has no gradient."""
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        for i, value in enumerate(learned):
            drawn = torch.randn(value.shape, dtype=value.dtype, generator=generator)
            grad = torch.empty_like(value).copy_(drawn)  # in the layout of the parameter
            value.grad = None if i == step % len(learned) else grad
        optimizer.step()
    return [value.detach().clone() for value in learned]


@pytest.mark.parametrize("make", MADE, ids=str)
def test_it_steps_as_ever(make: Callable[[Any], Optimizer]) -> None:
    own, other = parameters(), parameters()
    fused = fuse(make(own))
    assert fused.param_groups[0]["fused"]
    found, expected = steps(fused, own, 0, 7), steps(make(other), other, 0, 7)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("make", MADE, ids=str)
def test_a_state_of_another_memory_layout_is_laid_out_again(
    make: Callable[[Any], Optimizer],
) -> None:
    """A fused step on a CPU would read it in the wrong order, without a word."""
    own, other = parameters(), parameters()
    plain, before = make(own), prepare(make(other))
    steps(plain, own, 0, 2)
    steps(before, other, 0, 2)
    kernel = other[2].detach().contiguous(memory_format=torch.channels_last)
    assert kernel.stride() != other[2].stride()
    resumed = [nn.Parameter(value) for value in (*other[:2], kernel)]
    again = prepare(make(resumed))
    again.load_state_dict(copy.deepcopy(before.state_dict()))
    found, expected = steps(again, resumed, 2, 7), steps(plain, own, 2, 7)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("make", MADE, ids=str)
def test_it_goes_on_where_a_state_left_off(make: Callable[[Any], Optimizer]) -> None:
    """To the last bit, also with gradients that some parameters had not had by then."""
    own = parameters()
    fused = fuse(make(own))
    steps(fused, own, 0, 1)
    resumed = [nn.Parameter(value.detach().clone()) for value in own]
    again = fuse(make(resumed))
    again.load_state_dict(copy.deepcopy(fused.state_dict()))
    for found, expected in zip(steps(again, resumed, 1, 5), steps(fused, own, 1, 5), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("make", MADE, ids=str)
def test_states_of_others_go_on_as_they_were(make: Callable[[Any], Optimizer]) -> None:
    """A checkpoint of an earlier version says that nothing was fused, and lacks some buffers."""
    own = parameters()
    plain = make(own)
    steps(plain, own, 0, 1)
    resumed = [nn.Parameter(value.detach().clone()) for value in own]
    again = fuse(make(resumed))
    again.load_state_dict(copy.deepcopy(plain.state_dict()))
    torch.testing.assert_close(
        steps(again, resumed, 1, 5), steps(plain, own, 1, 5), rtol=1e-12, atol=0
    )


def test_what_is_told_to_be_fused_may_lack_gradients() -> None:
    own, other = parameters(), parameters()
    told = fuse(SGD(own, lr=0.1, momentum=0.9, fused=True))
    expected = steps(SGD(other, lr=0.1, momentum=0.9), other, 0, 4)
    torch.testing.assert_close(steps(told, own, 0, 4), expected, rtol=1e-12, atol=0)


def test_a_first_gradient_is_never_dampened() -> None:
    """By PyTorch's SGD, fused or not."""
    found = []
    for told in ({"fused": True}, {}):
        own = parameters()
        optimizer = fuse(SGD(own, lr=0.1, momentum=0.9, dampening=0.5, **told))
        for value in own:
            value.grad = torch.ones_like(value)
        for _ in range(3):
            optimizer.step()
        found.append([value.detach() for value in own])
    torch.testing.assert_close(*found, rtol=1e-12, atol=0)
    first = parameters()[0].detach() - 0.1 * (1 + (0.9 + 0.5) + (0.9 * 1.4 + 0.5))
    torch.testing.assert_close(found[0][0], first, rtol=1e-12, atol=0)


def test_what_is_told_how_to_step_does_so() -> None:
    for told in (
        {"foreach": True},
        {"foreach": False},
        {"fused": False},
        {"differentiable": True},
        {"dampening": 0.1},
    ):
        optimizer = fuse(SGD(parameters(), lr=0.1, momentum=0.9, **told))
        assert not optimizer.param_groups[0]["fused"]
        assert not optimizer.state


def test_others_stay_as_they_are() -> None:
    class Own(SGD):
        """Whose step may be another."""

    for optimizer in (Own(parameters(), lr=0.1, momentum=0.9), RMSprop(parameters())):
        assert fuse(optimizer) is optimizer
        assert not optimizer.param_groups[0].get("fused")
        assert not optimizer.state
    whole = fuse(SGD([torch.zeros(2, device="meta", requires_grad=True)], lr=0.1))
    assert not whole.param_groups[0]["fused"]


CHANGES: list[tuple[type[Optimizer], dict[str, Any], dict[str, Any]]] = [
    (SGD, {}, {"momentum": 0.9}),
    (SGD, {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
    (SGD, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.5}),
    (Adam, {}, {"amsgrad": True, "betas": (0.5, 0.9), "eps": 1e-3}),
    (AdamW, {"weight_decay": 0.1}, {"weight_decay": 0.2}),
    (RMSprop, {}, {"momentum": 0.9, "centered": True}),
]


@pytest.mark.parametrize(("kind", "before", "now"), CHANGES)
def test_a_load_keeps_the_settings_and_takes_the_state(
    kind: Any, before: dict[str, Any], now: dict[str, Any]
) -> None:
    """The steps after it are those of an optimizer whose settings were changed in place."""
    own, other = parameters(), parameters()
    first = prepare(kind(own, lr=0.1, **before))
    steps(first, own, 0, 3)
    for value, loaded in zip(other, own, strict=True):
        value.data.copy_(loaded)
    again = prepare(kind(other, lr=0.2, **now))
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    first.param_groups[0].update(lr=0.2, **now)
    for value in own:  # PyTorch's own steps need these entries
        zeros = {"max_exp_avg_sq": 0, "grad_avg": 0, "momentum_buffer": 0}
        state = first.state[value]
        state.update({key: torch.zeros_like(value) for key in zeros if key not in state})
    if "dampening" in now:
        first.param_groups[0]["fused"] = None
    torch.testing.assert_close(
        steps(again, other, 3, 7), steps(first, own, 3, 7), rtol=1e-12, atol=0
    )
    assert {k: again.param_groups[0][k] for k in now} == now


def test_a_state_that_an_optimizer_keeps_among_its_settings_is_loaded() -> None:
    class Counting(Optimizer):
        """As Prodigy and the schedule-free optimizers do."""

        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(params, {"lr": lr, "count": 0})

        def step(self, closure: Any = None) -> None:  # type: ignore[override] # no loss
            self.param_groups[0]["count"] += 1

    first, again = (prepare(Counting(parameters(), lr=lr)) for lr in (0.1, 0.2))
    first.step()
    again.load_state_dict(first.state_dict())
    assert again.param_groups[0]["count"] == 1
    assert again.param_groups[0]["lr"] == 0.2


def wrong_argument(params: Any) -> Optimizer:
    arguments: Any = {"rate": 0.1}
    return SGD(params, **arguments)


class Flawed(SGD):
    """Fails in its step."""

    def step(self, closure: Any = None) -> Any:
        raise RuntimeError("no\nluck:")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (LBFGS, "LBFGS computes the loss several times in a step, .*: use SGD, Adam or AdamW"),
        (SparseAdam, "SparseAdam cannot take a step: SparseAdam does not support dense gradients"),
        (partial(SGD, lr=-1.0), r"Invalid learning rate: -1\.0"),
        (partial(SGD, lr=float("nan")), "lr of SGD must be finite, found nan"),
        (partial(SGD, lr=1e300), r"lr of SGD must be finite, found 1e\+300"),
        (partial(SGD, lr=0.1, weight_decay=float("inf")), "weight_decay of SGD must be finite"),
        (partial(Adam, betas=(0.9, 1.5)), "Invalid beta parameter"),
        (partial(Adam, eps=float("nan")), "eps"),
        (Flawed, "Flawed cannot take a step: no luck"),
        (wrong_argument, "unexpected keyword argument 'rate'"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_optimizers_that_cannot_work_are_refused(make: Any, text: str) -> None:
    with pytest.raises(UsageError, match=rf"^model\.optimizer: .*{text}") as caught:
        check_optimizer("model.optimizer", make, parameters())
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(":")


def test_the_check_changes_nothing() -> None:
    own = parameters()
    groups = [{"params": own[:1], "name": "alpha"}, {"params": own[1:], "name": "beta"}]
    for given in (own, groups):
        check_optimizer("model.arch_optimizer", partial(SGD, lr=0.1, momentum=0.9), given)
    assert all(value.grad is None for value in own)
    for value, fresh in zip(own, parameters(), strict=True):
        assert torch.equal(value, fresh)
