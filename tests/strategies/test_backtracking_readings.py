"""The readings of IDARTS that can be chosen, on the worked example of `test_backtracking`."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.search import ArchStep, SearchModule
from nas_lightning.strategies import Backtracking, EdgeNormalization
from nas_lightning.strategies.backtracking import Backtracked, backtrack, threshold
from tests.conftest import SearchFactory, TrainerFactory
from tests.strategies.test_backtracking import A0, A1, B0, B1, CIFAR, IMAGENET, G, Keep


def values(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_column_reading() -> None:
    """γ = (-0.3, 2.95, 3.2), by hand: column sums of g / α^t · ρ over both edges."""
    done = backtrack((A0, B0), (A1, B1), G, zeta=2, coefficient=0.01, reading="column")
    expected = values([0.5985, 0.207375, 0.208], [0.0994, 0.5118, 0.4128])
    torch.testing.assert_close(done.alpha, expected)
    torch.testing.assert_close(done.kappa, values(*[[0.003, 0.0295, 0.032]] * 2))
    one = backtrack((A0, B0), (A1, B1), G, zeta=1, coefficient=0.01, reading="column")
    assert torch.equal(one.alpha[0], A1[0])  # the sums are over all edges, the change is not
    torch.testing.assert_close(one.alpha[1], expected[1])
    bound = backtrack((A0, B0), (A1, B1), G, 2, 0.01, clip=0.03, reading="column")
    assert bound.clipped.tolist() == [[False, False, True]] * 2


def test_the_largest_beta_first() -> None:
    done = backtrack((A0, B0), (A1, B1), G, zeta=1, coefficient=0.01, first="largest")
    torch.testing.assert_close(done.alpha, values([0.628, 0.214, 0.214], [0.1, 0.5, 0.4]))
    assert done.selected.tolist() == [True, False]
    tied = torch.tensor([0.3, -0.3], dtype=torch.float64)
    again = backtrack((A0, B0), (A1, tied), G, zeta=1, coefficient=0.01, first="largest")
    assert again.selected.tolist() == [True, False]  # ties go to the lower index here too


def test_ranking_by_softmax() -> None:
    """β = (-0.7, 0.35): edge 1 has the smaller size, edge 0 the smaller softmax."""
    beta = torch.tensor([-0.7, 0.35], dtype=torch.float64)
    by_size = backtrack((A0, B0), (A1, beta), G, zeta=1, coefficient=0.001)
    by_weight = backtrack((A0, B0), (A1, beta), G, 1, 0.001, score=beta.softmax(dim=0))
    assert by_size.selected.tolist() == [False, True]
    # Δβ = -1.5, ρ = (-15, 30, 30), γ = -12 + 48 + 48 = 84
    torch.testing.assert_close(by_weight.alpha, values([0.642, 0.221, 0.221], [0.1, 0.5, 0.4]))


def test_a_plain_gradient_step_in_place_of_the_optimizers() -> None:
    """Twice the Δα of the example: ρ = (-0.5, 1, 1) on edge 0, γ = 2.8."""
    done = backtrack((A0, B0), (A1, B1), G, zeta=2, coefficient=0.01, delta=2 * (A1 - A0))
    torch.testing.assert_close(done.alpha[0], values([0.614, 0.207, 0.207])[0])
    same = backtrack((A0, B0), (A1, B1), G, zeta=2, coefficient=0.01, delta=A1 - A0)
    assert torch.equal(same.alpha, backtrack((A0, B0), (A1, B1), G, 2, 0.01).alpha)


def test_zeta_as_printed_is_constant_from_the_first_epoch_on() -> None:
    cifar = [threshold(e, start=25, rate=0.015, edges=14, last=50) for e in range(50)]
    imagenet = [threshold(e, start=40, rate=0.05, edges=14, last=50) for e in range(50)]
    assert cifar == [0] * 25 + [5] * 25
    assert imagenet == [0] * 40 + [7] * 10
    assert (CIFAR[25], IMAGENET[10]) == (5, 7)  # what the growing one reaches at the end


# -- in a search -----------------------------------------------------------------------------------


def fitted(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    data: Synthetic,
    epochs: int = 1,
    **arguments: Any,
) -> tuple[SearchModule, list[ArchStep]]:
    """A search in float64 of one batch an epoch, with ζ = 2 of 5 edges by default."""
    keep = Keep()
    given = {"start": -2, "rate": 0.2, "coefficient": 0.04, **arguments}
    module = make_search([EdgeNormalization(), Backtracking(**given), keep])
    settings = {"limit_train_batches": 1, "limit_val_batches": 0, "precision": "64-true"}
    make_trainer(max_epochs=epochs, **settings).fit(module, datamodule=data)
    return module, keep.steps


def again(step: ArchStep, kind: str, **arguments: Any) -> Backtracked:
    alpha, beta = f"alpha.{kind}", f"beta.{kind}"
    before, after = ((values[alpha], values[beta]) for values in (step.before, step.after))
    given = {"zeta": 2, "coefficient": 0.04, "clip": 0.1, **arguments}
    return backtrack(before, after, step.gradients[beta], **given)


@pytest.mark.parametrize("space", ["logits", "simplex"])
def test_in_float64_it_computes_in_float64_and_leaves_other_rows_their_bits(
    space: str, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module, (step,) = fitted(make_search, make_trainer, search_data, space=space)
    for kind, alpha in module.arch.alpha.items():
        expected, after = again(step, kind), step.after[f"alpha.{kind}"]
        assert alpha.dtype == after.dtype == torch.float64
        chosen = expected.selected
        assert int(chosen.sum()) == 2
        assert torch.equal(alpha.detach()[~chosen], after[~chosen])
        assert not torch.equal(alpha.detach()[chosen], after[chosen])
        if space == "logits":
            assert torch.equal(alpha.detach(), expected.alpha)
        single = after.float().double()
        assert not torch.equal(after, single)  # the bits that a cast would have lost


@pytest.mark.parametrize("first", ["smallest", "largest"])
@pytest.mark.parametrize("rank", ["weight", "relative_weight"])
def test_edges_are_ranked_by_the_weights_of_the_supernet(
    rank: str,
    first: str,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    module, (step,) = fitted(make_search, make_trainer, search_data, rank=rank, first=first)
    beta = step.after["beta.normal"]  # two edges into the first node, three into the second
    nodes = [beta[:2].softmax(dim=0), beta[2:].softmax(dim=0)]
    fan_in = [2, 3] if rank == "relative_weight" else [1, 1]
    score = torch.cat([n * node for n, node in zip(fan_in, nodes, strict=True)])
    expected = again(step, "normal", score=score, first=first)
    assert torch.equal(module.arch.alpha["normal"].detach(), expected.alpha)
    chosen = expected.selected.nonzero().flatten().tolist()
    if rank == "weight":  # β is near 0, so the edges of the larger node weigh less
        assert set(chosen) <= ({2, 3, 4} if first == "smallest" else {0, 1})


def test_the_plain_step_is_the_rate_times_the_gradient(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module, (step,) = fitted(make_search, make_trainer, search_data, delta="gradient")
    plain = -3e-4 * step.gradients["alpha.normal"]  # DARTS' rate of α
    expected = again(step, "normal", delta=plain)
    torch.testing.assert_close(module.arch.alpha["normal"].detach(), expected.alpha)
    other = again(step, "normal")
    assert not torch.equal(expected.alpha, other.alpha)


def test_in_simplex_space_the_plain_step_is_one_of_the_logits(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    given: dict[str, Any] = {"space": "simplex", "delta": "gradient", "reading": "element"}
    module, (step,) = fitted(make_search, make_trainer, search_data, **given)
    alpha, beta = "alpha.normal", "beta.normal"
    before, after = step.before[alpha], step.after[alpha]
    plain = (before - 3e-4 * step.gradients[alpha]).softmax(dim=1) - before.softmax(dim=1)
    done = backtrack(
        (before.softmax(dim=1), step.before[beta]),
        (after.softmax(dim=1), step.after[beta]),
        step.gradients[beta], zeta=2, coefficient=0.04, clip=0.1, reading="element", delta=plain,
    )  # fmt: skip
    weights = done.alpha.clamp_min(1e-6)
    found = module.arch.alpha["normal"].detach().softmax(dim=1)
    torch.testing.assert_close(found, weights / weights.sum(dim=1, keepdim=True))


def test_a_constant_zeta_counts_the_epochs_of_the_run(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """T = 1 of S = 4 epochs and λ = 0.2: ζ = floor(3 · 0.2 · 5) = 3 in the last three."""
    given: dict[str, Any] = {"start": 1, "rate": 0.2, "zeta": "constant"}
    module, steps = fitted(make_search, make_trainer, search_data, epochs=4, **given)
    assert len(steps) == 4
    for epoch, (step, after) in enumerate(pairwise(steps)):
        moved = (after.before["alpha.normal"] != step.after["alpha.normal"]).any(dim=1)
        assert int(moved.sum()) == (3 if epoch else 0)
    logged = module.trainer.callback_metrics["backtracking/normal/zeta"]
    assert logged == 3
