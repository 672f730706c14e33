"""What makes a run faster on a GPU and changes its numbers only by rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from nas_lightning.callbacks.tf32 import OFF, ON, TF32, set_tf32
from nas_lightning.errors import UsageError
from nas_lightning.layers.stack import CellModule
from nas_lightning.search import SearchModule
from nas_lightning.search.passes import Capture, CudaGraphs, Graphs
from nas_lightning.search.replayable import forbids_graphs
from nas_lightning.training.stage import Stage

VARIANTS = 8
"""How often a cell is compiled at most: in training and evaluation, for a smaller last batch, with
and without drop path. All cells share the count."""


CAPTURES: dict[str, Callable[[], Capture]] = {"cuda": CudaGraphs}
"""Makes what captures passes, by kind of device."""


class Speed(Callback):
    """TF32, CUDA graphs, compiled cells, channels last, for a search or a retraining.

    The run is the same to rounding, except for the draws of drop path in cells that inductor
    compiles. Names in checkpoints do not change: a run may go on with or without this callback.

    Args:
        tf32: Whether products and convolutions of float32 numbers may round their factors to 10
            bits, which GPUs since Ampere do several times faster. Off is set too: PyTorch alone
            has it on for convolutions and off for products.
        compile: Compile every cell by itself when it first runs, which takes minutes.
        backend: Of `torch.compile`.
        mode: Of `torch.compile` with inductor: `reduce-overhead` replays CUDA graphs, in place of
            starting each kernel from Python; none for compiled kernels alone.
        graphs: Replay the passes of a search as CUDA graphs, whole: losses and gradients of a step
            are captured once, without compiling anything. The same kernels run as before. Methods
            that decide on the host what a step computes run as ever, and the run says why; so does
            any run that is not of one process on a CUDA device.
        channels_last: Keep weights and images with the channels of a pixel side by side. For
            retraining: the cells of a search choose their layout themselves.

    Raises:
        UsageError: The module has no cells that can be compiled, its method cannot be, or
            channels-last is asked for where it does nothing.
    """

    def __init__(
        self,
        tf32: bool = False,
        compile: bool = False,  # noqa: A002 # the name that PyTorch gives it
        backend: str = "inductor",
        mode: str | None = "reduce-overhead",
        channels_last: bool = False,
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
        self._hook: Any = None
        self.no_graphs: str | None = None
        """Why the run has no graphs although they were asked for."""

    @property
    def replays(self) -> bool:
        """Whether compiled cells replay CUDA graphs, on a GPU."""
        graphs = ("reduce-overhead", "max-autotune")
        return self.compile and self.backend == "inductor" and self.mode in graphs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set everything, before the module is moved to its device.

        Raises:
            UsageError: See the class.
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
                "Speed: the cells of a search choose their memory layout: leave channels_last off"
            )
        if self.graphs and isinstance(pl_module, SearchModule) and stage == "fit":
            self.no_graphs = reason = _no_graphs(trainer, pl_module)
            if reason:
                rank_zero_warn(f"Speed: no CUDA graphs, every kernel starts by itself: {reason}")
            else:
                pl_module.graphs = Graphs(CAPTURES[trainer.strategy.root_device.type]())
        self._before = set_tf32(ON if self.tf32 else OFF)
        self._compile(cells)
        if self.channels_last:
            network = pl_module.trained
            network.to(memory_format=torch.channels_last)
            self._hook = network.register_forward_pre_hook(_images_last)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Put back what holds for the whole process, and the module's own way to run."""
        if self._before is not None:
            set_tf32(self._before)
        if isinstance(pl_module, SearchModule):
            pl_module.graphs = None  # its tensors are about to move
        if self._limit is not None:
            torch._dynamo.config.recompile_limit = self._limit
        for cell in self._compiled:
            cell._compiled_call_impl = None  # PyTorch has no public way back
        if self._hook is not None:
            self._hook.remove()
        self._before, self._limit, self._compiled, self._hook = None, None, [], None

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Put everything back: Lightning does not end such a run by `teardown`."""
        self.teardown(trainer, pl_module, "fit")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Let CUDA graphs use the memory of the batch before, and only that, again.

        Some architecture gradients hold derivatives over several passes of one step.
        """
        if self.replays and pl_module.device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call] # torch

    def _check_graphs(self, module: Stage) -> None:
        """Check that graphs can be asked for.

        Raises:
            UsageError: They cannot.
        """
        if self.compile:
            raise UsageError("Speed: compiled cells have graphs of their own: set graphs to false")
        if not isinstance(module, SearchModule):
            raise UsageError("Speed: graphs are for searches: set graphs to false")

    def _cells(self, trainer: Trainer, module: Stage) -> list[nn.Module]:
        """What is to be compiled.

        Raises:
            UsageError: There is nothing, or it would not work.
        """
        if isinstance(module, SearchModule):
            _check_method(module)
        if self.replays and trainer.accumulate_grad_batches > 1:
            raise UsageError(
                f"Speed: CUDA graphs write over gradients that are accumulated: set mode to null "
                f"in place of {self.mode}, or trainer.accumulate_grad_batches to 1"
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
        # behind it PyTorch silently compiles no more
        config.recompile_limit = max(self._limit, VARIANTS * len(cells))
        mode = self.mode if self.backend == "inductor" else None
        for cell in cells:
            cell.compile(backend=self.backend, mode=mode, dynamic=False)
        self._compiled = cells


def _no_graphs(trainer: Trainer, module: SearchModule) -> str | None:
    """Why the passes of a search are not captured in this run; none if they are."""
    device = trainer.strategy.root_device.type
    if device not in CAPTURES:
        return f"there are none on {device}"
    if trainer.world_size > 1:
        return "several processes average their gradients"
    return forbids_graphs(module)


def _check_method(module: SearchModule) -> None:
    if module.arch.ops.one_hot:
        raise UsageError(
            "Speed: this search runs other operations in every step, and each choice would be "
            "compiled anew: set compile to false"
        )
    for strategy in module.strategies:
        if strategy.differentiates_twice:
            raise UsageError(
                f"Speed: compiled cells cannot be differentiated twice, as {strategy!r} does: set "
                f"compile to false, or its exact to false if it has that"
            )


def _images_last(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a network, images (B, C, H, W) with channels last in memory."""
    return tuple(
        x.contiguous(memory_format=torch.channels_last)
        if isinstance(x, Tensor) and x.dim() == 4
        else x
        for x in args
    )
