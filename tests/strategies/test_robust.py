"""RobustDARTS: the Hessian against others' code, the rule on paper, and the genotype it returns."""

import copy
from collections.abc import Callable
from pathlib import Path

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.architecture import Genotype
from nas_lightning.callbacks.search_monitor import SearchMonitor
from nas_lightning.cli.derive import derive_genotype
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import BilevelProblem, SearchModule, SearchStrategy
from nas_lightning.strategies import RobustDARTS, WarmUp
from nas_lightning.strategies import robust as module_of_robust
from nas_lightning.strategies.robust import alpha_hessian, largest_eigenvalue
from nas_lightning.supernet import Mixing
from tests.conftest import SPEC, SearchFactory, TrainerFactory, tiny_supernet


def test_the_hessian_of_a_quadratic_is_its_matrix() -> None:
    """Over α of both kinds together, and not over β."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    matrix = root + root.T
    arch = {
        "alpha.normal": torch.randn(2, 2, dtype=torch.float64, generator=generator),
        "alpha.reduce": torch.randn(1, 2, dtype=torch.float64, generator=generator),
        "beta.normal": torch.ones(2, dtype=torch.float64),
    }
    for value in arch.values():
        value.requires_grad_()

    def outer() -> Tensor:
        alpha = torch.cat([arch["alpha.normal"].flatten(), arch["alpha.reduce"].flatten()])
        loss: Tensor = alpha @ matrix @ alpha / 2 + 100 * arch["beta.normal"].square().sum()
        return loss + alpha.sum() * arch["beta.normal"].sum()

    problem = BilevelProblem(outer, outer, {}, arch)
    torch.testing.assert_close(alpha_hessian(problem), matrix)
    # the last of symmetric eigenvalues, found here by another routine
    assert largest_eigenvalue(problem) == pytest.approx(
        float(torch.linalg.eigvals(matrix).real.max())
    )


def by_autograd(loss: Callable[..., Tensor], at: tuple[Tensor, ...]) -> Tensor:
    """The Hessian (40, 40) in two arguments of 20 entries, by PyTorch's own routine."""
    blocks = torch.autograd.functional.hessian(loss, at)  # type: ignore[no-untyped-call]
    return torch.cat([torch.cat([b.reshape(20, 20) for b in row], 1) for row in blocks])


def supernet_problem(dtype: torch.dtype) -> tuple[BilevelProblem, Tensor]:
    """A tiny supernet's loss as a problem, and its Hessian in α by PyTorch's own routine."""
    lightning.seed_everything(0, verbose=False)
    factory = tiny_supernet()
    supernet = factory.build(SPEC, k=1).to(dtype)
    x, y = torch.randn(4, 3, 8, 8, dtype=dtype), torch.tensor([0, 1, 2, 3])
    edges = {kind: torch.ones(5, dtype=dtype) for kind in factory.space.kinds}
    arch = {
        f"alpha.{kind}": torch.randn(5, 4, dtype=dtype).requires_grad_()
        for kind in factory.space.kinds
    }

    def loss(normal: Tensor, reduce: Tensor) -> Tensor:
        ops = {"normal": normal.softmax(-1), "reduce": reduce.softmax(-1)}
        return torch.nn.functional.cross_entropy(supernet(x, Mixing(ops, edges)), y)

    expected = by_autograd(loss, tuple(arch.values()))
    weights = dict(supernet.named_parameters())
    problem = BilevelProblem(
        lambda: loss(*arch.values()), lambda: loss(*arch.values()), weights, arch
    )
    return problem, expected


def test_the_hessian_of_a_supernet_is_that_of_autograd() -> None:
    problem, expected = supernet_problem(torch.float64)
    torch.testing.assert_close(alpha_hessian(problem), expected, rtol=1e-9, atol=1e-12)
    largest = float(torch.linalg.eigvals(expected).real.max())
    assert largest_eigenvalue(problem) == pytest.approx(largest, rel=1e-9)


def test_what_is_logged_is_the_eigenvalue_at_the_start_of_the_last_step(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module = make_search([RobustDARTS(every=1, first_epoch=0)])
    search_data.setup("fit")
    images, labels = next(iter(search_data.train_dataloader()))[0]["val"]

    def loss(normal: Tensor, reduce: Tensor) -> Tensor:
        ops = {"normal": normal.softmax(-1), "reduce": reduce.softmax(-1)}
        edges = {kind: torch.ones(5) for kind in ops}
        return torch.nn.functional.cross_entropy(
            module.supernet(images, Mixing(ops, edges)), labels
        )

    alpha = tuple(value.detach() for value in module.arch.alpha.values())
    hessian = by_autograd(loss, alpha)
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    found = float(trainer.callback_metrics["robust/eigenvalue"])
    assert found == pytest.approx(float(torch.linalg.eigvals(hessian).real.max()), rel=1e-4)


def test_looking_changes_nothing(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    states = []
    for strategies in ([], [RobustDARTS(every=1, first_epoch=0)]):
        module = make_search(strategies)
        make_trainer(max_epochs=2).fit(module, datamodule=search_data)
        states.append(module.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


class Epochs(SearchStrategy):
    """Draws an α of its own in every epoch, and keeps the genotypes."""

    def __init__(self) -> None:
        self.genotypes: list[Genotype] = []

    @torch.no_grad()
    def allow_arch_step(self, module: SearchModule) -> bool:
        generator = torch.Generator().manual_seed(module.current_epoch)
        for alpha in module.arch.alpha.values():
            alpha.copy_(torch.randn(5, 4, generator=generator))
        return True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        if trainer.is_last_batch:
            self.genotypes.append(pl_module.genotype())


class Eigenvalues:
    """Replaces the eigenvalue: one value per evaluation."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def __call__(self, problem: BilevelProblem) -> float:
        return self.values.pop(0)


def scripted(monkeypatch: pytest.MonkeyPatch, *values: float) -> Eigenvalues:
    found = Eigenvalues(*values)
    monkeypatch.setattr(module_of_robust, "largest_eigenvalue", found)
    return found


def test_it_stops_and_returns_by_the_published_numbers(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Found in epochs 6, 8, …; λ doubles in epoch 14. Epoch 22 is the first that may stop, for the
    epoch in the middle of the older window (6 to 14) is then 10: means 2 against 1.2."""
    scripted(monkeypatch, *[1.0] * 4, *[2.0] * 20)
    watch = Epochs()
    module = make_search([watch, RobustDARTS()])
    trainer = make_trainer(
        max_epochs=40,
        limit_train_batches=1,
        limit_val_batches=0,
        callbacks=[SearchMonitor()],
    )
    trainer.fit(module, datamodule=search_data)
    assert trainer.current_epoch == 23
    assert float(trainer.callback_metrics["robust/ratio"]) == pytest.approx(2 / 1.2)
    assert module.genotype() == watch.genotypes[10]
    assert module.genotype() != watch.genotypes[22]
    written = Genotype.load(tmp_path / "genotype.json")
    assert written == watch.genotypes[10]
    assert written.provenance["epoch"] == 10
    assert written.mixing == watch.genotypes[10].mixing


def by_hand(values: list[float], window: int, back: int, factor: float) -> tuple[int, int] | None:
    """The first evaluation that stops a search, and the one that it returns."""
    for now in range(len(values)):
        first = now - back - window + 1  # of the older window
        if first < 0:
            continue
        older = sum(values[first + i] for i in range(window)) / window
        newer = sum(values[now - i] for i in range(window)) / window
        if older > 0 and newer / older > factor:
            return now, now - back - window // 2
    return None


@pytest.mark.parametrize(
    ("window", "back", "values"),
    [
        (1, 1, [1.0, 1.2, 1.4, 2.0]),
        (3, 2, [1.0, 1.0, 1.1, 0.9, 1.5, 2.0, 2.5, 3.0]),
        (2, 1, [1.0, 0.5, 1.0, 1.0, 2.0]),
        (2, 1, [1.0, 1.0, 1.0, 2.0, 2.0]),
        (4, 1, [1.0, 1.0, 1.0, 1.0, 9.0]),
        (1, 2, [-1.0, 1.0, -2.0, 1.2, 1.0, 2.0]),  # a negative average stops nothing
        (5, 1, [4.0, 3.0, 2.0, 1.0, 1.0, 1.0]),  # falls: never
    ],
)
def test_other_numbers_follow_the_same_rule(
    window: int,
    back: int,
    values: list[float],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = by_hand(values, window, back, 1.3)
    scripted(monkeypatch, *values)
    watch = Epochs()
    rule = RobustDARTS(every=1, window=window, back=back, first_epoch=0)
    module = make_search([watch, rule])
    trainer = make_trainer(max_epochs=len(values), limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    now, middle = expected or (len(values) - 1, len(values) - 1)
    assert trainer.current_epoch == now + 1
    assert module.genotype() == watch.genotypes[middle]
    assert rule.stopped == (expected is not None)


def test_a_resumed_search_stops_at_the_same_place_and_a_checkpoint_gives_the_earlier_cells(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    values = [1.0, 1.0, 1.1, 0.9, 1.5, 2.0, 2.5, 3.0]  # stops in epoch 5, returns epoch 2
    rule = RobustDARTS(every=1, window=3, back=2, first_epoch=0)

    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
            if (trainer.current_epoch, trainer.fit_loop.batch_idx) == (4, 1):
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    scripted(monkeypatch, *values)
    watch = Epochs()
    module = make_search([copy.deepcopy(rule), watch])
    trainer = make_trainer(max_epochs=9, limit_val_batches=0, callbacks=[Save()])
    trainer.fit(module, datamodule=search_data)
    assert trainer.current_epoch == 6

    scripted(monkeypatch, *values[4:])
    resumed = make_search([copy.deepcopy(rule), Epochs()])
    trainer = make_trainer(max_epochs=9, limit_val_batches=0)
    trainer.fit(
        resumed, datamodule=search_data, ckpt_path=tmp_path / "middle.ckpt", weights_only=True
    )
    assert trainer.current_epoch == 6
    assert resumed.genotype() == module.genotype() == watch.genotypes[2]

    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    derived = derive_genotype(tmp_path / "stopped.ckpt")
    assert derived == watch.genotypes[2]
    assert derived.provenance["epoch"] == 2


def test_a_warm_up_is_not_evaluated(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = scripted(monkeypatch, 1.0, 1.0, 1.0)
    trainer = make_trainer(max_epochs=3, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(
        make_search([WarmUp(2), RobustDARTS(every=1, first_epoch=0)]), datamodule=search_data
    )
    assert len(found.values) == 2


@pytest.mark.parametrize(
    "arguments",
    [{"every": 0}, {"window": 0}, {"back": 0}, {"first_epoch": -1}, {"factor": 0.0}],
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=rf"RobustDARTS: {next(iter(arguments))} must be"):
        RobustDARTS(**arguments)  # type: ignore[arg-type]
