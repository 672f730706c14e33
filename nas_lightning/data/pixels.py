"""Conversion of images of every mode of Pillow to RGB, without loss of what they show."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from nas_lightning.errors import DataError

WHITE = 255
"""Grey level that shows through transparent pixels, unless another one is set."""
_FULL = 65535.0  # white of 16 bits
_DARK = 1 / 16  # of the range: values of 12 bits in 16 leave 16 of the 256 grey levels
_ORIENTATION, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 0x0112, 258, 262, 339  # tags of Exif and TIFF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(image: Image.Image, background: int = WHITE, white: float | None = None) -> Image.Image:
    """Convert an image of any mode to RGB, upright as its Exif orientation says.

    Transparent pixels show the background. Grey values of more than 8 bits are scaled to 0 to 255.

    Args:
        image: Image of any mode.
        background: Grey level that shows through transparent pixels, from 0 (black) to 255 (white).
        white: Grey value that becomes 255 in images of more than 8 bits; 0 is black. `None` means
            the largest value of 16 bits, or of 12 bits in a TIFF file that states them. It must be
            given for images of 32 bits, whose range no file states. It does not apply to PGM files,
            which state their largest value.

    Returns:
        The image in mode RGB; the given one if nothing has to change.

    Raises:
        DataError: The range of the grey values is unknown; values are negative, not finite, or
            all so small that the image would be all but black; or a drawing cannot be seen over
            the background.
    """
    image.load()  # Pillow turns a TIFF upright then, and removes its orientation
    turn = _UPRIGHT.get(_orientation(image))
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        rgb = _from_deep(image, background, white)
    elif image.has_transparency_data:
        rgb = _over(image, background)
    elif image.mode == "L" and _tag(image, _SAMPLE_FORMAT) == 2:
        raise DataError("its grey values are signed: save it with values from 0 to 255")
    else:
        rgb = image if image.mode == "RGB" else image.convert("RGB")
    if turn is not None:
        rgb = rgb.transpose(turn)
        rgb.info = {}  # the orientation is no longer that of the file
    return rgb


def check_deep_colours(image: Image.Image, rawmode: str, white: float | None) -> None:
    """Refuse colours of 16 bits that Pillow reduced to 8 and that are all but black then.

    Args:
        image: The image after it was read, of 8 bits.
        rawmode: Pillow's name of the pixels in the file, such as `RGB;16B`.
        white: As in `to_rgb`.

    Raises:
        DataError: All colours are in the lowest sixteenth, or one of them means transparency.
    """
    if ";16" not in rawmode or not rawmode.startswith(("RGB", "LA")):
        return
    if "transparency" in image.info:
        raise DataError("it has a transparent colour of 16 bits: save it with an alpha channel")
    if white is not None and white != _FULL:
        raise DataError("--data.white applies to grey images, and it has colours of 16 bits")
    brightest = np.asarray(image)[..., :3].max(initial=0)
    if white is None and 0 < brightest < 256 * _DARK:
        raise DataError(
            f"no colour of its 16-bit values reaches {_DARK * 65536:,.0f}, so it would be all but "
            "black: scale them to 65535, or save it with 8 bits"
        )


def _orientation(image: Image.Image) -> int:
    """Return the Exif orientation: 1 is upright."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return 1  # damaged metadata: the pixels are what counts


def _over(image: Image.Image, background: int) -> Image.Image:
    """Return an image with transparency over the background."""
    image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    ground = Image.new("RGBA", image.size, (background, background, background, WHITE))
    rgb = Image.alpha_composite(ground, image).convert("RGB")
    if _is_plain(rgb) and not _is_plain(image):
        raise DataError(
            f"nothing of it can be seen over the background of grey level {background}: set "
            "--data.background to another one, or save it without transparency"
        )
    return rgb


def _is_plain(image: Image.Image) -> bool:
    """Return True if all pixels are equal."""
    pixels = np.asarray(image)
    return bool((pixels == pixels[:1, :1]).all())


def _from_deep(image: Image.Image, background: int, white: float | None) -> Image.Image:
    """Return a grey image of more than 8 bits as RGB."""
    values: NDArray[np.float64] = np.asarray(image).astype(np.float64)
    known = _known_white(image)
    full = known if white is None or image.format == "PPM" else white  # PGM states it itself
    if full is None:
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise DataError(
            f"its grey values are {kind} numbers of unknown range: set --data.white to the value "
            "of white, or save it with 8 or 16 bits"
        )
    if not np.isfinite(values).all():
        raise DataError("not all of its grey values are finite numbers")
    if values.size and (least := values.min()) < 0:
        raise DataError(f"it has negative grey values, such as {least:g}: shift them to 0 or more")
    if white != full and 0 < values.max(initial=0) < _DARK * full:
        means = (
            "state the largest value in its header"
            if image.format == "PPM"
            else "set --data.white to the value of white, such as 4095 for 12 bits"
        )
        raise DataError(
            f"none of its grey values reaches {_DARK * full:,.0f}, a sixteenth of white, so it "
            f"would be all but black: {means}, or --data.white to {full:.0f} if it is meant so"
        )
    grey = np.minimum(values * (255 / full), 255)
    if _tag(image, _PHOTOMETRIC) == 0:  # 0 is white; Pillow leaves this to its caller
        grey = 255 - grey
    if isinstance(clear := image.info.get("transparency"), int):
        grey[values == clear] = background
    return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")


def _known_white(image: Image.Image) -> float | None:
    """Return the largest grey value that the file can have, if its format states it."""
    if image.mode.startswith("I;16"):
        return 4095.0 if _tag(image, _BITS) == 12 else _FULL
    # Pillow scales PGM by its stated maximum; its earlier releases read PNG of 16 bits as I
    return _FULL if image.mode == "I" and image.format in ("PPM", "PNG") else None


def _tag(image: Image.Image, number: int) -> int | None:
    """Return the first value of a tag of a TIFF file; `None` if it has none."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    found = image.tag_v2.get(number)
    first = found[0] if isinstance(found, tuple) and found else found
    return first if isinstance(first, int) else None
