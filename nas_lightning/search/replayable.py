"""Check that the passes of a search can be captured."""

from __future__ import annotations

from nas_lightning.search.bilevel import first_order
from nas_lightning.search.module import SearchModule
from nas_lightning.search.plan import no_sampling
from nas_lightning.search.slots import ARCH_GRADIENT, OP_SAMPLING
from nas_lightning.search.strategy import SearchStrategy
from nas_lightning.supernet import SupernetFactory
from nas_lightning.tasks import Task


def forbids_graphs(module: SearchModule) -> str | None:
    """Return the reason why the passes of a search cannot be captured, or `None` if they can.

    A graph repeats the decisions that Python took at its capture: numbers, draws of the host and
    the choice of operations.
    """
    if module.plan[ARCH_GRADIENT] is not first_order:
        return "the architecture gradient reads numbers on the host"
    if module.plan[OP_SAMPLING] is not no_sampling:
        return "operations are drawn on the host"
    if module.drop_path:
        return "drop path changes from epoch to epoch"
    parts: list[Task | SupernetFactory | SearchStrategy] = [module.task, module.factory]
    for part in parts + module.strategies:
        if not part.replayable:
            return f"{type(part).__name__} may change what a step computes"
    return None
