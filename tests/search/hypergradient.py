"""Bilevel problems in float64, and what estimators of the architecture gradient are on them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from docs.examples.estimators import Loss, Problem
from nas_lightning.data import Synthetic
from nas_lightning.search import BilevelProblem, SearchModule


def relative_error(found: Tensor, ruler: Tensor) -> float:
    """Norm of the difference over that of the ruler."""
    return float((found - ruler).norm() / ruler.norm())


def toy(w: float, a: float) -> Problem:
    """DARTS, figure 2; w* = α, and the exact hypergradient there is 2α - 2."""
    return Problem(
        inner=lambda w, a: (w**2 - 2 * a * w + a**2).sum(),
        outer=lambda w, a: (a * w - 2 * a + 1).sum(),
        w=torch.tensor([w], dtype=torch.float64),
        a=torch.tensor([a], dtype=torch.float64),
    )


def network(seed: int) -> Problem:
    """A network with tanh, softmax(α) mixing its hidden units; not solved, so H is indefinite."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def half() -> Loss:
        x, y = draw(8, 3), draw(8, 2)

        def loss(w: Tensor, a: Tensor) -> Tensor:
            hidden = torch.tanh(x @ w[:12].reshape(3, 4)) * a.softmax(dim=0)
            return F.mse_loss(hidden @ w[12:].reshape(4, 2), y)

        return loss

    return Problem(half(), half(), draw(20), draw(4))


def supernet(module: SearchModule, data: Synthetic) -> BilevelProblem:
    """The first batch of a search, in float64."""
    module.double()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))[0]

    def loss(half: str) -> Tensor:
        images, labels = batch[half]
        return F.cross_entropy(module.supernet(images.double(), module.arch()), labels)

    weights = dict(module.supernet.named_parameters())
    return BilevelProblem(lambda: loss("train"), lambda: loss("val"), weights, module.arch.named())


def exact_amended(problem: Problem, coefficient: float) -> Tensor:
    """g1 - η B H v."""
    v, direct = problem.slopes(problem.outer)
    hessian, mixed = problem.second()
    return direct - coefficient * mixed @ hessian @ v


def exact_neumann(problem: Problem, rate: float, terms: int) -> Tensor:
    """g1 - ξ B · (sum over j = 0 … K of (I - ξH)^j) v, with matrix powers."""
    v, direct = problem.slopes(problem.outer)
    hessian, mixed = problem.second()
    contraction = torch.eye(len(v), dtype=v.dtype) - rate * hessian
    powers = [torch.linalg.matrix_power(contraction, j) for j in range(terms + 1)]
    return direct - rate * mixed @ torch.stack(powers).sum(dim=0) @ v


def exact_unrolled(problem: Problem, seen: BilevelProblem) -> Tensor:
    """Autograd through the step of SGD, with its momentum buffer and weight decay."""
    assert seen.weight_optimizer is not None
    group = seen.weight_optimizer.param_groups[0]
    weight, a = seen.weights["w"], seen.arch["alpha"]
    (step,) = torch.autograd.grad(problem.inner(weight, a), [weight], create_graph=True)
    step = step + group["weight_decay"] * weight
    if group["momentum"]:
        step = step + group["momentum"] * seen.weight_optimizer.state[weight]["momentum_buffer"]
    ahead = weight - group["lr"] * step
    (gradient,) = torch.autograd.grad(problem.outer(ahead, a), [a])
    return gradient


def resolved_difference(problem: Problem, step: float = 1e-4) -> Tensor:
    """Central difference (A,) of α ↦ outer(w*(α), α), with w* solved again by Newton's method."""

    def value(a: Tensor) -> Tensor:
        there = Problem(problem.inner, problem.outer, problem.w, a).solved()
        return problem.outer(there.w, a)

    shifts = step * torch.eye(len(problem.a), dtype=problem.a.dtype)
    return torch.stack([value(problem.a + s) - value(problem.a - s) for s in shifts]) / (2 * step)
