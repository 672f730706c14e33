"""IDARTS' rule against the worked example and table of the paper's restated equations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.strategies import Backtracking, EdgeNormalization, PartialChannels
from nas_lightning.strategies.backtracking import backtrack, threshold
from tests.conftest import SearchFactory, TrainerFactory

# two edges, three operations; checked by hand
A0 = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.4, 0.4]], dtype=torch.float64)
A1 = torch.tensor([[0.6, 0.2, 0.2], [0.1, 0.5, 0.4]], dtype=torch.float64)
B0 = torch.tensor([0.8, 0.3], dtype=torch.float64)
B1 = torch.tensor([0.7, 0.35], dtype=torch.float64)
G = torch.tensor([0.4, -0.2], dtype=torch.float64)


def test_edge_reading_on_all_edges() -> None:
    done = backtrack((A0, B0), (A1, B1), G, zeta=2, coefficient=0.01)
    expected = torch.tensor([[0.628, 0.214, 0.214], [0.1005, 0.501, 0.401]], dtype=torch.float64)
    torch.testing.assert_close(done.alpha, expected)
    torch.testing.assert_close(done.kappa, torch.tensor([0.056, 0.0025], dtype=torch.float64))


def test_the_edge_of_smallest_beta_is_chosen_first() -> None:
    done = backtrack((A0, B0), (A1, B1), G, zeta=1, coefficient=0.01)
    expected = torch.tensor([[0.6, 0.2, 0.2], [0.1005, 0.501, 0.401]], dtype=torch.float64)
    torch.testing.assert_close(done.alpha, expected)
    assert done.selected.tolist() == [False, True]


def test_no_edge_is_chosen_at_zeta_zero() -> None:
    assert torch.equal(backtrack((A0, B0), (A1, B1), G, zeta=0, coefficient=0.01).alpha, A1)


def test_clipping_bounds_kappa() -> None:
    done = backtrack((A0, B0), (A1, B1), G, zeta=2, coefficient=0.01, clip=0.05)
    expected = torch.tensor([0.625, 0.2125, 0.2125], dtype=torch.float64)
    torch.testing.assert_close(done.alpha[0], expected)
    assert done.clipped.tolist() == [True, False]


def test_element_reading() -> None:
    done = backtrack((A0, B0), (A1, B1), G, zeta=2, coefficient=0.01, reading="element")
    expected = torch.tensor([[0.596, 0.208, 0.208], [0.101, 0.499, 0.4]], dtype=torch.float64)
    torch.testing.assert_close(done.alpha, expected)


def test_ties_go_to_the_lower_index() -> None:
    beta = torch.tensor([0.3, -0.3], dtype=torch.float64)
    done = backtrack((A0, B0), (A1, beta), G, zeta=1, coefficient=0.01)
    assert done.selected.tolist() == [True, False]


def test_terms_that_would_divide_by_zero_are_dropped() -> None:
    before = torch.zeros_like(A0)
    done = backtrack((before, B0), (A1, B1), G, zeta=2, coefficient=1.0)
    assert torch.equal(done.alpha, A1)  # α^t = 0: every term is dropped
    same = backtrack((A1, B0), (A1, B1), G, zeta=2, coefficient=1.0)
    assert torch.equal(same.alpha, A1)  # Δα = 0


def test_a_correction_that_is_not_finite_is_dropped_and_counted() -> None:
    gradient = torch.tensor([float("inf"), -0.2], dtype=torch.float64)
    done = backtrack((A0, B0), (A1, B1), gradient, zeta=2, coefficient=0.01)
    assert torch.equal(done.alpha[0], A1[0])
    assert done.clipped.tolist() == [True, False]


@given(st.integers(0, 2**31), st.integers(0, 5), st.floats(1e-6, 10), st.floats(0.01, 1))
@settings(max_examples=50, deadline=None)
def test_the_correction_never_exceeds_the_clip(
    seed: int, zeta: int, eta: float, clip: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    a0, a1 = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    b0, b1, g = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    done = backtrack((a0, b0), (a1, b1), g, zeta, eta, clip)
    assert int(done.selected.sum()) == zeta
    assert torch.all((done.alpha - a1).abs() <= clip * a0.abs() + 1e-12)
    assert torch.equal(done.alpha[~done.selected], a1[~done.selected])


CIFAR = {
    0: 0,
    1: 0,
    2: 0,
    3: 0,
    4: 0,
    5: 1,
    6: 1,
    7: 1,
    8: 1,
    9: 1,
    10: 2,
    15: 3,
    20: 4,
    24: 5,
    25: 5,
}
IMAGENET = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4, 7: 4, 8: 5, 9: 6, 10: 7}


@pytest.mark.parametrize(("since", "zeta"), CIFAR.items())
def test_zeta_on_cifar(since: int, zeta: int) -> None:
    assert threshold(25 + since, start=25, rate=0.015, edges=14) == zeta


@pytest.mark.parametrize(("since", "zeta"), IMAGENET.items())
def test_zeta_on_imagenet(since: int, zeta: int) -> None:
    assert threshold(40 + since, start=40, rate=0.05, edges=14) == zeta


def test_zeta_stays_within_the_edges() -> None:
    assert threshold(0, start=25, rate=0.015, edges=14) == 0
    assert threshold(10_000, start=25, rate=0.015, edges=14) == 14


def _alpha_after(
    make_search: SearchFactory, rule: Backtracking
) -> tuple[torch.Tensor, torch.Tensor]:
    """α of the normal cell before and after the hook, on the worked example."""
    module = make_search([EdgeNormalization(), rule])
    shape = module.arch.alpha["normal"].shape
    generator = torch.Generator().manual_seed(0)

    def draw() -> dict[str, torch.Tensor]:
        return {
            n: torch.randn(p.shape, generator=generator) for n, p in module.arch.named().items()
        }

    step = ArchStep(draw(), draw(), draw())
    with torch.no_grad():
        for name, parameter in module.arch.named().items():
            parameter.copy_(step.after[name])
        done = rule._apply(module, step, module.space.cell("normal"), zeta=3)
    assert done.alpha.shape == shape
    return step.after["alpha.normal"], done.alpha


def test_in_simplex_space_no_correction_gives_alpha_back(make_search: SearchFactory) -> None:
    rule = Backtracking(space="simplex", coefficient=0.0)
    before, after = _alpha_after(make_search, rule)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)


def test_in_simplex_space_the_edge_reading_is_a_step_size_change() -> None:
    # row 0 of the worked example, renormalised: A0 + ΔA / (1 + κ)
    done = backtrack((A0, B0), (A1, B1), G, zeta=2, coefficient=0.01)
    row = done.alpha[0] / done.alpha[0].sum()
    torch.testing.assert_close(row, A0[0] + (A1[0] - A0[0]) / 1.056)
    expected = torch.tensor([0.594697, 0.202652, 0.202652], dtype=torch.float64)
    torch.testing.assert_close(row, expected, rtol=0, atol=1e-6)


def test_simplex_space_and_logits_differ(make_search: SearchFactory) -> None:
    _, logits = _alpha_after(make_search, Backtracking(space="logits", coefficient=0.1))
    _, simplex = _alpha_after(make_search, Backtracking(space="simplex", coefficient=0.1))
    assert not torch.allclose(logits, simplex)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="rate"):
        Backtracking(rate=-0.1)
    with pytest.raises(UsageError, match="clip"):
        Backtracking(clip=0.0)


def test_it_needs_edge_weights(make_search: SearchFactory) -> None:
    with pytest.raises(
        UsageError, match=r"Backtracking needs .*edge relaxation.*EdgeNormalization"
    ):
        make_search([PartialChannels(2), Backtracking()])


class Keep(SearchStrategy):
    """Keeps the arguments of the hook."""

    def __init__(self) -> None:
        self.steps: list[ArchStep] = []

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        self.steps.append(step)


def test_what_it_did_is_logged(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """One step, repeated here from the arguments of the hook."""
    keep = Keep()
    rule = Backtracking(start=-2, rate=0.2, coefficient=0.04)  # ζ = floor(2 · 0.2 · 5) = 2
    module = make_search([EdgeNormalization(), rule, keep])
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    step = keep.steps[0]
    alpha, beta = "alpha.normal", "beta.normal"
    again = backtrack(
        (step.before[alpha], step.before[beta]),
        (step.after[alpha], step.after[beta]),
        step.gradients[beta],
        zeta=2,
        coefficient=0.04,
        clip=0.1,
    )
    logged = {
        name.removeprefix("backtracking/normal/"): value.item()
        for name, value in trainer.callback_metrics.items()
    }
    assert logged["zeta"] == 2
    chosen = [logged[f"chosen/{edge}"] for edge in module.space.cell("normal").edges]
    assert chosen == again.selected.float().tolist()
    kappa = again.kappa[again.selected]
    assert logged["kappa_max"] == pytest.approx(kappa.max().item(), rel=1e-4)
    assert logged["kappa_median"] == pytest.approx(kappa.mean().item(), rel=1e-4)  # of two
    assert logged["clipped"] == again.clipped[again.selected].float().mean().item()
    moved = module.arch.alpha["normal"].detach() - step.after[alpha]
    size = (step.after[alpha] - step.before[alpha]).norm()
    assert logged["relative_size"] == pytest.approx((moved.norm() / size).item(), rel=1e-3)
