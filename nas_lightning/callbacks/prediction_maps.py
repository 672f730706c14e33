"""Predicted maps of pixels as files."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

GOLDEN = 0.618034
"""Golden ratio: multiples of it, modulo 1, spread hues evenly, however many there are."""


def write_map(folder: Path, name: Path, values: Tensor) -> Path:
    """Write the map of a sample.

    Whole numbers (H, W) from 0 to 255 become a palette PNG file, whose pixels are the numbers, and
    larger ones a grey PNG file of 16 bits. Other values (…) become a file of numpy.

    Args:
        folder: Folder of the maps.
        name: Name of the file relative to the folder, without suffix.
        values: The values, on the CPU.

    Returns:
        Path of the file.
    """
    # numpy has no bfloat16
    found = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = found.ndim == 2 and np.issubdtype(found.dtype, np.integer)
    if not whole or found.min(initial=0) < 0 or found.max(initial=0) > 65535:
        path = path.with_name(f"{path.name}.npy")
        np.save(path, found)
        return path
    path = path.with_name(f"{path.name}.png")
    if found.max(initial=0) > 255:
        Image.fromarray(found.astype(np.uint16)).save(path)
        return path
    image = Image.fromarray(found.astype(np.uint8))
    image.putpalette(_palette())
    image.save(path)
    return path


def _palette() -> list[int]:
    """Return red, green and blue of 256 classes; class 0 is black."""
    colours = [0, 0, 0]
    for number in range(1, 256):
        colour = colorsys.hsv_to_rgb(number * GOLDEN % 1, 0.75, 0.95)
        colours += [round(255 * part) for part in colour]
    return colours
