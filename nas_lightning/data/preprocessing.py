"""The steps from an image file to the input of a network, as data that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from nas_lightning.data.pixels import WHITE, to_rgb
from nas_lightning.data.read_image import UNREADABLE, read_image, reason
from nas_lightning.data.transforms import NormalizeBytes
from nas_lightning.errors import DataError, UsageError
from nas_lightning.ranges import POSITIVE, at_least, check, check_value
from nas_lightning.schema import read_value

ORDER: Mapping[int, Literal["RGB", "L"]] = {3: "RGB", 1: "L"}
"""Number of channels → their order: `RGB`, or `L` for grey."""


@dataclass(frozen=True)
class Preprocessing:
    """The steps from an image to the input of a network, without randomness.

    An image is turned upright, converted to RGB or grey, resized so that its shorter side has
    `resize` pixels, and cropped at its centre. Without `resize`, the whole image is resized to a
    square. Resizing is bilinear and antialiased. The values are scaled to [0, 1], and x becomes
    (x - mean) / std in each channel.

    Args:
        size: Height and width of the result in pixels.
        resize: Shorter side in pixels before the crop; `None` for no crop.
        order: `RGB`, or `L` for grey.
        mean: Mean of each channel, on a scale from 0 to 1.
        std: Standard deviation of each channel, on a scale from 0 to 1.
        background: Grey level that shows through transparent pixels, from 0 (black) to 255 (white).
        white: Value of white in grey images of more than 8 bits; `None` means the largest one.

    Raises:
        UsageError: A size is out of range, or the channels do not fit together.
    """

    size: int
    resize: int | None
    order: Literal["RGB", "L"]
    mean: Sequence[float]
    std: Sequence[float]
    background: int = WHITE
    white: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        check(self, size=at_least(1), resize=at_least(self.size), background=at_least(0, WHITE))
        if not len(self.mean) == len(self.std) == len(self.order):
            raise UsageError(
                f"Preprocessing: order {self.order} needs {len(self.order)} values each as mean "
                f"and std, found {len(self.mean)} and {len(self.std)}"
            )
        for value in self.std:
            check_value("Preprocessing: std", value, POSITIVE)

    def __call__(self, image: Image.Image | Path | str) -> Tensor:
        """Return the input of a network (C, size, size) for an image or an image file.

        Raises:
            DataError: It cannot be read; the message names the file.
        """
        if isinstance(image, Image.Image):
            found = to_rgb(image, self.background, self.white)
        else:
            try:
                found = read_image(Path(image), self.background, self.white)
            except UNREADABLE as error:
                text = f"The image {str(image)!r} cannot be read: {reason(error)}."
                raise DataError(text) from error
        square = [self.size, self.size]
        steps = [
            v2.Resize(square if self.resize is None else self.resize),
            v2.CenterCrop(self.size),
            v2.PILToTensor(),
            NormalizeBytes(self.mean, self.std),
        ]
        result: Tensor = v2.Compose(steps)(found if self.order == "RGB" else found.convert("L"))
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        lists = {"mean": list(self.mean), "std": list(self.std)}
        return {**vars(self), **lists}

    @classmethod
    def from_dict(cls, data: object, path: str = "$") -> Preprocessing:
        """Return what `to_dict` wrote.

        Raises:
            ContentError: It is something else; names the place by its JSON path.
        """
        found: Preprocessing = read_value(cls, data, path)
        return found

    def __str__(self) -> str:
        """Return it in a few words."""
        mean, std = (", ".join(f"{x:.4g}" for x in values) for values in (self.mean, self.std))
        resized = "" if self.resize == self.size else f"resized to {self.resize}, "
        if self.resize is None:
            resized = "whole image resized to "
        return f"{resized}{self.size}x{self.size} pixels, {self.order}, mean {mean}, std {std}"
