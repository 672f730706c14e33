"""Layers of cells and of the networks around them."""

from nas_lightning.layers.auxiliary import AuxiliaryHead
from nas_lightning.layers.heads import ClassificationHead, DenseHead
from nas_lightning.layers.mbconv import MBConv, conv_norm
from nas_lightning.layers.own import (
    build_primitive,
    primitive_names,
    primitive_sources,
    register_primitive,
)
from nas_lightning.layers.primitives import NormRule
from nas_lightning.layers.stack import CellModule, CellStack, Place

__all__ = [
    "AuxiliaryHead",
    "CellModule",
    "CellStack",
    "ClassificationHead",
    "DenseHead",
    "MBConv",
    "NormRule",
    "Place",
    "build_primitive",
    "conv_norm",
    "primitive_names",
    "primitive_sources",
    "register_primitive",
]
