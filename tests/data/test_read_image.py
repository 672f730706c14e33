"""Which files are read as images: content decides, and only ordinary files are opened."""

import io
import os
import random
import socket
import stat
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas_lightning.data.image_files import ImageFiles
from nas_lightning.data.read_image import UNREADABLE, read_image, reason
from nas_lightning.errors import DataError


def why(path: Path, **options: Any) -> str:
    """The reason why an image cannot be read."""
    with pytest.raises(UNREADABLE) as caught:
        read_image(path, **options)
    return reason(caught.value)


def test_no_other_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("gs", "gswin64c", "xv", "djpeg"):
        (tools / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    path = tmp_path / "a.png"
    path.write_bytes(script)
    assert why(path).startswith("not an image in one of the formats BMP, ")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", ["ICO", "PCX", "TGA", "SGI", "PDF", "DDS", "ICNS"])
def test_other_formats_are_not_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (32, 32)).save(path, kind)
    assert why(path).startswith("not an image in one of the formats")


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
def test_content_counts_and_not_the_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8), (200, 200, 200)).save(path, kind)
    assert read_image(path).getpixel((4, 4)) == pytest.approx((200, 200, 200), abs=2)


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_only_ordinary_files_are_opened(kind: str, link: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
        assert stat.S_ISCHR(path.stat().st_mode)
    if link:
        (tmp_path / "link.png").symlink_to(path)
        path = tmp_path / "link.png"
    assert why(path) == "not an ordinary file"
    with pytest.raises(DataError, match=r"cannot be read \(not an ordinary file\)"):
        ImageFiles([path], [0])[0]


def test_a_link_to_an_image_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    assert read_image(tmp_path / "b.png").getpixel((0, 0)) == (1, 2, 3)
    (tmp_path / "c.png").symlink_to("gone.png")
    assert why(tmp_path / "c.png") == "No such file or directory"


def png(width: int, height: int, depth: int, colours: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG file of any kind; Pillow cannot write colours of 16 bits."""

    def chunk(content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
        )

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    parts = (header, *more, b"IDAT" + zlib.compress(rows), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(part) for part in parts)


@pytest.mark.parametrize("pixels", [100_000_000, 400_000_000])  # Pillow warns of one, refuses one
def test_decompression_bombs(pixels: int, tmp_path: Path) -> None:
    side = int(pixels**0.5)
    path = tmp_path / "a.png"
    path.write_bytes(png(side, side, 1, 0, b""))
    assert why(path) == "it has more than 89,478,485 pixels"


def test_a_strip_that_resizing_would_blow_up(tmp_path: Path) -> None:
    Image.new("L", (4, 802)).save(tmp_path / "a.png")
    assert why(tmp_path / "a.png") == (
        "one side of its 4 by 802 pixels is over 200 times the other: crop it"
    )


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_several_pictures_in_a_file(kind: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (80 * i, 0, 0)) for i in range(3)]
    path = tmp_path / "a.png"
    frames[0].save(path, kind, save_all=True, append_images=frames[1:])
    assert why(path) == "it holds 3 pictures: save one as a file of its own"


def test_the_previews_of_a_camera_do_not_matter(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 0, 0))]
    path = tmp_path / "a.jpg"
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:])
    with Image.open(path) as stored:
        assert (stored.format, getattr(stored, "n_frames", 1)) == ("MPO", 2)
    assert read_image(path).getpixel((4, 4)) == pytest.approx((200, 0, 0), abs=3)


def colours(values: list[int], *more: bytes) -> bytes:
    return png(len(values) // 3, 1, 16, 2, b"\0" + struct.pack(f">{len(values)}H", *values), *more)


def test_colours_of_16_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(colours([65535, 0, 32768, 514, 1028, 60000]))
    found = np.asarray(read_image(path)).tolist()
    np.testing.assert_allclose(found, [[[255, 0, 127.5], [2, 4, 233.5]]], atol=1)
    path.write_bytes(colours([4095, 0, 2000, 514, 1028, 4095]))
    assert "reaches 4,096" in why(path)
    assert np.asarray(read_image(path, white=65535)).max() == 15
    assert "applies to grey images" in why(path, white=4095)
    path.write_bytes(colours([65535, 0, 0, 0, 0, 0], b"tRNS" + struct.pack(">3H", 0, 0, 0)))
    assert "a transparent colour of 16 bits" in why(path)


def test_metadata_that_expands_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    text = b"zTXtComment\0\0" + zlib.compress(bytes(10**8))
    path.write_bytes(png(1, 1, 8, 0, b"\0\0", text))
    assert "too large" in why(path)


def test_damaged_files_give_one_line_or_an_image(tmp_path: Path) -> None:
    chance = random.Random(0)
    scene = Image.effect_noise((24, 16), 80).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    refused = []
    for kind in ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"):
        file = io.BytesIO()
        more = {"exif": exif} if kind in ("JPEG", "PNG", "TIFF", "WEBP") else {}
        scene.save(file, kind, **more)
        whole = file.getvalue()
        for _ in range(60):
            content = bytearray(whole)
            for _ in range(chance.choice((1, 3, 20))):
                content[chance.randrange(min(len(content), 300))] = chance.randrange(256)
            path.write_bytes(content[: chance.choice((len(content), chance.randrange(400)))])
            try:
                assert read_image(path).mode == "RGB"
            except UNREADABLE as error:
                refused.append(reason(error))
    assert len(refused) > 100
    assert all(text and "\n" not in text for text in refused)
