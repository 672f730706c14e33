"""The presets: searches of fixed sizes, so that two machines can be compared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import lightning
from lightning import LightningDataModule

from nas_lightning.architecture.network import NetworkFactory
from nas_lightning.bench.case import SEARCH_STEPS, Case, Group, Parts, Step
from nas_lightning.bench.made_up import MadeUpCIFAR
from nas_lightning.bench.methods import METHODS, SINGLE_LEVEL
from nas_lightning.bench.plain import PlainDarts
from nas_lightning.bench.precision import of_trainer
from nas_lightning.data import Digits, Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.hparams import init_args
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import (
    DartsNetwork,
    DartsSupernet,
    NasBench201Network,
    NasBench201Supernet,
)
from nas_lightning.strategies import CheckpointCells, ReferenceCell
from nas_lightning.supernet import SupernetFactory

Cells = Literal["fast", "reference", "plain"]
CELLS: tuple[Cells, ...] = ("fast", "reference", "plain")
SMALL = ("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
STRING = "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|nor_conv_1x1~0|avg_pool_3x3~1|none~2|"


@dataclass(frozen=True)
class Setting:
    """A search and its retraining.

    Attributes:
        name: Name in tables.
        supernet: Makes the factory of the supernet.
        data: Makes the data from `batch_size`, `mode` and so on.
        network: Makes the factory of the retrained network.
        genotype: The genotype that is retrained.
        method: The method of the search by default.
        batch: Samples in a batch.
        half: Samples of the weight half in a full search.
        epochs: Epochs of a full search.
        threads: Number of CPU threads; `None` keeps the present number.
    """

    name: str
    supernet: Callable[[], SupernetFactory]
    data: Callable[..., LightningDataModule]
    network: Callable[[], NetworkFactory]
    genotype: str
    method: str
    batch: int
    half: int
    epochs: int
    threads: int | None = None


CIFAR = functools.partial(DartsSupernet, channels=16, layers=8)
CIFAR_NETWORK = functools.partial(DartsNetwork, channels=16, layers=8)
K4 = Setting(
    "cifar-k4", CIFAR, MadeUpCIFAR, CIFAR_NETWORK, "PC_DARTS_CIFAR", "pcdarts", 64, 25_000, 50
)
K1 = replace(K4, name="cifar-k1", method="darts", batch=16)
DIGITS = Setting(
    "digits",
    functools.partial(DartsSupernet, channels=8, layers=3, nodes=3, primitives=SMALL),
    Digits,
    functools.partial(DartsNetwork, channels=16, layers=3),
    "PC_DARTS_CIFAR",
    "idarts",
    64,
    718,
    8,
    threads=1,
)
NB201 = Setting(
    "nas_bench_201",
    functools.partial(NasBench201Supernet, channels=16, cells=5),
    MadeUpCIFAR,
    functools.partial(NasBench201Network, channels=16, cells=5),
    STRING,
    "gaea",
    64,
    25_000,
    25,
)
FULL = replace(
    K4,
    name="cifar_full",
    method="idarts",
    batch=256,
    network=functools.partial(DartsNetwork, channels=36, layers=20),
)
QUICK = replace(
    DIGITS,
    name="quick",
    supernet=functools.partial(
        DartsSupernet, channels=8, layers=3, nodes=2, primitives=("skip_connect", "sep_conv_3x3")
    ),
    data=functools.partial(Synthetic, image_size=8, train_size=64),
    network=functools.partial(DartsNetwork, channels=4, layers=3),
    batch=8,
    half=32,
    epochs=2,
)
PRESETS: dict[str, tuple[Setting, ...]] = {
    "digits": (DIGITS,),
    "cifar": (K4, K1),
    "nas_bench_201": (NB201,),
    "cifar_full": (FULL,),
    "quick": (QUICK,),
}


@dataclass(frozen=True)
class Wanted:
    """The measurements that are wanted of a setting; every combination is a case.

    Attributes:
        steps: Steps to measure.
        methods: Methods; empty means that of the setting.
        cells: Ways to compute cells; empty means all that the space has.
        precisions: See `precision.PRECISIONS`.
        checkpoint: Checkpoint the cells.
        compile: Backend of `torch.compile` for the cells; `None` does not compile.
        graphs: Replay passes as CUDA graphs.
        on_device: Keep the data on the device.
        batch: Samples in a batch; `None` means that of the setting.
        trainer: More arguments of the trainer.
    """

    steps: tuple[Step, ...] = ("search", "arch", "weight")
    methods: tuple[str, ...] = ()
    cells: tuple[Cells, ...] = ()
    precisions: tuple[str, ...] = ("32-true",)
    checkpoint: bool = False
    compile: str | None = None
    graphs: bool = False
    on_device: bool = False
    batch: int | None = None
    trainer: dict[str, Any] = field(default_factory=dict)


def groups(setting: Setting, wanted: Wanted) -> list[Group]:
    """Return the groups of cases to compare: of the search, of the retraining, and of the data.

    Raises:
        UsageError: The setting does not have the cells, or they are not compiled or checkpointed.
    """
    found = []
    of_search = tuple(step for step in wanted.steps if step in SEARCH_STEPS)
    cases = {
        "": (of_search, _search_cases),
        "retrain": (_only("retrain", wanted), _retrain_cases),
        "data": (_only("data", wanted), _data_cases),
    }
    for steps, make in cases.values():
        if steps:
            made = tuple(make(setting, wanted))
            found.append(Group(setting.name, steps, made, setting.threads))
    return found


def _only(step: Step, wanted: Wanted) -> tuple[Step, ...]:
    return (step,) if step in wanted.steps else ()


def _search_cases(setting: Setting, wanted: Wanted) -> list[Case]:
    all_cells = isinstance(setting.supernet(), DartsSupernet)
    cells = wanted.cells or (CELLS if all_cells else CELLS[:2])
    if "plain" in cells and not all_cells:
        raise UsageError(
            f"{setting.name} has no plain cells, only the DARTS space has: "
            "name other cells with --cells"
        )
    if "plain" in cells and wanted.checkpoint:
        raise UsageError("plain cells cannot be checkpointed: name other cells with --cells")
    if "plain" in cells and wanted.compile:
        raise UsageError("plain cells cannot be compiled: name other cells with --cells")
    return [
        _search_case(setting, wanted, method, kind, precision)
        for method in wanted.methods or (setting.method,)
        for precision in wanted.precisions
        for kind in cells
    ]


def _search_case(
    setting: Setting, wanted: Wanted, method: str, cells: Cells, precision: str
) -> Case:
    def make() -> Parts:
        lightning.seed_everything(0, verbose=False)
        factory = setting.supernet()
        if cells == "plain":
            assert isinstance(factory, DartsSupernet)
            factory = PlainDarts(**init_args(factory))
        data = _data(setting, wanted, mode="search", single_level=method in SINGLE_LEVEL)
        more: list[SearchStrategy] = [ReferenceCell()] if cells == "reference" else []
        more += [CheckpointCells()] if wanted.checkpoint else []
        strategies = [*METHODS[method](), *more]
        return Parts(SearchModule(data.data_spec, factory, strategies=strategies), data)

    half = 2 * setting.half if method in SINGLE_LEVEL else setting.half
    return Case(
        _name(wanted, precision, method, cells),
        make,
        setting.epochs,
        max(half // (wanted.batch or setting.batch), 1),
        {"precision": of_trainer(precision), **wanted.trainer},
        precision,
        wanted.compile,
        wanted.graphs,
    )


def _retrain_cases(setting: Setting, wanted: Wanted) -> list[Case]:
    def make() -> Parts:
        lightning.seed_everything(0, verbose=False)
        data = _data(setting, wanted, mode="retrain")
        module = RetrainModule(
            data.data_spec, setting.genotype, setting.network(), auxiliary_weight=0, drop_path=0
        )
        return Parts(module, data)

    batches = max(2 * setting.half // (wanted.batch or setting.batch), 1)
    return [
        Case(
            _name(wanted, precision, "retrain"),
            make,
            setting.epochs,
            batches,
            {"precision": of_trainer(precision), "gradient_clip_val": 5.0, **wanted.trainer},
            precision,
        )
        for precision in wanted.precisions
    ]


def _data_cases(setting: Setting, wanted: Wanted) -> list[Case]:
    (first, *_) = _search_cases(setting, replace(wanted, cells=("fast",)))

    def case(on_device: bool) -> Case:
        here = replace(wanted, on_device=on_device, cells=("fast",))
        (made, *_) = _search_cases(setting, here)
        return replace(first, name="data on device" if on_device else "data", make=made.make)

    return [case(False), case(True)] if wanted.on_device else [case(False)]


def _data(setting: Setting, wanted: Wanted, **kwargs: Any) -> Any:
    """Make the data, with as many made-up images as a few batches of each half need."""
    batch = wanted.batch or setting.batch
    if setting.data is MadeUpCIFAR:
        kwargs["train_size"] = 12 * batch
    return setting.data(batch_size=batch, on_device=wanted.on_device, **kwargs)


def spelt(
    precision: str, checkpoint: bool, on_device: bool, compiled: bool, graphs: bool = False
) -> str:
    """Name the settings of a case that differ from the default, in words."""
    words = {
        precision: precision != "32-true",
        "checkpointed": checkpoint,
        "compiled": compiled,
        "graphs": graphs,
        "on device": on_device,
    }
    return " ".join(word for word, differs in words.items() if differs)


def _name(wanted: Wanted, precision: str, *words: str) -> str:
    compiled = wanted.compile is not None
    more = spelt(precision, wanted.checkpoint, wanted.on_device, compiled, wanted.graphs)
    return " ".join(filter(None, (*words, more)))
