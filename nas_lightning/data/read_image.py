"""Reading of image files that anybody may have made."""

from __future__ import annotations

import logging
import struct
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from nas_lightning.data.pixels import WHITE, check_deep_colours, to_rgb
from nas_lightning.errors import DataError
from nas_lightning.files import open_ordinary

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are read, whatever a file is called. Pillow itself would also start other programs,
such as Ghostscript for PostScript."""

UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError,
    struct.error, Image.DecompressionBombError, Image.DecompressionBombWarning, DataError,
)  # fmt: skip
"""Errors of an image that cannot be used; Pillow raises many kinds for damaged files."""

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints about damaged files

_LONGEST = 200  # times the shorter side: resizing would make the longer one huge


def read_image(path: Path, background: int = WHITE, white: float | None = None) -> Image.Image:
    """Read an image file as RGB, upright, see `to_rgb`.

    Only ordinary files in one of `FORMATS` are read, with one picture, at most 89 million pixels
    (Pillow's limit) and one side at most 200 times as long as the other.

    Args:
        path: The file; links are followed.
        background: Grey level that shows through transparent pixels.
        white: Value of white in grey images of more than 8 bits.

    Raises:
        UNREADABLE: It is none, or damaged. `reason` describes the error.
    """
    with open_ordinary(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as damaged metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file, formats=FORMATS) as image:
            # cameras add previews to their pictures, in the format MPO
            if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
                raise DataError(f"it holds {frames} pictures: save one as a file of its own")
            if max(image.size) > _LONGEST * min(image.size):
                raise DataError(
                    f"one side of its {image.width} by {image.height} pixels is over {_LONGEST} "
                    "times the other: crop it"
                )
            rawmode = str(image.tile[0][3]) if image.tile else ""
            image.load()
            check_deep_colours(image, rawmode, white)
            return to_rgb(image, background, white)


def reason(error: BaseException) -> str:
    """Return the reason why an image cannot be read, in one line and without its path."""
    if isinstance(error, UnidentifiedImageError):
        return f"not an image in one of the formats {', '.join(FORMATS)}, or damaged at its start"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it has more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or "damaged"
