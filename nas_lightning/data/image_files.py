"""Images that are read from disk, with replacements for unreadable ones."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image

from nas_lightning.data.pixels import WHITE
from nas_lightning.data.read_image import UNREADABLE, read_image, reason
from nas_lightning.errors import DataError


class ImageFiles:
    """Images that are read from disk on access.

    An unreadable image is replaced by the next readable one of its class and part, in the order of
    the files. Batches thus stay full, and their images depend on the files alone, not on workers,
    processes or earlier failures. Each unreadable image is reported once on standard error.

    Args:
        files: Image files.
        labels: Classes of the files, counted from 0.
        allowed: Number of different unreadable images that may be skipped. The loader processes
            of a process share the count.
        background: Grey level that shows through transparent pixels, see `to_rgb`.
        white: Value of white in grey images of more than 8 bits, see `to_rgb`.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: Sequence[int],
        allowed: int = 0,
        background: int = WHITE,
        white: float | None = None,
    ) -> None:
        self.files = files
        self.labels = labels
        self.allowed = allowed
        self.background = background
        self.white = white
        self._classes = torch.tensor(labels)
        self._parts = torch.zeros(len(labels), dtype=torch.uint8)
        # One byte per file, 1 if it could not be read, in memory that the loader processes share.
        # There is no lock: if two of them read an image at the same time, both may report it.
        self._unreadable = torch.zeros(len(labels), dtype=torch.uint8)
        self._unreadable.share_memory_()  # type: ignore[no-untyped-call] # untyped in torch

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return one image, an upright PIL image in mode RGB, and its class.

        Raises:
            DataError: It cannot be read, and either too many images were skipped already or no
                other image can replace it.
        """
        news = []
        for candidate in self._candidates(index):
            path = self.files[candidate]
            try:
                image = read_image(path, self.background, self.white)
            except UNREADABLE as error:
                text = f"{str(path)!r} cannot be read ({reason(error)})"
                if number := self._count(candidate, text):
                    news.append((text, number))
                continue
            for text, number in news:
                print(
                    f"nas: {text}: skipped and replaced by {path.name!r} "
                    f"({number} of at most {self.allowed})",
                    file=sys.stderr,
                )
            return image, self.labels[index]
        raise DataError(
            f"The image {str(self.files[index])!r} cannot be read, nor can any other of its class: "
            "replace or remove them."
        )

    @property
    def broken(self) -> list[str]:
        """Paths of the images that this process and its loader processes could not read so far."""
        return [str(self.files[index]) for index in self._unreadable.nonzero().flatten().tolist()]

    def keep_apart(self, *parts: Sequence[int]) -> None:
        """Prevent images of one part from replacing images of another.

        Args:
            parts: Indices of disjoint parts, such as a training and a validation part.
        """
        for number, indices in enumerate(parts, start=1):
            self._parts[torch.tensor(indices, dtype=torch.long)] = number

    def _candidates(self, index: int) -> Iterator[int]:
        """Yield the image, then the later and the earlier images of its class and part."""
        yield index
        alike = (self._classes == self._classes[index]) & (self._parts == self._parts[index])
        others = alike.nonzero().flatten()
        yield from others[others > index].tolist()
        yield from others[others < index].tolist()

    def _count(self, index: int, text: str) -> int:
        """Count an unreadable image.

        Returns:
            The number of unreadable images so far, or 0 if this one was counted before.

        Raises:
            DataError: There are more than allowed.
        """
        known = bool(self._unreadable[index])
        self._unreadable[index] = 1
        number = int(self._unreadable.sum())
        if number > self.allowed:
            raise DataError(
                f"The image {text}. It is unreadable image number {number}, but at most "
                f"{self.allowed} may be skipped: replace or remove it, or raise "
                f"--data.broken_images."
            )
        return 0 if known else number
