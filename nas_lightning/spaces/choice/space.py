"""The space of a network with choices: one decision for each choice or group."""

from __future__ import annotations

from typing import Any, ClassVar

from nas_lightning.architecture.space import Cell, Edge, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.text import few


class ChoiceSpace(SearchSpace):
    """The choices of a network: each is a cell of one edge, whose primitives are its candidates.

    The kind of the cell is the name of the choice, or of the group that shares its α.

    Args:
        network: Import path of the network's class, such as `my_net.MyNet`.
        arguments: Arguments of its constructor, except those that come from the data.
        choices: Name of each choice or group → names of its candidates.
        skips: Name of a choice or group → those of its candidates that return their input, such as
            `nn.Identity`. They count as skip connections.

    Raises:
        UsageError: There is no choice, a choice has no or equal candidates, or `skips` names
            others.
    """

    of_choices: ClassVar[bool] = True

    def __init__(
        self,
        network: str,
        arguments: dict[str, Any],
        choices: dict[str, list[str]],
        skips: dict[str, list[str]] | None = None,
    ) -> None:
        self.network = network
        self.arguments = dict(arguments)
        self.choices = {name: list(candidates) for name, candidates in choices.items()}
        self.skips = {name: list(candidates) for name, candidates in (skips or {}).items()}
        if not choices:
            raise UsageError(f"{network} has no choices: put a Choice into it")
        for name, candidates in choices.items():
            if not candidates or len(set(candidates)) < len(candidates):
                raise UsageError(f"the choice {name!r} needs candidates, each once")
        for name, candidates in self.skips.items():
            if not set(candidates) <= set(self.choices.get(name, ())):
                raise UsageError(
                    f"skips: {name!r} is no choice with the candidates {few(candidates)}"
                )
        cells = [Cell(n, 1, (Edge(0, 1),), tuple(c)) for n, c in self.choices.items()]
        super().__init__(network, cells, inputs_per_node=None, excluded=())

    def title(self, kind: str) -> str:
        """Return the name of a choice."""
        return kind

    def is_skip(self, kind: str, primitive: str) -> bool:
        """Return True if a candidate of a choice returns its input."""
        return primitive in self.skips.get(kind, ())
