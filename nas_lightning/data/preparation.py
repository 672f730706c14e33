"""Augmentation and normalisation of images in memory, for single images and for batches."""

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
    """Settings of the steps from stored images to the input of the network.

    Args:
        padding: In training, largest shift in pixels, filled with zeros.
        flip: In training, flip images horizontally with probability one half.
        mean: Mean of each channel, on a scale from 0 to 1. If empty, images are floats and are not
            normalised.
        std: Standard deviation of each channel, on a scale from 0 to 1.
    """

    padding: int = 0
    flip: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def for_images(self, size: int, *, training: bool) -> list[nn.Module]:
        """Return the steps for single images, which draw from the generator of PyTorch.

        Args:
            size: Height and width of an image in pixels.
            training: Include augmentation.
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
        """Return the steps for batches, including cutout.

        Their draws differ from those of `for_images` but have the same distribution.

        Args:
            size: Height and width of an image in pixels.
            cutout: Side of the square that training sets to zero, in pixels; 0 for none.
            training: Include augmentation.
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
