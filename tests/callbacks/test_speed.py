"""Compiled cells, TF32 and channels-last: the same run, to rounding."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.architecture import random_genotype
from nas_lightning.callbacks import Speed
from nas_lightning.data import Synthetic, SyntheticText
from nas_lightning.errors import UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import (
    DartsNetwork,
    DartsSupernet,
    NasBench201Network,
    NasBench201Space,
    NasBench201Supernet,
    RecurrentNetwork,
)
from nas_lightning.strategies import (
    GDAS,
    SNAS,
    AmendedGradient,
    EdgeNormalization,
    Neumann,
    PartialChannels,
    ReferenceCell,
    RobustDARTS,
    Unrolled,
)
from nas_lightning.supernet import SupernetFactory
from nas_lightning.tasks import LanguageModeling
from nas_lightning.training.stage import Stage
from tests.callbacks.toy_fit import Toy, train_data, val_data
from tests.conftest import SPEC, TrainerFactory

# from PyTorch itself, while it inspects the inputs of a cell
pytestmark = pytest.mark.filterwarnings("ignore:.*grad attribute of a Tensor that is not a leaf.*")

PRIMITIVES = ("max_pool_3x3", "skip_connect", "sep_conv_3x3")
DARTS = DartsSupernet(channels=4, layers=3, nodes=1, primitives=PRIMITIVES)
EXACT: dict[str, Any] = {"precision": "64-true", "enable_checkpointing": False}


class Trace(Callback):
    """Everything that is trained, after each batch."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        parts = [p.detach().flatten() for p in pl_module.parameters()]
        self.steps.append(torch.cat(parts).clone())


def search(
    strategies: Sequence[SearchStrategy] = (), supernet: SupernetFactory = DARTS, **kwargs: Any
) -> SearchModule:
    lightning.seed_everything(0, verbose=False)
    return SearchModule(SPEC, supernet, strategies=list(strategies), **kwargs)


def retraining(**kwargs: Any) -> RetrainModule:
    lightning.seed_everything(0, verbose=False)
    settings: dict[str, Any] = {"auxiliary_weight": 0.0, "drop_path": 0.3, **kwargs}
    return RetrainModule(SPEC, "DARTS_V2", DartsNetwork(4, 3), **settings)


def nas_bench_201() -> RetrainModule:
    genotype = random_genotype(NasBench201Space(), seed=1)
    lightning.seed_everything(0, verbose=False)
    network = NasBench201Network(4, 1)
    return RetrainModule(SPEC, genotype.to_dict(), network, auxiliary_weight=0.0)


def data(module: LightningModule) -> Synthetic:
    mode: Any = "search" if isinstance(module, SearchModule) else "retrain"
    return Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=32 if mode == "search" else 20,
        test_size=8, batch_size=8, mode=mode,
    )  # fmt: skip


def fit(module: Stage, make_trainer: TrainerFactory, *callbacks: Callback, **kwargs: Any) -> Tensor:
    """The trained parameters after every batch (steps, numbers)."""
    trace = Trace()
    trainer = make_trainer(**{"max_epochs": 2, **EXACT, "callbacks": [trace, *callbacks], **kwargs})
    trainer.fit(module, datamodule=data(module))
    return torch.stack(trace.steps)


@pytest.fixture
def counted() -> Any:
    """Counts compilations; a cell that reaches the limit is an error."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        yield torch._dynamo.utils.counters
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("darts", "eager"),
        pytest.param("darts by the reference", "eager", marks=pytest.mark.long),
        pytest.param("idarts's parts", "aot_eager", marks=pytest.mark.long),
        pytest.param("unrolled", "eager", marks=pytest.mark.long),
        pytest.param("nas_bench_201", "eager", marks=pytest.mark.long),
        pytest.param("retrain", "aot_eager", marks=pytest.mark.long),
        pytest.param("retrain nas_bench_201", "eager", marks=pytest.mark.long),
    ],
)
def test_compiled_cells_give_the_same_run(
    name: str, backend: str, make_trainer: TrainerFactory, counted: Any
) -> None:
    def build() -> Stage:
        if name == "darts":
            return search()
        if name == "darts by the reference":
            return search([ReferenceCell()])
        if name == "idarts's parts":
            return search([PartialChannels(2), EdgeNormalization()])
        if name == "unrolled":
            return search([Unrolled()])
        if name == "nas_bench_201":
            return search(supernet=NasBench201Supernet(4, 1))
        return retraining() if name == "retrain" else nas_bench_201()

    plain = fit(build(), make_trainer)
    assert not counted["stats"]
    module = build()
    names = list(module.state_dict())
    found = fit(module, make_trainer, Speed(compile=True, backend=backend))
    torch.testing.assert_close(found, plain, rtol=1e-10, atol=1e-12)
    assert counted["stats"]["unique_graphs"] > 1
    assert not counted["graph_break"]
    assert list(module.state_dict()) == names


@pytest.mark.long
def test_drop_path_that_grows_compiles_nothing_again(
    make_trainer: TrainerFactory, counted: Any
) -> None:
    graphs = []
    for epochs in (2, 6):
        torch._dynamo.reset()
        counted.clear()
        fit(
            retraining(), make_trainer, Speed(compile=True, backend="eager"),
            max_epochs=epochs, limit_train_batches=1, limit_val_batches=0,
        )  # fmt: skip
        graphs.append(counted["stats"]["unique_graphs"])
    assert graphs[0] == graphs[1] > 0


@pytest.mark.long
def test_a_compiled_run_resumes_with_and_without(
    make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    class Save(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 0:
                trainer.save_checkpoint(path)

    path = tmp_path / "first.ckpt"
    compiled = Speed(compile=True, backend="eager")
    # Lightning loads a checkpoint of doubles by way of single precision
    whole = fit(retraining(), make_trainer, compiled, Save(), precision="32-true")
    for callbacks in ([Speed(compile=True, backend="eager")], []):
        trace = Trace()
        trainer = make_trainer(max_epochs=2, callbacks=[trace, *callbacks])
        module = retraining()
        trainer.fit(module, datamodule=data(module), ckpt_path=path, weights_only=True)
        rest = torch.stack(trace.steps)
        torch.testing.assert_close(rest, whole[-len(rest) :], rtol=1e-5, atol=1e-6)


def test_after_a_run_all_is_as_before(make_trainer: TrainerFactory) -> None:
    before = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    limit = torch._dynamo.config.recompile_limit
    module = retraining()
    speed = Speed(tf32=True, compile=True, backend="eager", channels_last=True)
    trainer = make_trainer(callbacks=[speed])
    speed.setup(trainer, module, "fit")
    cells = list(module.trained.cells)  # type: ignore[arg-type]
    assert all(cell._compiled_call_impl is not None for cell in cells)
    assert torch._dynamo.config.recompile_limit > limit
    speed.teardown(trainer, module, "fit")
    assert all(cell._compiled_call_impl is None for cell in cells)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before
    assert torch._dynamo.config.recompile_limit == limit
    assert not module.trained._forward_pre_hooks


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_is_set_both_ways(tf32: bool, make_trainer: TrainerFactory) -> None:
    seen = []

    class Look(Callback):
        def on_train_batch_start(self, *_: object, **__: object) -> None:
            now = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
            seen.append(now)

    fit(retraining(), make_trainer, Speed(tf32=tf32), Look(), max_epochs=1)
    assert set(seen) == {("high", True) if tf32 else ("highest", False)}


def test_a_run_that_fails_leaves_no_changes(make_trainer: TrainerFactory) -> None:
    class Fail(Callback):
        def on_train_start(self, *_: object) -> None:
            raise ValueError("on purpose")

    before = (torch.get_float32_matmul_precision(), torch._dynamo.config.recompile_limit)
    with pytest.raises(ValueError, match="on purpose"):
        fit(retraining(), make_trainer, Speed(tf32=True, compile=True, backend="eager"), Fail())
    assert (torch.get_float32_matmul_precision(), torch._dynamo.config.recompile_limit) == before


def test_channels_last_holds_in_the_whole_run_and_changes_rounding_only(
    make_trainer: TrainerFactory,
) -> None:
    layouts = []

    class Look(Callback):
        def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module.trained.cells[0].register_forward_hook(  # type: ignore[union-attr, index]
                lambda module, args, out: layouts.append(
                    out.is_contiguous(memory_format=torch.channels_last)
                )
            )

    plain = fit(retraining(), make_trainer, Speed(channels_last=False), Look())
    assert not any(layouts)
    layouts.clear()
    found = fit(retraining(), make_trainer, Speed(channels_last=True), Look())
    torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-12)
    assert layouts
    assert all(layouts)


REFUSED: list[tuple[list[SearchStrategy], str]] = [
    ([GDAS()], "runs different operations in every step"),
    ([AmendedGradient(exact=True)], r"differentiated twice, as AmendedGradient\("),
    ([Neumann(exact=True)], r"differentiated twice, as Neumann\("),
    ([RobustDARTS()], r"differentiated twice, as RobustDARTS\("),
]


@pytest.mark.parametrize(("strategies", "text"), REFUSED, ids=lambda v: str(v)[:20])
def test_what_cannot_be_compiled_is_refused(
    strategies: list[SearchStrategy], text: str, make_trainer: TrainerFactory
) -> None:
    with pytest.raises(UsageError, match=text):
        fit(search(strategies), make_trainer, Speed(compile=True, backend="eager"))


@pytest.mark.parametrize("strategy", [SNAS(), AmendedGradient(), Neumann(), Unrolled()], ids=repr)
def test_what_can_be_compiled_is_not(
    strategy: SearchStrategy, make_trainer: TrainerFactory
) -> None:
    module, speed = search([strategy]), Speed(compile=True, backend="eager")
    speed.setup(make_trainer(), module, "fit")
    speed.teardown(make_trainer(), module, "fit")


def test_other_settings_that_do_not_fit_are_refused(make_trainer: TrainerFactory) -> None:
    with pytest.raises(UsageError, match="a search choose their memory layout"):
        fit(search(), make_trainer, Speed(channels_last=True))
    with pytest.raises(UsageError, match=r"set mode to null instead of reduce-overhead"):
        fit(retraining(), make_trainer, Speed(compile=True), accumulate_grad_batches=2)
    with pytest.raises(UsageError, match="not Toy"):
        make_trainer(callbacks=[Speed()]).fit(Toy(), train_data(), val_data())
    lightning.seed_everything(0, verbose=False)
    module = RetrainModule(
        {"num_tokens": 7}, "DARTS_RNN_V2", RecurrentNetwork(hidden=4), LanguageModeling(bptt=10),
        auxiliary_weight=0.0, drop_path=0.0,
    )  # fmt: skip
    text = SyntheticText(num_tokens=7, train_size=204, mode="retrain", batch_size=4, bptt=10)
    with pytest.raises(UsageError, match="DiscreteLanguageModel has no cells"):
        make_trainer(callbacks=[Speed(compile=True)]).fit(module, datamodule=text)
