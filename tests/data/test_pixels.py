"""Images of every mode become the pixels that they show, or are refused."""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nas_lightning.data.pixels import to_rgb
from nas_lightning.errors import DataError

RAMP = np.linspace(0, 1, 12).reshape(3, 4)  # what each image below shows, from black to white
BYTES = np.round(RAMP * 255).astype(np.uint8)


def stored(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    """Write an image and read it again, as a file does."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return Image.open(file)


def scaled(full: int, dtype: str = "uint16") -> Image.Image:
    return Image.fromarray(np.round(RAMP * full).astype(dtype))


def pgm(maximum: int) -> Image.Image:
    pixels = np.round(RAMP * maximum).astype(">u2" if maximum > 255 else "u1").tobytes()
    return Image.open(io.BytesIO(b"P5 4 3 %d\n" % maximum + pixels))


def in_alpha(mode: str) -> Image.Image:
    """The ramp as ink on nothing: black, and the more opaque the darker."""
    clear = Image.fromarray(255 - BYTES)
    if mode == "PA":
        ink = Image.new("P", (4, 3))
        ink.putpalette([0, 0, 0])
        ink.putalpha(clear)
        return ink
    image = Image.new("LA" if mode in ("LA", "La") else "RGBA", (4, 3))
    image.putalpha(clear)
    return image.convert(mode) if mode in ("La", "RGBa") else image


def palette(mode: str) -> Image.Image:
    return Image.fromarray(BYTES).convert("P") if mode == "P" else in_alpha(mode)


def twelve_bits() -> Image.Image:
    """A TIFF file with two values of 12 bits in three bytes, which Pillow cannot write."""
    values = np.round(RAMP * 4095).astype(int).flatten().tolist()
    bits = "".join(f"{value:012b}" for value in values)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    tags = [(256, 4), (257, 3), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 3),
            (279, len(data))]  # fmt: skip
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in tags
    )
    directory = len(tags).to_bytes(2, "little") + entries + bytes(4)
    start = 8 + len(data)
    return Image.open(io.BytesIO(b"II*\0" + start.to_bytes(4, "little") + data + directory))


GREY: dict[str, Callable[[], Image.Image]] = {
    "L": lambda: Image.fromarray(BYTES),
    "palette": lambda: palette("P"),
    "RGBX": lambda: Image.fromarray(BYTES).convert("RGBX"),
    "YCbCr": lambda: stored(Image.fromarray(BYTES).convert("YCbCr"), "TIFF"),
    "HSV": lambda: Image.fromarray(BYTES).convert("RGB").convert("HSV"),
    "CMYK in TIFF": lambda: stored(Image.fromarray(BYTES).convert("CMYK"), "TIFF"),
    "I;16 in PNG": lambda: stored(scaled(65535), "PNG"),
    "I;16 in TIFF": lambda: stored(scaled(65535), "TIFF"),
    "I;16B in TIFF": lambda: stored(scaled(65535, ">u2"), "TIFF"),
    "I;16 in TIFF, 0 is white": lambda: stored(
        Image.fromarray(65535 - np.round(RAMP * 65535).astype(np.uint16)),
        "TIFF", tiffinfo={262: 0},
    ),
    "12 bits in TIFF": twelve_bits,
    "PGM of 8 bits": lambda: pgm(255),
    "PGM of 10 bits": lambda: pgm(1023),
    "PGM of 12 bits": lambda: pgm(4095),
    "PGM of 16 bits": lambda: pgm(65535),
    "LA": lambda: stored(in_alpha("LA"), "PNG"),
    "La": lambda: in_alpha("La"),
    "RGBA": lambda: stored(in_alpha("RGBA"), "PNG"),
    "RGBA in WebP": lambda: stored(in_alpha("RGBA"), "WEBP", lossless=True),
    "RGBa": lambda: in_alpha("RGBa"),
    "PA": lambda: in_alpha("PA"),
}  # fmt: skip


@pytest.mark.parametrize("kind", GREY)
def test_grey_values_survive(kind: str) -> None:
    rgb = to_rgb(GREY[kind]())
    assert rgb.mode == "RGB"
    np.testing.assert_allclose(np.asarray(rgb), np.repeat(BYTES[..., None], 3, 2), atol=1)
    assert np.array_equal(np.asarray(to_rgb(rgb)), np.asarray(rgb))


def test_one_bit() -> None:
    bits = np.array([[True, False, True]])
    assert np.asarray(to_rgb(Image.fromarray(bits)))[0, :, 1].tolist() == [255, 0, 255]


def test_inverted_cmyk_of_adobe() -> None:
    # Pillow writes the values inverted and with Adobe's mark, as Photoshop does
    image = stored(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=95)
    assert image.mode == "CMYK"
    assert "adobe" in image.info
    np.testing.assert_allclose(np.asarray(to_rgb(image))[0, 0], [0, 255, 255], atol=3)


def srgb(lightness: float, a: float, b: float) -> NDArray[np.float64]:
    """CIE L*a*b* with white D50 to sRGB bytes, by the definition and Bradford's adaptation."""
    y = (lightness + 16) / 116
    xyz = np.array([
        v**3 if v > 6 / 29 else 3 * (6 / 29) ** 2 * (v - 4 / 29)
        for v in (y + a / 500, y, y - b / 200)
    ]) * [0.96422, 1.0, 0.82521]  # fmt: skip
    linear = np.array([
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]) @ xyz  # fmt: skip
    small = linear <= 0.0031308
    curved = 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055
    values: NDArray[np.float64] = 255 * np.where(small, 12.92 * linear, curved)
    return values


@pytest.mark.parametrize("colour", [(50, 0, 0), (60, 30, -20), (40, -25, 25)])
def test_lab(colour: tuple[int, int, int]) -> None:
    lightness, a, b = colour
    # Pillow stores a and b without sign, as 128 more
    image = Image.new("LAB", (2, 2), (round(lightness * 2.55), a + 128, b + 128))
    np.testing.assert_allclose(np.asarray(to_rgb(image))[0, 0], srgb(*colour), atol=3)


def test_the_background_shows_through() -> None:
    image = Image.new("RGBA", (2, 1), (200, 100, 0, 255))
    image.putpixel((1, 0), (200, 100, 0, 51))  # one fifth
    expected = {255: [244, 224, 204], 0: [40, 20, 0], 100: [120, 100, 80]}
    for background, colour in expected.items():
        assert np.asarray(to_rgb(image, background)).tolist() == [[[200, 100, 0], colour]]


@pytest.mark.parametrize("kind", ["palette", "grey", "colours", "16 bits"])
def test_one_transparent_value(kind: str) -> None:
    shown: tuple[int, ...]
    clear: Any
    shown, clear = {
        "palette": ((10, 20, 30), 1), "grey": ((80,) * 3, 40), "colours": ((10, 20, 30), (5, 6, 7)),
        "16 bits": ((80,) * 3, 40 * 257),
    }[kind]  # fmt: skip
    if kind == "palette":
        image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
        image.putpalette([10, 20, 30, 5, 6, 7])
    elif kind == "16 bits":
        image = Image.fromarray(np.array([[80 * 257, 40 * 257]], dtype=np.uint16))
    else:
        image = Image.new("RGB" if kind == "colours" else "L", (2, 1))
        image.putpixel((0, 0), shown if kind == "colours" else 80)
        image.putpixel((1, 0), clear)
    rgb = np.asarray(to_rgb(stored(image, "PNG", transparency=clear)))
    assert rgb.tolist() == [[list(shown), [255] * 3]]


SIDES = {
    1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
    5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
}  # fmt: skip
"""Exif's definition: the side of the scene at which the stored first row and first column are."""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_orientation(kind: str, mode: str) -> None:
    blocks = np.array([[0, 60, 120], [180, 240, 30]], dtype=np.uint8)
    scene = blocks.repeat(16, 0).repeat(16, 1)  # 32 rows, 48 columns
    for number, sides in SIDES.items():
        pixels = scene[::-1] if "bottom" in sides else scene
        pixels = pixels[:, ::-1] if "right" in sides else pixels
        pixels = pixels if sides[0] in ("top", "bottom") else pixels.T
        exif = Image.Exif()
        exif[0x0112] = number
        image = Image.fromarray(np.ascontiguousarray(pixels)).convert(mode)
        rgb = to_rgb(stored(image, kind, exif=exif, quality=100))
        again = to_rgb(rgb)
        for found in (rgb, again):
            np.testing.assert_allclose(np.asarray(found)[..., 0], scene, atol=6)


def test_damaged_metadata_does_not_matter() -> None:
    image = Image.new("RGB", (2, 2), (1, 2, 3))
    for damaged in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0XX"):
        image.info["exif"] = damaged
        assert to_rgb(image).getpixel((0, 0)) == (1, 2, 3)


REFUSED = {
    "32 bits": (scaled(1000, "int32"), "32-bit numbers of unknown range.*--data.white"),
    "floats": (scaled(1, "float32"), "floating-point numbers of unknown range"),
    "12 bits in 16": (scaled(4095), r"none .* reaches 4,096.*--data.white"),
    "PGM of 12 bits in 16": (
        Image.open(io.BytesIO(b"P5 2 1 65535\n\0\0\x0f\xff")), "largest value in its header"
    ),
    "signed bytes": (
        stored(Image.fromarray(BYTES), "TIFF", tiffinfo={339: 2}), "grey values are signed"
    ),
    "white on nothing": (Image.merge("LA", [Image.new("L", (4, 3), 255), Image.fromarray(BYTES)]),
                         "grey level 255: set --data.background"),
    "all transparent": (Image.merge("LA", [Image.fromarray(BYTES), Image.new("L", (4, 3), 0)]),
                        "nothing of it can be seen"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_right_pixels_is_refused(kind: str) -> None:
    image, message = REFUSED[kind]
    with pytest.raises(DataError, match=message):
        to_rgb(image)


@pytest.mark.parametrize(
    ("image", "white"),
    [(scaled(4095), 4095), (scaled(70000, "int32"), 70000), (scaled(1, "float32"), 1.0)],
)
def test_white_of_deep_images_may_be_stated(image: Image.Image, white: float) -> None:
    found = np.asarray(to_rgb(image, white=white))[..., 0]
    np.testing.assert_allclose(found, BYTES if image.mode != "F" else np.round(RAMP) * 255, atol=1)


def test_values_outside_the_stated_range() -> None:
    values = np.array([[0.5, 3.0]], dtype=np.float32)
    assert np.asarray(to_rgb(Image.fromarray(values), white=1))[..., 0].tolist() == [[128, 255]]
    for bad, message in ((-0.5, "negative grey values, such as -0.5"), (math.nan, "finite")):
        values[0, 0] = bad
        with pytest.raises(DataError, match=message):
            to_rgb(Image.fromarray(values), white=1)


def test_black_and_dark_images_may_be_meant() -> None:
    assert np.asarray(to_rgb(Image.fromarray(np.zeros((2, 2), np.uint16)))).max() == 0
    dark = scaled(4095)
    assert np.asarray(to_rgb(dark, white=65535)).max() == 16
