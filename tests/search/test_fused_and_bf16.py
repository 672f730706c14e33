"""Fused optimizers and bfloat16: what a GPU runs with, as far as a CPU has it."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import SGD, Adam

from nas_lightning.data import Synthetic
from nas_lightning.errors import DivergedError
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsNetwork
from nas_lightning.training.stage import Stage
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.methods import fresh


class Trace(Callback):
    """What is trained, after each batch."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        self.steps.append(torch.cat([p.detach().flatten() for p in pl_module.parameters()]).clone())


def stage(kind: str, fused: bool, make_search: SearchFactory) -> Stage:
    sgd = partial(SGD, lr=0.025, momentum=0.9, weight_decay=3e-4, fused=fused)
    adam = partial(Adam, lr=3e-3, betas=(0.5, 0.999), weight_decay=1e-3, fused=fused)
    if kind == "search":
        return make_search(
            [],
            weight_optimizer=sgd,
            arch_optimizer=adam,
            gradient_clip=0.5,
            arch_gradient_clip=0.01,
        )
    torch.manual_seed(0)
    return RetrainModule(
        SPEC, "DARTS_V2", DartsNetwork(4, 3), optimizer=sgd, auxiliary_weight=0.0, drop_path=0.2
    )


class ClippedByLightning(RetrainModule):
    """Takes the norm of the gradients again, and clips by that."""

    configure_gradient_clipping = LightningModule.configure_gradient_clipping


def data(module: Stage) -> Synthetic:
    mode: Any = "search" if isinstance(module, SearchModule) else "retrain"
    return Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=48, test_size=16, batch_size=8,
        mode=mode,
    )  # fmt: skip


def fit(module: Stage, make_trainer: TrainerFactory, *callbacks: Callback, **kwargs: Any) -> Tensor:
    """What is trained, after every batch (steps, numbers)."""
    trace, settings = Trace(), {"max_epochs": 2, **kwargs}
    path = settings.pop("ckpt_path", None)
    clip = {} if isinstance(module, SearchModule) else {"gradient_clip_val": 0.5}
    trainer = make_trainer(callbacks=[trace, *callbacks], **clip, **settings)
    trainer.fit(module, datamodule=data(module), ckpt_path=path, weights_only=True)
    return torch.stack(trace.steps)


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_fused_optimizers_take_the_same_steps(
    kind: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    plain, fused = (
        fit(stage(kind, fused, make_search), make_trainer, precision="64-true")
        for fused in (False, True)
    )
    torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-12)
    assert not torch.equal(fused[0], fused[-1])


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_optimizers_are_fused_unless_they_are_told(
    kind: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    found: list[list[object]] = []

    class Look(Callback):
        def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            found.append([g["fused"] for o in trainer.optimizers for g in o.param_groups])

    torch.manual_seed(0)
    untold: Stage = (
        make_search([])
        if kind == "search"
        else RetrainModule(SPEC, "DARTS_V2", DartsNetwork(4, 3), auxiliary_weight=0.0)
    )
    for module in (untold, stage(kind, False, make_search)):
        fit(module, make_trainer, Look(), max_epochs=1, limit_train_batches=1)
    assert all(found[0])
    assert not any(found[1])


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_fused_optimizers_and_bfloat16_are_clipped(
    kind: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    """Which Lightning's own clipping refuses."""
    plain, fused = (
        fit(stage(kind, fused, make_search), make_trainer, precision="bf16-mixed")
        for fused in (False, True)
    )
    torch.testing.assert_close(fused, plain, rtol=1e-2, atol=1e-2)
    assert not torch.equal(fused[0], fused[-1])


@pytest.mark.parametrize("algorithm", ["norm", "value", None])
def test_a_retraining_is_clipped_as_lightning_clips(
    algorithm: str | None, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    found = []
    for kind in (RetrainModule, ClippedByLightning):
        torch.manual_seed(0)
        module = kind(SPEC, "DARTS_V2", DartsNetwork(4, 3), auxiliary_weight=0.0)
        found.append(fit(module, make_trainer, gradient_clip_algorithm=algorithm))
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_a_run_with_fused_optimizers_goes_on_bit_for_bit(
    kind: str, make_search: SearchFactory, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    path = tmp_path / "middle.ckpt"

    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
            if (trainer.current_epoch, trainer.fit_loop.batch_idx) == (0, 1):
                trainer.save_checkpoint(path)

    whole = fit(stage(kind, True, make_search), make_trainer, Save())
    rest = fit(stage(kind, True, make_search), make_trainer, ckpt_path=path)
    assert torch.equal(rest, whole[2:])


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_a_broken_step_of_a_fused_optimizer_is_not_taken(
    kind: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    class Break(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
        ) -> None:
            if batch_idx == 1:
                (batch["val"][0] if isinstance(batch, dict) else batch[0]).fill_(torch.nan)

    module, trace = stage(kind, True, make_search), Trace()
    with pytest.raises(DivergedError, match="the step was not taken"):
        fit(module, make_trainer, Break(), trace)
    weights = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert torch.equal(weights, trace.steps[0])


@pytest.mark.parametrize("method", ["idarts", "gaea_pcdarts", "darts"])
def test_a_search_in_bfloat16_learns(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    module = make_search(fresh(method))
    begin = {name: value.detach().clone() for name, value in module.arch.named().items()}
    steps = fit(module, make_trainer, precision="bf16-mixed")
    assert steps.isfinite().all()
    assert steps.dtype == torch.float32
    for name, value in module.arch.named().items():
        assert not torch.equal(value, begin[name]), name
    single = fit(make_search(fresh(method)), make_trainer, precision="32-true")
    # rounding moves the first step by less than a third of what a step moves
    assert (steps[0] - single[0]).norm() < 0.3 * (single[1] - single[0]).norm()


class Losses(Callback):
    """The loss of each batch."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: object, **__: object
    ) -> None:
        self.found.append(float(outputs["loss"]))


def test_a_retraining_in_bfloat16_learns_as_in_single_precision(
    make_trainer: TrainerFactory,
) -> None:
    found = {}
    for precision in ("32-true", "bf16-mixed"):
        torch.manual_seed(0)
        module = RetrainModule(
            {**SPEC, "image_size": 32}, "DARTS_V2", DartsNetwork(4, 3), auxiliary_weight=0.4,
            drop_path=0.2,
        )  # fmt: skip
        images = Synthetic(
            in_channels=3, num_classes=4, image_size=32, train_size=64, test_size=16, batch_size=8,
            mode="retrain",
        )  # fmt: skip
        losses = Losses()
        make_trainer(max_epochs=3, precision=precision, callbacks=[losses]).fit(
            module, datamodule=images
        )
        assert all(p.dtype == torch.float32 for p in module.parameters())
        found[precision] = torch.tensor(losses.found).view(3, -1)
    single, half = found["32-true"], found["bf16-mixed"]
    assert not torch.equal(single, half)
    torch.testing.assert_close(half[0, 0], single[0, 0], rtol=0.02, atol=0)
    for means in (single.mean(dim=1), half.mean(dim=1)):
        assert means[2] < means[0]
