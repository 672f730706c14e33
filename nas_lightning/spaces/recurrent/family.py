"""Registry entry of the DARTS space of recurrent cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from nas_lightning.architecture import (
    CellGenotype,
    Genotype,
    NetworkFactory,
    NodeInput,
    SearchSpace,
)
from nas_lightning.architecture.genotype_text import genotype_of, read_call, read_edges
from nas_lightning.architecture.prices import Charge, Prices
from nas_lightning.architecture.resources import Resource
from nas_lightning.errors import UsageError
from nas_lightning.layers.text import TextInput
from nas_lightning.spaces.recurrent.network import RecurrentNetwork
from nas_lightning.spaces.recurrent.published import RECURRENT_PUBLISHED
from nas_lightning.spaces.recurrent.space import RecurrentSpace
from nas_lightning.spaces.recurrent.supernet import RecurrentSupernet
from nas_lightning.spaces.registry import SpaceFamily, register_space


@register_space
class Recurrent(SpaceFamily):
    """The DARTS space of recurrent cells."""

    spaces = (RecurrentSpace,)
    supernet = RecurrentSupernet
    network = RecurrentNetwork
    sizes: ClassVar[Mapping[str, str]] = {"channels": "hidden"}
    data: ClassVar[Mapping[str, Any]] = {"num_tokens": 10_000}  # words of the Penn Treebank
    data_sizes: ClassVar[Mapping[str, str]] = {"classes": "num_tokens"}
    published = RECURRENT_PUBLISHED

    @classmethod
    def inputs(cls, data_spec: Mapping[str, Any]) -> TextInput:
        """Return one word, on the device `meta`."""
        return TextInput(torch.zeros(1, 1, dtype=torch.long, device="meta"))

    @classmethod
    def prices(
        cls,
        space: SearchSpace,
        network: NetworkFactory,
        data_spec: Mapping[str, Any],
        resource: Resource,
    ) -> Prices:
        """Return the cost of every network of the space, the same for each operation of an edge.

        Operations have no parameters and no multiply-adds. A step multiplies the state of each
        predecessor that it keeps by its matrix.

        Raises:
            UsageError: The resource is not counted from parameters or multiply-adds.
        """
        if not resource.counted:
            raise UsageError(
                f"the {resource.name} of recurrent cells cannot be measured: take parameters"
            )
        (cell,) = space.cells

        def cost(*first: NodeInput) -> float:
            nodes = first, *[()] * (len(cell.nodes) - 1)
            kept = CellGenotype(nodes, cell.concat, cell.inputs)
            with torch.device("meta"):
                model = network.build(Genotype(space, {cell.kind: kept}), data_spec)
            return resource.costs(model, [], cls.inputs(data_spec))[1]

        kept = next(name for name in cell.primitives if name not in space.excluded)
        fixed = cost()
        costs = torch.ones(len(cell.edges), len(cell.primitives), dtype=torch.float64)
        return Prices(fixed, (Charge(cell.kind, costs * (cost(NodeInput(kept, 0)) - fixed)),))

    @classmethod
    def read_text(cls, text: str) -> Genotype | None:
        """Read `Genotype(recurrent=[…], concat=…)`."""
        call = read_call(text)
        if call is None or "recurrent" not in call:
            return None
        nodes = read_edges(call["recurrent"], "recurrent", inputs=1, each=1)
        cell = {"nodes": nodes, "concat": call.get("concat")}
        return genotype_of({"recurrent": cell}, RecurrentSpace())
