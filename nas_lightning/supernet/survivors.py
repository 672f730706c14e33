"""Survivors: the operations that run, while the others of the search space do not."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nas_lightning.architecture import SearchSpace
from nas_lightning.supernet.mixing import Active


class Survivors(nn.Module):
    """The operations that run, as a mask for each cell kind.

    The masks are buffers, so they are part of every checkpoint. An edge without survivors does not
    run.

    Args:
        space: The search space.
        kept: Masks (E, O) by cell kind, True for operations that run from the start. All run in
            kinds that are left out.
    """

    def __init__(self, space: SearchSpace, kept: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.kinds = space.kinds
        for cell in space.cells:
            shape = len(cell.edges), len(cell.primitives)
            # on the host, also where a network is built without memory
            everything = torch.ones(shape, dtype=torch.bool, device="cpu")
            mask = everything & kept.get(cell.kind, everything)
            self.register_buffer(_name(cell.kind), mask)
        # copies on the host, which are read without waiting for the device
        self._running: dict[str, Active] = {}
        self._read()
        self.register_load_state_dict_post_hook(Survivors._read)  # type: ignore[no-untyped-call] # of torch

    def kept(self, kind: str) -> Tensor:
        """Return the mask of a cell kind (E, O), True for operations that run."""
        return self.get_buffer(_name(kind))

    def running(self, kind: str) -> Active | None:
        """Return the operations that run on each edge; `None` if all of them do."""
        return self._running.get(kind)

    def frozen(self, kind: str) -> Tensor:
        """Return the entries of α (E, O) that have nothing to learn.

        They belong to removed operations, or to edges with at most one survivor.
        """
        kept = self.kept(kind)
        return ~kept | (kept.sum(dim=1, keepdim=True) <= 1)

    def keep(self, kind: str, mask: Tensor) -> None:
        """Remove the operations of a cell kind that a mask (E, O) does not keep."""
        kept = self.kept(kind)
        self.choose({kind: kept & mask.to(kept.device)})

    def choose(self, masks: Mapping[str, Tensor]) -> None:
        """Let exactly the operations of masks (E, O) run, by cell kind."""
        for kind, mask in masks.items():
            self.kept(kind).copy_(mask)
        self._read()

    def _read(self, *_: object) -> None:
        """Read the host's copies from the buffers."""
        masks = {kind: self.kept(kind).tolist() for kind in self.kinds}
        self._running = {
            kind: tuple(tuple(m for m, runs in enumerate(row) if runs) for row in rows)
            for kind, rows in masks.items()
            if not all(map(all, rows))
        }


def _name(kind: str) -> str:
    return f"kept_{kind}"
