"""What a data set in memory does to its images, said once for both ways of loading them."""

from dataclasses import dataclass

from torch import nn
from torchvision.transforms import v2

from nas_lightning.data.batched import (
    BatchCutout,
    BatchedStep,
    BatchedSteps,
    BatchFlip,
    BatchNormalize,
    BatchShift,
)
from nas_lightning.data.transforms import NormalizeBytes


@dataclass(frozen=True)
class Preparation:
    """From stored images to what the network sees.

    Args:
        padding: Training: largest shift in pixels, filled with zeros.
        flip: Training: whether to mirror left and right with probability one half.
        mean: Mean of each channel, in the scale 0 .. 1; none: images are floats, taken as they are.
        std: Standard deviation of each channel, likewise.
    """

    padding: int = 0
    flip: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def for_images(self, size: int, *, training: bool) -> list[nn.Module]:
        """Steps for one image after the other; they draw from torch's generator.

        Args:
            size: Height and width of an image in pixels.
            training: Whether to augment.
        """
        steps: list[nn.Module] = []
        if training and self.padding:
            steps.append(v2.RandomCrop(size, padding=self.padding))
        if training and self.flip:
            steps.append(v2.RandomHorizontalFlip())
        if self.mean:
            steps.append(NormalizeBytes(self.mean, self.std))
        return steps

    def for_batches(self, size: int, cutout: int, *, training: bool) -> BatchedSteps:
        """The same for batches, and cutout; other draws, of the same distribution.

        Args:
            size: Height and width of an image in pixels.
            cutout: Side of the square that training sets to zero, in pixels; 0 for none.
            training: Whether to augment.
        """
        steps: list[BatchedStep] = []
        if training and self.padding:
            steps.append(BatchShift(self.padding))
        if training and self.flip:
            steps.append(BatchFlip())
        if self.mean:
            steps.append(BatchNormalize(self.mean, self.std))
        if training and cutout:
            steps.append(BatchCutout(cutout, size))
        return BatchedSteps(steps)
