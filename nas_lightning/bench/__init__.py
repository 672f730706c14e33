"""Measurements of a search on this machine: time, kernels, FLOPs and memory of its steps."""

from nas_lightning.bench.case import Case, Group
from nas_lightning.bench.measure import Options, measure
from nas_lightning.bench.results import Results, Row, compare

__all__ = ["Case", "Group", "Options", "Results", "Row", "compare", "measure"]
