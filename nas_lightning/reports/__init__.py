"""Reports: pictures of cells and weights, and watching a search."""

from nas_lightning.reports.drawing import draw_cell, draw_genotype, save_drawing
from nas_lightning.reports.heatmap import draw_weights
from nas_lightning.reports.monitor import SearchMonitor

__all__ = ["SearchMonitor", "draw_cell", "draw_genotype", "draw_weights", "save_drawing"]
