"""Reading of masks, whose pixels are numbers and not colours."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nas_lightning.data.read_image import UNREADABLE, reason
from nas_lightning.errors import DataError
from nas_lightning.files import open_ordinary

STEPS = {"L;2": 85, "L;4": 17}
"""Factor by which Pillow multiplies grey values of 2 and 4 bits, so that the largest is 255."""


def read_mask(path: Path) -> NDArray[np.int32]:
    """Return the numbers (H, W) of a mask, a grey or palette PNG file of at most 16 bits.

    Args:
        path: The file; links are followed.

    Raises:
        DataError: It cannot be read, or holds colours. The message names it.
    """
    try:
        with open_ordinary(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as damaged metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=("PNG",)) as image:
                rawmode = str(image.tile[0][3]) if image.tile else ""
                image.load()
                if image.mode not in ("1", "L", "P", "I", "I;16"):
                    raise DataError(
                        f"its pixels are colours ({image.mode}), not class numbers: save it as a "
                        "grey or palette PNG"
                    )
                numbers = np.asarray(image).astype(np.int32)
    except UNREADABLE as error:
        text = "not a PNG file" if isinstance(error, UnidentifiedImageError) else reason(error)
        raise DataError(
            f"The mask {str(path)!r} cannot be read ({text}): replace or remove it."
        ) from error
    if rawmode in STEPS and image.mode == "L":
        numbers //= STEPS[rawmode]
    return numbers
