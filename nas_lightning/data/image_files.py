"""Images that are read from disk, and what happens to those that cannot be read."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError

from nas_lightning.errors import DataError

# Pillow raises SyntaxError and ValueError for some damaged files
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class ImageFiles:
    """Images that are read from disk when they are asked for.

    For an image that cannot be read stands the next one of its class and part, in the order of the
    files, that can. So batches stay full, and which images a batch has depends on the files alone:
    not on workers, on processes, or on what was met before. The first time each is named on
    standard error.

    Args:
        files: The image files.
        labels: Their classes, counted from 0.
        allowed: How many different ones that cannot be read may be skipped. The loader processes
            of a process count together.
    """

    def __init__(self, files: Sequence[Path], labels: Sequence[int], allowed: int = 0) -> None:
        self.files = files
        self.labels = labels
        self.allowed = allowed
        self._classes = torch.tensor(labels)
        self._parts = torch.zeros(len(labels), dtype=torch.uint8)
        # One byte a file, 1 where it could not be read, in memory that loader processes share.
        # Without a lock: two that meet an image at one time may at worst both name it.
        self._met = torch.zeros(len(labels), dtype=torch.uint8)
        self._met.share_memory_()  # type: ignore[no-untyped-call] # torch gives it no types

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return one PIL image of any mode and its class.

        Raises:
            DataError: It cannot be read and must not be skipped, or nothing can stand for it.
        """
        news = []
        for candidate in self._ring(index):
            path = self.files[candidate]
            try:
                image = read_image(path)
            except UNREADABLE as error:
                text = f"{str(path)!r} cannot be read ({_reason(error)})"
                if number := self._meet(candidate, text):
                    news.append((text, number))
                continue
            for text, number in news:
                print(
                    f"nas: {text}: skipped, {path.name!r} stands in for it "
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
        """Paths of the images that this process and its loaders could not read so far."""
        return [str(self.files[index]) for index in self._met.nonzero().flatten().tolist()]

    def keep_apart(self, *parts: Sequence[int]) -> None:
        """Let no image of one part stand in for one of another.

        Args:
            parts: Indices of disjoint parts, such as a training and a validation part.
        """
        for number, indices in enumerate(parts, start=1):
            self._parts[torch.tensor(indices, dtype=torch.long)] = number

    def _ring(self, index: int) -> Iterator[int]:
        """The image, then all others of its class and part: those behind it, those before it."""
        yield index
        alike = (self._classes == self._classes[index]) & (self._parts == self._parts[index])
        others = alike.nonzero().flatten()
        yield from others[others > index].tolist()
        yield from others[others < index].tolist()

    def _meet(self, index: int, text: str) -> int:
        """Count an image that cannot be read.

        Returns:
            How many there are with it, or 0 if it was counted before.

        Raises:
            DataError: They are too many.
        """
        known = bool(self._met[index])
        self._met[index] = 1
        number = int(self._met.sum())
        if number > self.allowed:
            raise DataError(
                f"The image {text}. It is number {number} of those, and at most {self.allowed} may "
                "be skipped: replace or remove it, or raise --data.broken_images."
            )
        return 0 if known else number


def read_image(path: Path) -> Image.Image:
    """Read and decode an image of any mode; one of `UNREADABLE` if that fails."""
    with Image.open(path) as image:
        image.load()
        return image


def _reason(error: BaseException) -> str:
    """Why an image cannot be read, in one line and without its path."""
    if isinstance(error, UnidentifiedImageError):
        return "no image, or damaged at its start"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
