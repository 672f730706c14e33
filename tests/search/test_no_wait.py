"""A training step does not ask the device for a value: a host that waits leaves a GPU idle.

On the CPU nobody waits, but every question shows: as an operation that hands a number to Python,
or as a call that does. Copies to the device do not show here; `tests/gpu` has those.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import nas_lightning
from nas_lightning.data import Synthetic
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import DartsNetwork
from nas_lightning.training.finite import Arrival, FiniteSteps
from nas_lightning.training.stage import Stage
from tests.conftest import SearchFactory, TrainerFactory
from tests.methods import METHODS, fresh, rest_long

ASKING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2"}
"""Operations whose result, or whose size, the host must know."""
BY_MASK = {"index", "index_put", "index_put_"}
"""Operations that ask if an index is a mask."""
CALLS: set[Any] = {
    *(torch.tensor, torch.as_tensor, Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.cpu),
    *(Tensor.__bool__, Tensor.__float__, Tensor.__int__, Tensor.__index__),
}
"""Calls that copy between host and device, and wait."""

LOADER = "a loader"
REASONS = {
    LOADER,  # makes batches on the CPU
    # Adam counts its steps on the CPU, wherever the parameters are
    "in _get_value",
}
KNOWN: dict[str, set[str]] = {
    # the operations that run must be known before they are started
    "gdas": {"supernet/fast", "strategies/gumbel.py"},
    "gaea_gdas": {"supernet/fast", "strategies/gumbel.py"},
    # the length of a finite difference's step in the weights
    "amended": {"search/differences.py"},
    "darts_second_order": {"search/differences.py"},
    "neumann": {"search/differences.py"},
    "amended_gaea_two_stage": {"search/differences.py"},
    "amended_gaea_idarts": {"search/differences.py"},
    "gdas_second_order": {"search/differences.py", "supernet/fast", "strategies/gumbel.py"},
    "gdas_amended": {"supernet/fast", "strategies/gumbel.py"},
    "sgas_second_order": {"search/differences.py"},
    # the length of a finite difference's step in the mixing weights
    "lambda_darts": {"strategies/lambda_darts.py"},
    # drawn on the host
    "drnas": {"supernet/draws.py"},
    "progressive": {"supernet/draws.py"},
    "binary_gates": {"supernet/fast", "strategies/binary_gates.py"},
    "binary_gates_second_order": {
        "search/differences.py", "supernet/fast", "strategies/binary_gates.py",
    },
}  # fmt: skip
"""Methods that wait, and where."""


class Questions(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch
    """Notes where operations ask, beside the calls that another mode sees."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch
        self.places: list[str] = []
        self.calls = Calls(self.places)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        mask = name in BY_MASK and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in ASKING or mask:
            self.places.append(place())
        return func(*args, **(kwargs or {}))


class Calls(TorchFunctionMode):
    def __init__(self, places: list[str]) -> None:
        super().__init__()
        self.places = places

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in CALLS:
            self.places.append(place())
        return func(*args, **(kwargs or {}))


def place() -> str:
    """The innermost file that is ours, an optimizer's, a metric's or Lightning's, with its line."""
    frames = traceback.extract_stack()
    if any(frame.filename.endswith("loops/fetchers.py") for frame in frames):
        return LOADER
    for frame in reversed(frames):
        path = Path(frame.filename)
        ours = Path(nas_lightning.__file__).parent in path.parents
        if ours or {"optim", "torchmetrics", "lightning"} & set(path.parts):
            return f"{'/'.join(path.parts[-3:])}:{frame.lineno} in {frame.name}"
    return "elsewhere"


class Watch(Callback):
    """Asks no questions but notes those of one whole batch, from its start to the next one's."""

    def __init__(self, batch: int = 2) -> None:
        self.batch = batch
        self.watching: Questions | None = None
        self.places: list[str] | None = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == self.batch:
            self.watching = Questions()
            self.watching.calls.__enter__()  # type: ignore[no-untyped-call] # torch
            self.watching.__enter__()  # type: ignore[no-untyped-call] # torch
        elif self.watching is not None:
            self.watching.__exit__(None, None, None)  # type: ignore[no-untyped-call] # torch
            self.watching.calls.__exit__(None, None, None)  # type: ignore[no-untyped-call] # torch
            self.places, self.watching = self.watching.places, None


def sent(values: Tensor) -> Arrival:
    """As if they came from a device: whoever looks, asks."""
    return lambda: values


def places(module: Stage, data: Synthetic, make_trainer: TrainerFactory, **kwargs: Any) -> set[str]:
    """Where a batch in the middle of an epoch asks."""
    module.finite = FiniteSteps(sent, lag=100)  # what is looked at later has arrived by then
    watch = Watch()
    make_trainer(callbacks=[watch], limit_train_batches=4, limit_val_batches=0, **kwargs).fit(
        module, datamodule=data
    )
    assert watch.places is not None
    return set(watch.places)


def left(found: set[str], *known: set[str]) -> list[str]:
    """Places without a reason."""
    reasons = set().union(REASONS, *known)
    return sorted(where for where in found if not any(reason in where for reason in reasons))


# a selection waits for what it measures
@pytest.mark.parametrize(
    "method",
    rest_long(
        [name for name in METHODS if name != "darts_pt"],
        keep=["idarts", "gaea_gdas", "darts_second_order", "budget", "sgas", "drnas", "oles"],
    ),
)
def test_a_search_waits_only_where_there_is_a_reason(
    method: str, make_search: SearchFactory, search_data: Synthetic, make_trainer: TrainerFactory
) -> None:
    module = make_search(fresh(method), gradient_clip=5.0,
                         arch_gradient_clip=1.0)  # fmt: skip
    found = places(module, search_data, make_trainer)
    assert left(found, KNOWN.get(method, set())) == []
    # the reasons still hold, and the test sees what there is to see
    assert all(any(reason in where for where in found) for reason in KNOWN.get(method, ()) if
               "fast" not in reason)  # fmt: skip


def test_a_retraining_with_everything_does_not_wait(make_trainer: TrainerFactory) -> None:
    lightning.seed_everything(0, verbose=False)
    module = RetrainModule(
        {"in_channels": 3, "num_classes": 4, "image_size": 32}, "DARTS_V2", DartsNetwork(4, 3),
        auxiliary_weight=0.4, drop_path=0.3,
    )  # fmt: skip
    data = Synthetic(
        in_channels=3, num_classes=4, image_size=32, train_size=40, test_size=8, batch_size=8,
        mode="retrain",
    )  # fmt: skip
    found = places(module, data, make_trainer, gradient_clip_val=5.0)
    assert left(found) == []


def test_the_watch_sees_a_question(search_data: Synthetic, make_search: SearchFactory,
                                   make_trainer: TrainerFactory) -> None:  # fmt: skip
    """The check at once, as on a CPU, is one."""
    module = make_search([])
    watch = Watch()
    make_trainer(callbacks=[watch], limit_train_batches=4, limit_val_batches=0).fit(
        module, datamodule=search_data
    )
    assert watch.places is not None
    assert any("finite.py" in where for where in watch.places)
