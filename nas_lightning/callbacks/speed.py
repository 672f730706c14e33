"""Settings that make a run faster on a GPU and change its results only by rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from nas_lightning.callbacks.tf32 import OFF, ON, TF32, set_tf32
from nas_lightning.errors import UsageError
from nas_lightning.layers.stack import CellModule
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.search.passes import Capture, CudaGraphs, Graphs
from nas_lightning.search.replayable import forbids_graphs
from nas_lightning.training.stage import Stage

VARIANTS = 8
"""Largest number of times that a cell is compiled: for training and evaluation, for a smaller last
batch, with and without drop path. All cells share the limit."""


CAPTURES: dict[str, Callable[[], Capture]] = {"cuda": CudaGraphs}
"""Factories of the objects that capture passes, by device type."""


class Speed(Callback):
    """TF32, CUDA graphs, compiled cells and channels-last memory for a search or a retraining.

    The results change only by rounding, except for the draws of drop path in cells that inductor
    compiles. Names in checkpoints do not change, so a run may be resumed with or without this
    callback.

    Args:
        tf32: Let float32 matrix products and convolutions round their factors to 10 bits, which
            is several times faster on GPUs since Ampere. False turns it off for both; the default
            of PyTorch is on for convolutions and off for products.
        compile: Compile every cell separately when it first runs, which takes minutes.
        backend: Backend of `torch.compile`.
        mode: Mode of `torch.compile` with inductor. `reduce-overhead` replays CUDA graphs instead
            of launching each kernel from Python; `None` only compiles kernels.
        graphs: Replay the passes of a search as CUDA graphs. Losses and gradients of a step are
            captured once as a whole, without compiling; the same kernels run as before. A method
            that decides on the host what a step computes runs without graphs, with a warning that
            says why, and so does any run with several processes or on another device.
        channels_last: Store weights and images in channels-last format; by default a retraining
            does so on a CPU. For retraining only: the cells of a search choose their memory layout
            themselves.

    Raises:
        UsageError: The module has no cells that can be compiled, its method cannot be compiled,
            or `graphs` or `channels_last` is set where it has no effect.
    """

    def __init__(
        self,
        tf32: bool = False,
        compile: bool = False,  # noqa: A002 # PyTorch's name
        backend: str = "inductor",
        mode: str | None = "reduce-overhead",
        channels_last: bool | None = None,
        graphs: bool = False,
    ) -> None:
        self.tf32 = tf32
        self.compile = compile
        self.backend = backend
        self.mode = mode
        self.channels_last = channels_last
        self.graphs = graphs
        self._before: TF32 | None = None
        self._limit: int | None = None
        self._compiled: list[nn.Module] = []
        self._layout: bool | None = None
        self.no_graphs: str | None = None
        """Reason why the run has no graphs although `graphs` is set."""

    @property
    def replays(self) -> bool:
        """True if compiled cells replay CUDA graphs on a GPU."""
        graphs = ("reduce-overhead", "max-autotune")
        return self.compile and self.backend == "inductor" and self.mode in graphs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Apply the settings before the module is moved to its device.

        Raises:
            UsageError: A setting does not fit the module, see the class.
        """
        if not isinstance(pl_module, Stage):
            raise UsageError(
                f"Speed is for searches and retrainings, not {type(pl_module).__name__}"
            )
        if self.graphs:
            self._check_graphs(pl_module)
        cells = self._cells(trainer, pl_module) if self.compile else []
        if self.channels_last and isinstance(pl_module, SearchModule):
            raise UsageError(
                "Speed: cells of a search choose their memory layout: set channels_last to false"
            )
        if self.graphs and isinstance(pl_module, SearchModule) and stage == "fit":
            self.no_graphs = reason = _no_graphs(trainer, pl_module)
            if reason:
                rank_zero_warn(f"Speed: CUDA graphs are not used: {reason}")
            else:
                pl_module.graphs = Graphs(CAPTURES[trainer.strategy.root_device.type]())
        self._before = set_tf32(ON if self.tf32 else OFF)
        self._compile(cells)
        if isinstance(pl_module, RetrainModule) and self.channels_last is not None:
            # its own setup follows
            self._layout, pl_module.channels_last = pl_module.channels_last, self.channels_last

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the settings of the process and of the module."""
        if self._before is not None:
            set_tf32(self._before)
        if isinstance(pl_module, SearchModule):
            pl_module.graphs = None  # the captured tensors are about to move
        if self._limit is not None:
            torch._dynamo.config.recompile_limit = self._limit
        for cell in self._compiled:
            cell._compiled_call_impl = None  # PyTorch has no public way to undo it
        if isinstance(pl_module, RetrainModule) and self.channels_last is not None:
            pl_module.channels_last = self._layout
        self._before, self._limit, self._compiled = None, None, []

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Restore all settings, since Lightning does not call `teardown` after an exception."""
        self.teardown(trainer, pl_module, "fit")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Let CUDA graphs reuse the memory of the previous batch.

        They must not reuse memory within a batch, since some architecture gradients keep
        derivatives over several passes of one step.
        """
        if self.replays and pl_module.device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call] # torch

    def _check_graphs(self, module: Stage) -> None:
        """Check that `graphs` fits the other settings and the module.

        Raises:
            UsageError: It does not fit.
        """
        if self.compile:
            raise UsageError("Speed: compiled cells have their own graphs: set graphs to false")
        if not isinstance(module, SearchModule):
            raise UsageError("Speed: graphs are for searches: set graphs to false")

    def _cells(self, trainer: Trainer, module: Stage) -> list[nn.Module]:
        """Return the cells to compile.

        Raises:
            UsageError: There are no cells, or the method or gradient accumulation forbids it.
        """
        if isinstance(module, SearchModule):
            _check_method(module)
        if self.replays and trainer.accumulate_grad_batches > 1:
            raise UsageError(
                f"Speed: CUDA graphs overwrite accumulated gradients: set mode to null instead of "
                f"{self.mode}, or trainer.accumulate_grad_batches to 1"
            )
        cells = [part for part in module.trained.modules() if isinstance(part, CellModule)]
        if not cells:
            name = type(module.trained).__name__
            raise UsageError(
                f"Speed: {name} has no cells that can be compiled: set compile to false"
            )
        return list(cells)

    def _compile(self, cells: list[nn.Module]) -> None:
        if not cells:
            return
        config = torch._dynamo.config
        self._limit = config.recompile_limit
        # beyond the limit, PyTorch silently stops compiling
        config.recompile_limit = max(self._limit, VARIANTS * len(cells))
        mode = self.mode if self.backend == "inductor" else None
        for cell in cells:
            cell.compile(backend=self.backend, mode=mode, dynamic=False)
        self._compiled = cells


def _no_graphs(trainer: Trainer, module: SearchModule) -> str | None:
    """Return the reason why the passes are not captured in this run; `None` if they are."""
    device = trainer.strategy.root_device.type
    if device not in CAPTURES:
        return f"there are none on {device}"
    if trainer.world_size > 1:
        return "several processes average their gradients"
    return forbids_graphs(module)


def _check_method(module: SearchModule) -> None:
    if module.arch.ops.runs_few:
        raise UsageError(
            "Speed: this search runs different operations in every step, and each choice would be "
            "compiled again: set compile to false"
        )
    for strategy in module.strategies:
        if strategy.differentiates_twice:
            raise UsageError(
                f"Speed: compiled cells cannot be differentiated twice, as {strategy!r} does: set "
                f"compile to false, or the strategy's argument exact to false if it has one"
            )
