"""Show a search in the loggers at each epoch: curves, heat maps and drawn cells."""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from nas_lightning.architecture import Cell, Genotype, state_name
from nas_lightning.drawing.cells import draw_genotype
from nas_lightning.drawing.heatmap import draw_weights
from nas_lightning.search import SearchModule
from nas_lightning.supernet import Mixing

SKIP = "skip_connect"
HEAT_MAPS_EVERY = 5
"""Number of epochs between heat maps, each of which takes most of a second to draw."""
SUBSCRIPTS = dict(zip("k-0123456789_{}", [*"ₖ₋₀₁₂₃₄₅₆₇₈₉", "", "", ""], strict=True))
MANY = 4
"""Largest number of cell kinds of which everything is shown: every α and β, and all pictures."""


def entropy(weights: Tensor) -> Tensor:
    """Return the mean entropy of the rows of weights (…, O), each normalised, in nats ()."""
    shares = weights / weights.sum(dim=-1, keepdim=True)
    mean: Tensor = torch.special.entr(shares).sum(dim=-1).mean()
    return mean


class SearchMonitor(Callback):
    """Show a search in the loggers at the end of each epoch.

    Every logger gets scalars for each cell kind: `alpha/KIND/EDGE/PRIMITIVE` and `beta/KIND/EDGE`
    (the parameters themselves), `search/entropy_KIND` (entropy of the operation weights, in nats),
    `search/edge_entropy_KIND`, and in spaces that have them `search/skips_KIND` (skip connections
    in the genotype). TensorBoard also gets the drawn cells and the genotype as text at each epoch,
    and heat maps of the mixing weights at every fifth epoch and the last.

    A search of more than four cell kinds, such as one that searches every cell separately, shows
    less: no single α and β, the drawn cells at every fifth epoch and the last, and heat maps at the
    last epoch only. The progress bar shows the sum of all skip connections, `search/skips`.

    The file `genotype.json` is written by the search itself, see `GenotypeWriter`.

    Args:
        pictures: Add pictures to TensorBoard, which takes seconds an epoch.
    """

    def __init__(self, pictures: bool = True) -> None:
        self.pictures = pictures

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the plan as text, and a layout with one chart for each edge."""
        assert isinstance(pl_module, SearchModule)
        plan = pl_module.plan.describe()
        for board in _boards(trainer):
            board.add_text("plan", "\n".join(f"    {line}" for line in plan.splitlines()))
            if _few(pl_module):
                board.add_custom_scalars(
                    {
                        name: charts
                        for cell in pl_module.space.cells
                        for name, charts in _charts(cell).items()
                    }
                )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the state of the search."""
        assert isinstance(pl_module, SearchModule)
        genotype = pl_module.genotype()
        with torch.no_grad():
            mixing = pl_module.arch()
        self._scalars(pl_module, genotype, mixing)
        if trainer.is_global_zero:
            epoch = trainer.current_epoch
            for board in _boards(trainer):
                lines = str(genotype).splitlines()
                board.add_text("genotype", "\n".join(f"    {line}" for line in lines), epoch)
                if self.pictures:
                    _pictures(board, epoch, pl_module, genotype, mixing)

    def _scalars(self, module: SearchModule, genotype: Genotype, mixing: Mixing) -> None:
        few = _few(module)
        values: dict[str, Tensor] = {}
        skips: dict[str, float] = {}
        for cell in module.space.cells:
            kind = cell.kind
            if SKIP in cell.primitives:
                skips[f"search/skips_{kind}"] = float(genotype.count(SKIP, kind))
            values[f"search/entropy_{kind}"] = entropy(mixing.ops[kind])
            by_node = [entropy(mixing.edges[kind][cell.incoming(node)]) for node in cell.nodes]
            values[f"search/edge_entropy_{kind}"] = torch.stack(by_node).mean()
            if few:
                values |= _parameters(module, cell)
        module.log_dict(skips, prog_bar=few, rank_zero_only=True)
        if skips and not few:
            module.log("search/skips", sum(skips.values()), prog_bar=True, rank_zero_only=True)
        # equal on all processes: nothing to reduce
        module.log_dict({n: value.detach() for n, value in values.items()}, rank_zero_only=True)


def _few(module: SearchModule) -> bool:
    """Return True if everything about every cell kind is shown."""
    return len(module.space.cells) <= MANY


def _parameters(module: SearchModule, cell: Cell) -> dict[str, Tensor]:
    """Return every single α and β of a cell kind, by the name of its curve."""
    values: dict[str, Tensor] = {}
    alpha, beta = module.arch.alpha[cell.kind], module.arch.beta.get(cell.kind)
    for l, edge in enumerate(cell.edges):  # noqa: E741 (the papers' letter)
        for m, primitive in enumerate(cell.primitives):
            values[f"alpha/{cell.kind}/{edge}/{primitive}"] = alpha[l, m]
        if beta is not None:
            values[f"beta/{cell.kind}/{edge}"] = beta[l]
    return values


def _charts(cell: Cell) -> dict[str, dict[str, list[str | list[str]]]]:
    """Return the layout of the charts: α of each edge, and β of the edges into each node."""
    return {
        f"alpha {cell.kind}": {
            f"edge {edge}": ["Multiline", [rf"^alpha/{cell.kind}/{edge}/"]] for edge in cell.edges
        },
        f"beta {cell.kind}": {
            f"node {node}": ["Multiline", [rf"^beta/{cell.kind}/\d+-{node}$"]]
            for node in cell.nodes
        },
    }


def _boards(trainer: Trainer) -> list[SummaryWriter]:
    """Return the writers of TensorBoard."""
    return [
        logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)
    ]


def _pictures(
    board: SummaryWriter, epoch: int, module: SearchModule, genotype: Genotype, mixing: Mixing
) -> None:
    few, last = _few(module), epoch + 1 == module.trainer.max_epochs
    some = last or epoch % HEAT_MAPS_EVERY == 0
    if few or some:
        board.add_figure("cells", draw_genotype(genotype), epoch)
    for cell in module.space.cells if last or (few and some) else ():
        kind, edges = cell.kind, _edge_names(cell)
        title = f"Operation weights, {kind} cell"
        figure = draw_weights(mixing.ops[kind].tolist(), edges, cell.primitives, title)
        board.add_figure(f"operation_weights/{kind}", figure, epoch)
        if kind in module.arch.beta:  # in another picture: the two have different scales
            row = mixing.edges[kind][None].tolist()
            figure = draw_weights(row, ["weight"], edges, f"Edge weights, {kind} cell")
            board.add_figure(f"edge_weights/{kind}", figure, epoch)


def _edge_names(cell: Cell) -> list[str]:
    def name(state: int) -> str:
        text = state_name(state, cell.inputs)
        # plain subscripts: the pictures do not read TeX in names
        return "".join(SUBSCRIPTS.get(c, c) for c in text) if text.startswith("c_") else text

    return [f"{name(edge.source)} → {name(edge.target)}" for edge in cell.edges]
