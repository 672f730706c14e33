"""Show a search in the loggers at each epoch: curves, heat maps and drawn cells."""

from __future__ import annotations

from typing import cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchmetrics import MetricCollection

from nas_lightning.architecture import Cell, Genotype, state_name
from nas_lightning.drawing.cells import draw_genotype
from nas_lightning.drawing.choices import weight_maps
from nas_lightning.drawing.heatmap import draw_weights
from nas_lightning.search import SearchModule
from nas_lightning.supernet import Mixing

HEAT_MAPS_EVERY = 5
"""Number of epochs between heat maps, each of which takes most of a second to draw."""
SUBSCRIPTS = dict(zip("k-0123456789_{}", [*"ₖ₋₀₁₂₃₄₅₆₇₈₉", "", "", ""], strict=True))
MANY = 4
"""Largest number of cell kinds of which everything is shown: every α and β, and all pictures."""
MANY_CHOICES = 50
"""The same for the choices of a network, each of which has the α of one edge."""
GROUP = "weights_"
"""Start of the names of single α and β in TensorBoard, which sorts groups by name: the last."""

Charts = dict[str, dict[str, list[str | list[str]]]]
"""Categories of Custom Scalars → titles of charts → kind of chart, and patterns of its tags."""


def entropy(weights: Tensor) -> Tensor:
    """Return the mean entropy of the rows of weights (…, O), each normalised, in nats ().

    A row of zeros, of an edge that was removed, has entropy 0.
    """
    total = weights.sum(dim=-1, keepdim=True)
    shares = weights / total.clamp_min(torch.finfo(weights.dtype).tiny)
    mean: Tensor = torch.special.entr(shares).sum(dim=-1).mean()
    return mean


PREFIXES = ("search/skips", "search/entropy_", "search/edge_entropy_", "alpha/", "beta/")
"""Prefixes of the names under which `SearchMonitor` logs."""


class SearchMonitor(Callback):
    """Show a search in the loggers at the end of each epoch.

    Every logger gets `search/entropy` (mean entropy of the operation weights, in nats) and, in
    spaces that have them, `search/skips` (skip connections in the genotype). The same for each cell
    kind is `search/entropy_KIND`, `search/edge_entropy_KIND` and `search/skips_KIND`.

    TensorBoard also gets the drawn cells and the genotype as text whenever the genotype changes,
    heat maps of the mixing weights at every fifth epoch and the last, and under Custom Scalars one
    chart for the α of each edge and one for the β of each node. `metrics.csv` gets each α and β
    (the parameters themselves) as `alpha/KIND/EDGE/PRIMITIVE` and `beta/KIND/EDGE`.

    A search of more than four cell kinds, such as one that searches every cell separately, shows
    less: no α and β, the drawn cells at every fifth epoch and the last, and heat maps at the last
    epoch only.

    In a network with choices the values of single choices are left out, as are α if there are more
    than 50. The skip connections are the candidates that are `nn.Identity`. A heat map shows all
    choices with the same candidates, one in each row.

    The file `genotype.json` is written by the search itself, see `GenotypeWriter`.

    Args:
        pictures: Add pictures to TensorBoard, which takes seconds an epoch.
        curves: Log each α and β to every logger, as `alpha/…` and `beta/…`. TensorBoard then has a
            chart for each of them.
    """

    def __init__(self, pictures: bool = True, curves: bool = False) -> None:
        self.pictures = pictures
        self.curves = curves
        self._told: Genotype | None = None
        """Genotype that the loggers have last got as text."""
        self._drawn: Genotype | None = None
        """Genotype that they have last got as a picture."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the plan as text, and the layout of the charts."""
        assert isinstance(pl_module, SearchModule)
        self._told = self._drawn = None
        plan = pl_module.plan.describe()
        for board in _boards(trainer):
            board.add_text("plan", "\n".join(f"    {line}" for line in plan.splitlines()))
            board.add_custom_scalars(_layout(pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the state of the search."""
        assert isinstance(pl_module, SearchModule)
        genotype = pl_module.genotype()  # on all processes: strategies may communicate
        with torch.no_grad():
            mixing = pl_module.arch()
        self._scalars(pl_module, genotype, mixing)
        if not trainer.is_global_zero:
            return
        step = trainer.fit_loop.epoch_loop.total_batch_idx  # as for values that modules log
        if _few(pl_module):
            self._parameters(trainer, _parameters(pl_module), step)
        for board in _boards(trainer):
            if genotype != self._told:
                lines = str(genotype).splitlines()
                board.add_text("genotype", "\n".join(f"    {line}" for line in lines), step)
            if self.pictures:
                _show_weights(board, step, pl_module, mixing)
            if self.pictures and genotype != self._drawn and self._draws_cells(pl_module):
                board.add_figure("overview/picture_cells", draw_genotype(genotype), step)
        self._told = genotype
        if self._draws_cells(pl_module):
            self._drawn = genotype

    def _draws_cells(self, module: SearchModule) -> bool:
        """Return True in epochs with drawn cells: all, or of many kinds only some."""
        return _few(module) or _some(module)

    def _scalars(self, module: SearchModule, genotype: Genotype, mixing: Mixing) -> None:
        """Log what the progress bar and the monitors of other callbacks may use, in one call."""
        skips: dict[str, float] = {}
        values: dict[str, Tensor | float] = {}
        entropies = []
        space = module.space
        for cell in space.cells:
            kind = cell.kind
            if any(space.is_skip(kind, primitive) for primitive in cell.primitives):
                skips[f"search/skips_{kind}"] = float(genotype.skips(kind))
            entropies.append(entropy(mixing.ops[kind]))
            values[f"search/entropy_{kind}"] = entropies[-1].detach()
            by_node = [entropy(mixing.edges[kind][cell.incoming(node)]) for node in cell.nodes]
            values[f"search/edge_entropy_{kind}"] = torch.stack(by_node).mean().detach()
        total = sum(skips.values())
        has_skips, few = bool(skips), _few(module)
        if space.of_choices:  # each kind is a single edge: only the sums are worth a curve
            values, skips, few = {}, {}, False
        values["search/entropy"] = torch.stack(entropies).mean().detach()
        # equal on all processes: nothing to reduce
        module.log_dict(values, rank_zero_only=True)
        module.log_dict(skips, prog_bar=few, rank_zero_only=True)
        if has_skips:
            module.log("search/skips", total, prog_bar=not few, rank_zero_only=True)

    def _parameters(self, trainer: Trainer, values: dict[str, float], step: int) -> None:
        """Write all α and β at once, past the module: hundreds of its log calls take seconds."""
        for logger in trainer.loggers:
            if self.curves or isinstance(logger, CSVLogger):
                logger.log_metrics({**values, "epoch": trainer.current_epoch}, step)
            if isinstance(logger, TensorBoardLogger):
                for name, value in values.items():
                    logger.experiment.add_scalar(GROUP + name, value, step)


def _show_weights(board: SummaryWriter, step: int, module: SearchModule, mixing: Mixing) -> None:
    """Add the heat maps that are due in this epoch."""
    if not (_last(module) or (_few(module) and _some(module))):
        return
    if module.space.of_choices:
        _choice_maps(board, step, module, mixing)
    else:
        _heat_maps(board, step, module, mixing)


def _choice_maps(board: SummaryWriter, step: int, module: SearchModule, mixing: Mixing) -> None:
    rows = {kind: ops[0].tolist() for kind, ops in mixing.ops.items()}
    title = f"Weights of the candidates, epoch {module.current_epoch + 1}"
    for number, part in enumerate(weight_maps(module.space, rows), start=1):
        shown = part.weights, part.choices, part.candidates, title
        figure = draw_weights(*shown, blank=part.joined)
        board.add_figure(f"weights/candidates_{number}", figure, step)


def _heat_maps(board: SummaryWriter, step: int, module: SearchModule, mixing: Mixing) -> None:
    epoch = module.current_epoch + 1
    for cell in module.space.cells:
        kind, edges, of = cell.kind, _edge_names(cell), f"{cell.kind} cell, epoch {epoch}"
        title = f"Operation weights, {of}"
        figure = draw_weights(mixing.ops[kind].tolist(), edges, cell.primitives, title)
        board.add_figure(f"weights/operations_{kind}", figure, step)
        if kind in module.arch.beta:  # in another picture: the two have different scales
            row = mixing.edges[kind][None].tolist()
            figure = draw_weights(row, ["weight"], edges, f"Edge weights, {of}")
            board.add_figure(f"weights/edges_{kind}", figure, step)


def _last(module: SearchModule) -> bool:
    """Return True in the last epoch."""
    return module.current_epoch + 1 == module.trainer.max_epochs


def _some(module: SearchModule) -> bool:
    """Return True in every fifth epoch and the last."""
    return _last(module) or module.current_epoch % HEAT_MAPS_EVERY == 0


def _few(module: SearchModule) -> bool:
    """Return True if everything about every cell kind is shown."""
    return len(module.space.cells) <= (MANY_CHOICES if module.space.of_choices else MANY)


def _parameters(module: SearchModule) -> dict[str, float]:
    """Return every single α and β, by the name of its curve."""
    values: dict[str, float] = {}
    for cell in module.space.cells:
        alpha = module.arch.alpha[cell.kind].detach().tolist()  # one wait for the device
        for edge, row in zip(cell.edges, alpha, strict=True):
            for primitive, value in zip(cell.primitives, row, strict=True):
                values[f"alpha/{cell.kind}/{edge}/{primitive}"] = value
        if cell.kind in module.arch.beta:
            beta = module.arch.beta[cell.kind].detach().tolist()
            for edge, value in zip(cell.edges, beta, strict=True):
                values[f"beta/{cell.kind}/{edge}"] = value
    return values


def _layout(module: SearchModule) -> Charts:
    """Return the charts: losses and metrics, α of each edge, and β of the edges into a node."""
    qualities = map(str, cast("MetricCollection", module.streams.metrics["val_metrics"]))
    charts: Charts = {
        "losses and metrics": {
            name: ["Multiline", [rf"^search/(train|val|arch)_{name}(_epoch)?$"]]
            for name in ("loss", *qualities)
        }
    }
    if any(count > 1 for count in module.supernet.cell_counts.values()):
        charts["cells"] = {"agreement of cells": ["Multiline", [r"^search/lambda"]]}
    if not _few(module):
        return charts
    if module.space.of_choices:
        charts["alpha"] = {
            kind: ["Multiline", [rf"^{GROUP}alpha/{kind}/"]] for kind in module.space.kinds
        }
        return charts
    for cell in module.space.cells:
        names = dict(zip(cell.edges, _edge_names(cell), strict=True))
        charts[f"alpha, {cell.kind} cell"] = {
            f"edge {name}": ["Multiline", [rf"^{GROUP}alpha/{cell.kind}/{edge}/"]]
            for edge, name in names.items()
        }
        if cell.kind in module.arch.beta:
            charts[f"beta, {cell.kind} cell"] = {
                f"edges into node {node - cell.inputs if cell.inputs > 1 else node}": [
                    "Multiline", [rf"^{GROUP}beta/{cell.kind}/\d+-{node}$"],
                ]
                for node in cell.nodes
            }  # fmt: skip
    return charts


def _boards(trainer: Trainer) -> list[SummaryWriter]:
    """Return the writers of TensorBoard."""
    return [
        logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)
    ]


def _edge_names(cell: Cell) -> list[str]:
    def name(state: int) -> str:
        text = state_name(state, cell.inputs)
        # plain subscripts: the pictures do not read TeX in names
        return "".join(SUBSCRIPTS.get(c, c) for c in text) if text.startswith("c_") else text

    return [f"{name(edge.source)} → {name(edge.target)}" for edge in cell.edges]
