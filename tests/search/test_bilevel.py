"""The first-order architecture gradient on problems whose answer is known."""

import torch

from nas_lightning.search import BilevelProblem, first_order


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
