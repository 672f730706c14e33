"""The first-order architecture gradient on problems whose answer is known."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from nas_lightning.search import BilevelProblem, bilevel, first_order


def test_the_toy_problem_of_the_paper() -> None:
    """L_val = αw - 2α + 1 (DARTS, figure 2): the direct term is w - 2, whatever α is."""
    alpha = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    problem = BilevelProblem(
        inner=lambda: weight**2 - 2 * alpha * weight + alpha**2,
        outer=lambda: alpha * weight - 2 * alpha + 1,
        weights={"w": weight},
        arch={"alpha": alpha},
    )
    (gradient,) = first_order(problem)
    assert float(gradient) == -4.0


def test_the_inner_loss_has_no_part_in_it() -> None:
    alpha = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)

    def fail() -> torch.Tensor:
        raise AssertionError("first order never looks at the inner loss")

    problem = BilevelProblem(fail, lambda: (alpha**3).sum(), {}, {"alpha": alpha})
    torch.testing.assert_close(first_order(problem)[0], 3 * alpha.detach() ** 2)


def test_the_outer_pass_asks_nothing_of_the_weights() -> None:
    """Not even if the pass fails: afterwards, each requires what it required before."""
    alpha, weight, fixed = (torch.ones(2, requires_grad=i < 2) for i in range(3))
    asked: list[bool] = []

    def outer() -> Tensor:
        asked.append(weight.requires_grad)
        if len(asked) == 2:
            raise RuntimeError("out of memory")
        return (alpha * weight * fixed).sum()

    problem = BilevelProblem(outer, outer, {"w": weight, "fixed": fixed}, {"alpha": alpha})
    assert first_order(problem)[0].tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="memory"):
        first_order(problem)
    assert asked == [False, False]
    assert weight.requires_grad
    assert not fixed.requires_grad


def test_an_outer_loss_of_weights_alone_has_the_gradient_zero() -> None:
    alpha, weight = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    problem = BilevelProblem(weight.sum, weight.sum, {"w": weight}, {"alpha": alpha})
    assert first_order(problem)[0].tolist() == [0.0, 0.0]


def test_every_derivative_is_averaged_over_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/ddp/test_pair.py` compares whole runs; here the mean stands for itself."""
    given: list[list[Tensor]] = []

    def mean(values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        given.append(list(values))
        return tuple(value + 10 for value in values)

    monkeypatch.setattr(bilevel, "mean_over_ranks", mean)
    alpha = torch.tensor([1.0, 2.0], requires_grad=True)
    unused = torch.tensor([3.0], requires_grad=True)
    problem = BilevelProblem(
        lambda: alpha.sum(), lambda: (alpha**2).sum(), {}, {"alpha": alpha, "beta": unused}
    )
    found = first_order(problem)
    assert [value.tolist() for value in given[0]] == [[2.0, 4.0], [0.0]]
    assert [value.tolist() for value in found] == [[12.0, 14.0], [10.0]]
    assert len(given) == 1
