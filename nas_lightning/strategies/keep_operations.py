"""A search among some of the operations: the best of an earlier search, or given sets."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from nas_lightning.architecture import Cell, Genotype, SearchSpace
from nas_lightning.errors import CheckpointMismatchError, UsageError
from nas_lightning.hparams import describe
from nas_lightning.ranges import at_least, check
from nas_lightning.search import SearchPlan, SearchStrategy
from nas_lightning.spaces import load_genotype
from nas_lightning.text import shown
from nas_lightning.training.compatibility import KEEP

if TYPE_CHECKING:
    from nas_lightning.search import SearchModule

ENTRY = "candidates"
"""Entry of a genotype's provenance: the sets that its search chose from."""
Sets = dict[str, dict[str, list[str]]]
"""For each cell kind, the names of the operations that run on each edge."""


@final
class KeepOperations(SearchStrategy):
    """Search among some of the operations of each edge. The others never run.

    The sets may differ from edge to edge and between kinds of cells. They come from an earlier
    search, or are given directly:

    - `genotype` and `keep`: the `keep` operations of largest mixing weight on each edge. Of equal
      weights the later operation is kept (P-DARTS, Chen et al., ICCV 2019). If that search had
      sets itself, the new ones are subsets of them. At least one operation is kept that a genotype
      may contain.
    - `candidates`: for each cell kind a list of operations for all of its edges, or a list for
      each edge by its name `SOURCE-TARGET`, with states counted from 0, the inputs of the cell
      first. All operations run on the edges and in the kinds that are left out:

      ```yaml
      class_path: KeepOperations
      init_args:
        candidates:
          normal: {0-2: [skip_connect, sep_conv_3x3], 1-2: [none, sep_conv_3x3]}
          reduce: [skip_connect, sep_conv_3x3]
      ```

    Mixing weights are those of the relaxation over the set alone, so the softmax is one over the
    set. Operations outside of it have no gradient and no momentum; their weights and their α stay
    as they were drawn. Records the sets in the genotype's provenance (`candidates`). Checkpoints
    hold the content of the genotype: a run can be resumed when its file is gone, and is refused
    with other sets. Cost: that of the operations that run.

    Args:
        genotype: Result of the earlier search: its run directory, its `genotype.json`, or the
            content of that file.
        keep: Number of operations to keep on each edge.
        candidates: The sets themselves.

    Raises:
        UsageError: `keep` is out of range, or neither or both of `genotype` and `candidates` are
            given.
        NASError: The genotype cannot be read, or holds no mixing weights.
    """

    leaves_parameters_unused = True
    replayable = True

    def __init__(
        self,
        genotype: str | dict[str, Any] | None = None,
        keep: int | None = None,
        candidates: dict[str, Any] | None = None,
    ) -> None:
        self.keep = keep
        if keep is not None:
            check(self, keep=at_least(1))
        if (genotype is None) == (candidates is None):
            raise UsageError(
                "KeepOperations: give either genotype, the run directory of an earlier search, or "
                "candidates"
            )
        if (genotype is None) != (keep is None):
            raise UsageError(
                "KeepOperations: keep is the number of operations to keep of those in genotype: "
                "give both or neither"
            )
        self.candidates = candidates
        # the content, not the path: a checkpoint must outlive the file
        self.genotype = None if genotype is None else _content(load_genotype(genotype))
        self._sets: Sets = {}

    @property
    def content(self) -> Mapping[str, Any]:
        """The content of the genotype, which checkpoints record instead of its path."""
        return {} if self.genotype is None else {"genotype": self.genotype}

    def __repr__(self) -> str:
        """Return the constructor call, with the run directory of a genotype in place of it."""
        if self.genotype is None:
            return describe(self)
        origin = self.genotype["provenance"].get("run_dir", "…")
        return f"KeepOperations(genotype={origin!r}, keep={self.keep})"

    def configure(self, plan: SearchPlan) -> None:
        """Remove the other operations.

        Raises:
            UsageError: The sets do not fit the space, or leave an edge without an operation that a
                genotype may contain.
        """
        if self.genotype is not None:
            assert self.keep is not None
            self._sets = best(Genotype.from_dict(self.genotype), plan.space, self.keep)
        else:
            self._sets = given(self.candidates or {}, plan.space)
        for kind, rows in self._sets.items():
            for edge, names in rows.items():
                if not set(names) - plan.space.excluded:
                    raise UsageError(
                        f"KeepOperations: edge {edge} of {kind} would have {', '.join(names)} "
                        f"only, which no genotype contains: keep more operations"
                    )
        masks = {kind: _mask(plan.space.cell(kind), rows) for kind, rows in self._sets.items()}
        plan.keep_operations(masks, by=self)

    def provenance(self, module: SearchModule, genotype: Genotype) -> dict[str, Any]:
        """Record the sets."""
        return {ENTRY: self._sets}

    def state_dict(self) -> dict[str, Any]:
        """Return the sets."""
        return {"sets": self._sets}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that a checkpoint has the same sets.

        Raises:
            CheckpointMismatchError: It has others; names the first edge that differs.
        """
        before: Sets = state_dict["sets"]
        for kind, rows in self._sets.items():
            for edge, names in rows.items():
                earlier = before.get(kind, {}).get(edge, [])
                if earlier != names:
                    raise CheckpointMismatchError(
                        f"KeepOperations keeps {', '.join(earlier)} on edge {edge} of {kind} in "
                        f"the checkpoint and {', '.join(names)} now: {KEEP}"
                    )


def _content(genotype: Genotype) -> dict[str, Any]:
    """Return the JSON form of a genotype, without most of its provenance."""
    names = ("run_dir", "seed", "epoch", ENTRY)
    origin = {name: genotype.provenance[name] for name in names if name in genotype.provenance}
    return replace(genotype, provenance=origin).to_dict()


def best(genotype: Genotype, space: SearchSpace, keep: int) -> Sets:
    """Return the operations of largest mixing weight on each edge, in the order of the space.

    Args:
        genotype: Result of an earlier search.
        space: The space of the search that is to come.
        keep: Number of operations on each edge; an edge with fewer keeps all.

    Raises:
        UsageError: The genotype has no mixing weights, or is of another space.
    """
    if genotype.space.kinds != space.kinds:
        kinds = [", ".join(each.kinds) for each in (genotype.space, space)]
        raise UsageError(
            f"KeepOperations: the genotype has cells {kinds[0]}, the search {kinds[1]}: use the "
            f"same space in both"
        )
    sets: Sets = {}
    for cell in space.cells:
        earlier = genotype.space.cell(cell.kind)
        if earlier.edges != cell.edges or not set(earlier.primitives) <= set(cell.primitives):
            raise UsageError(
                f"KeepOperations: the cell {cell.kind} of the genotype has other edges or "
                f"operations than that of the search: use the same space in both"
            )
        ran = genotype.provenance.get(ENTRY, {})
        sets[cell.kind] = {}
        for edge, weights in zip(cell.edges, _weights(genotype, earlier), strict=True):
            names = _ran(ran, cell.kind, str(edge), earlier.primitives)
            # a stable sort, so the later of equal weights come last
            order = sorted(names, key=weights.__getitem__)
            chosen = order[-keep:]
            allowed = [name for name in order if name not in space.excluded]
            if (
                allowed and not set(chosen) - space.excluded
            ):  # `none` alone would be the edge's operation
                chosen[:1] = allowed[-1:]
            sets[cell.kind][str(edge)] = [name for name in cell.primitives if name in chosen]
    return sets


def _weights(genotype: Genotype, cell: Cell) -> Iterator[dict[str, float]]:
    """Yield the mixing weights of each edge of a cell by operation.

    Raises:
        UsageError: There are none, or not one for each operation on each edge.
    """
    found = genotype.mixing.get(cell.kind)
    rows = found.get("ops") if isinstance(found, Mapping) else None
    if not isinstance(rows, Sequence) or len(rows) != len(cell.edges):
        raise UsageError(
            f"KeepOperations: the genotype has no mixing weights of the cell {cell.kind} by which "
            f"operations could be ranked: name the run directory of a search"
        )
    for row in rows:
        numbers = isinstance(row, Sequence) and all(isinstance(x, int | float) for x in row)
        if not numbers or len(row) != len(cell.primitives):
            raise UsageError(
                f"KeepOperations: the mixing weights of the cell {cell.kind} in the genotype must "
                f"be {len(cell.primitives)} numbers for each edge, found {shown(row)}"
            )
        yield dict(zip(cell.primitives, row, strict=True))


def _ran(sets: object, kind: str, edge: str, names: Sequence[str]) -> list[str]:
    """Return the operations that ran on an edge in an earlier search, in their order."""
    rows = sets.get(kind) if isinstance(sets, Mapping) else None
    chosen = rows.get(edge) if isinstance(rows, Mapping) else None
    return [name for name in names if not isinstance(chosen, list) or name in chosen]


def given(candidates: Mapping[str, object], space: SearchSpace) -> Sets:
    """Return given sets for all edges, in the order of the space.

    Args:
        candidates: See `KeepOperations`.
        space: The search space.

    Raises:
        UsageError: A kind, an edge or an operation is unknown, or a set is empty or no list.
    """
    _known(candidates, space.kinds, "candidates", "cell")
    sets: Sets = {}
    for cell in space.cells:
        edges = [str(edge) for edge in cell.edges]
        rows = candidates.get(cell.kind, {})
        if not isinstance(rows, Mapping):
            rows = dict.fromkeys(edges, rows)
        _known(rows, edges, f"candidates.{cell.kind}", "edge")
        sets[cell.kind] = {}
        for edge in edges:
            names = rows.get(edge, list(cell.primitives))
            where = f"candidates.{cell.kind}.{edge}"
            if isinstance(names, str) or not isinstance(names, Sequence) or not names:
                raise UsageError(
                    f"KeepOperations: {where} must be a list of operations, found {shown(names)}"
                )
            _known(names, cell.primitives, where, "operation")
            sets[cell.kind][edge] = [name for name in cell.primitives if name in names]
    return sets


def _known(found: Mapping[str, object] | Sequence[str], known: Sequence[str], at: str,
           what: str) -> None:  # fmt: skip
    """Check that names are known.

    Raises:
        UsageError: One is not; names the nearest.
    """
    for name in found:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UsageError(
                f"KeepOperations: {at}: unknown {what} {shown(name)}; {hint}choose from "
                f"{', '.join(known)}"
            )


def _mask(cell: Cell, rows: Mapping[str, Sequence[str]]) -> Tensor:
    """Return the mask of sets (E, O), True for operations that run."""
    return torch.tensor([[name in rows[str(e)] for name in cell.primitives] for e in cell.edges])
