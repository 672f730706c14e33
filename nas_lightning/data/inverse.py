"""What all data modules of inverse problems share: an operator, noise, pairs of (y, x)."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from nas_lightning.data.halves import HalvedData, Part
from nas_lightning.errors import UsageError
from nas_lightning.operators import Blur, Operator
from nas_lightning.randomness import mix_seed


class Measurements(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of measurement and truth in memory.

    Args:
        y: Measurements (N, C, *m).
        x: Truths (N, C, *n).
    """

    def __init__(self, y: Tensor, x: Tensor) -> None:
        self.y = y
        self.x = x

    def __len__(self) -> int:
        """N."""
        return len(self.x)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The pair `(epoch, index)`, the same in every epoch: (C, *m) and (C, *n)."""
        _, index = key
        return self.y[index], self.x[index]


class InverseData(HalvedData[Measurements], ABC):
    """Find x, given the measurement y = A x + noise, for a search or a retraining.

    A batch is `(y, x)`: measurements (B, 1, *m) and truths (B, 1, *n). Truths and noise are the
    same in every epoch and do not depend on `seed`, so that runs with several seeds are
    comparable; the split into halves and the order do.

    Args:
        size: Samples n of a signal, or height and width of an image in pixels.
        operator: A; a Gaussian blur if not given.
        noise: Standard deviation of the noise, which is white and Gaussian.
        kwargs: Arguments of all data sets, see `HalvedData`.

    Raises:
        UsageError: If an argument is out of range, or the operator is not for this size.
    """

    dims: ClassVar[int]
    """1 for signals, 2 for images."""
    peak: ClassVar[float]
    """What PSNR relates errors to."""

    def __init__(
        self, size: int, operator: Operator | None = None, noise: float = 0.05, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if size < 1:
            raise UsageError(f"size is {size}, but must be at least 1.")
        if noise < 0:
            raise UsageError(f"noise is {noise}, but must be 0 or more.")
        self.size = size
        self.operator = operator or Blur()
        self.noise = noise
        self.operator(torch.zeros(1, 1, *[size] * self.dims))  # does it take this size?

    @property
    def data_spec(self) -> dict[str, Any]:
        """`in_channels`, `image_size` (n), `dims`, `peak`, and `operator` as plain data."""
        return {
            "in_channels": 1,
            "image_size": self.size,
            "dims": self.dims,
            "peak": self.peak,
            "operator": self.operator.to_config(),
        }

    @abstractmethod
    def truths(self, part: Part) -> Tensor:
        """The training or the test signals or images (N, 1, *n)."""

    @torch.no_grad()
    def load(self, part: Part) -> Measurements:
        """Measure the truths."""
        x = self.truths(part)
        y = self.operator(x)
        generator = torch.Generator().manual_seed(mix_seed(1 if part == "train" else 2))
        return Measurements(y + self.noise * torch.randn(y.shape, generator=generator), x)

    def labels(self, loaded: Measurements) -> list[int]:
        """There are no classes: all are of one."""
        return [0] * len(loaded)

    def dataset(self, loaded: Measurements, *, training: bool) -> Measurements:
        """The pairs as they are."""
        return loaded
