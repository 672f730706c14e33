"""The space of a network with choices: one decision for each choice or group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas_lightning.architecture.space import Cell, Edge, SearchSpace
from nas_lightning.errors import UsageError


class ChoiceSpace(SearchSpace):
    """The choices of a network: each is a cell of one edge, whose primitives are its candidates.

    The kind of the cell is the name of the choice, or of the group that shares its α.

    Args:
        network: Import path of the network's class, such as `my_net.MyNet`.
        arguments: Arguments of its constructor, except those that come from the data.
        choices: Name of each choice or group → names of its candidates.

    Raises:
        UsageError: There is no choice, or a choice has no or equal candidates.
    """

    def __init__(
        self, network: str, arguments: dict[str, Any], choices: dict[str, list[str]]
    ) -> None:
        self.network = network
        self.arguments = dict(arguments)
        self.choices = {name: list(candidates) for name, candidates in choices.items()}
        if not choices:
            raise UsageError(f"{network} has no choices: put a Choice into it")
        for name, candidates in choices.items():
            if not candidates or len(set(candidates)) < len(candidates):
                raise UsageError(f"the choice {name!r} needs candidates, each once")
        cells = [Cell(n, 1, (Edge(0, 1),), tuple(c)) for n, c in self.choices.items()]
        super().__init__(network, cells, inputs_per_node=None, excluded=())

    def title(self, kind: str) -> str:
        """Return the name of a choice."""
        return kind


def chosen_candidates(cells: Mapping[str, Any]) -> dict[str, str]:
    """Return the candidate that each cell of a genotype names, by name of the choice."""
    return {kind: cell.nodes[0][0].primitive for kind, cell in cells.items()}
