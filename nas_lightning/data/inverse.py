"""Base class of data modules for inverse problems, with an operator and noise."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from nas_lightning.data.halves import HalvedData, Part
from nas_lightning.operators import Blur, Operator
from nas_lightning.randomness import mix_seed
from nas_lightning.ranges import NOT_NEGATIVE, at_least, check


class Measurements(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of measurements and true signals in memory.

    Args:
        y: Measurements (N, C, *m).
        x: True signals (N, C, *n).
    """

    def __init__(self, y: Tensor, x: Tensor) -> None:
        self.y = y
        self.x = x

    def __len__(self) -> int:
        """Return the number of pairs N."""
        return len(self.x)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return pair `index`, (C, *m) and (C, *n), which is the same in every epoch."""
        _, index = key
        return self.y[index], self.x[index]


class InverseData(HalvedData[Measurements], ABC):
    """Signals or images x and their measurements y = A x + noise, for a search or a retraining.

    A batch is `(y, x)`: measurements (B, 1, *m) and true signals (B, 1, *n). Signals and noise are
    the same in every epoch and do not depend on `seed`, so that runs with different seeds are
    comparable. The split into halves and the order do depend on `seed`.

    Args:
        size: Number of samples n of a signal, or height and width of an image in pixels.
        operator: A; `None` means a Gaussian blur.
        noise: Standard deviation of the noise, which is white and Gaussian.
        kwargs: Arguments of all data sets, see `HalvedData`.

    Raises:
        UsageError: An argument is out of range, or the operator does not accept this size.
    """

    dims: ClassVar[int]
    """Number of spatial dimensions: 1 for signals, 2 for images."""
    peak: ClassVar[float]
    """Peak value in the definition of PSNR."""

    def __init__(
        self, size: int, operator: Operator | None = None, noise: float = 0.05, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.operator = operator or Blur()
        self.noise = noise
        check(self, size=at_least(1, 1_000_000), noise=NOT_NEGATIVE)
        self.operator(torch.zeros(1, 1, *[size] * self.dims))  # raises if the size does not fit

    @property
    def data_spec(self) -> dict[str, Any]:
        """The sizes `in_channels`, `image_size` (n), `dims`, `peak`, and the plain `operator`."""
        return {
            "in_channels": 1,
            "image_size": self.size,
            "dims": self.dims,
            "peak": self.peak,
            "operator": self.operator.to_config(),
        }

    @property
    def meaning(self) -> dict[str, Any]:
        """The standard deviation of the noise."""
        return {"noise": self.noise}

    @abstractmethod
    def truths(self, part: Part) -> Tensor:
        """Return the training or the test signals or images (N, 1, *n)."""

    @torch.no_grad()
    def load(self, part: Part) -> Measurements:
        """Apply the operator to the true signals and add noise."""
        x = self.truths(part)
        y = self.operator(x)
        generator = torch.Generator().manual_seed(mix_seed(1 if part == "train" else 2))
        return Measurements(y + self.noise * torch.randn(y.shape, generator=generator), x)

    def labels(self, loaded: Measurements) -> list[int]:
        """Return zeros, since there are no classes."""
        return [0] * len(loaded)

    def dataset(self, loaded: Measurements, *, training: bool) -> Measurements:
        """Return the pairs, without augmentation."""
        return loaded
