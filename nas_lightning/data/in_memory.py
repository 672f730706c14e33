"""Image data sets that fit in memory, and so on the training device."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from nas_lightning.data.base import ImageData, Part
from nas_lightning.data.dataset import TensorImages
from nas_lightning.data.device_loader import DeviceImages, DeviceLoader
from nas_lightning.data.loaders import Loader
from nas_lightning.data.preparation import Preparation
from nas_lightning.data.sampler import EpochSampler
from nas_lightning.errors import UsageError


class InMemoryImages(ImageData, ABC):
    """Images and classes that are loaded as a whole.

    Args:
        on_device: Whether to keep the images on the training device and to augment whole batches
            there; needs `num_workers` 0. Order and halves are those of the loaders; the draws of
            the augmentation are others. Predictions always go through a loader.
        kwargs: Arguments of all image data sets, see `ImageData`.

    Raises:
        UsageError: If an argument is out of range, or `on_device` would leave out a method that a
            subclass has overridden.
    """

    def __init__(self, on_device: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_device = on_device
        self._resident: dict[Part, DeviceImages] = {}
        if on_device:
            self._check_on_device()

    @abstractmethod
    def load(self, part: Part) -> TensorImages:
        """Read the training or the test set; raises DataError if it is missing or broken."""

    @abstractmethod
    def preparation(self) -> Preparation:
        """What happens to the images, less cutout."""

    def train_transform(self) -> list[nn.Module]:
        """Steps from a stored image to an augmented tensor, less cutout."""
        return self.preparation().for_images(self.data_spec["image_size"], training=True)

    def eval_transform(self) -> list[nn.Module]:
        """Steps from a stored image to a tensor, without any draw."""
        return self.preparation().for_images(self.data_spec["image_size"], training=False)

    def predict_dataloader(self) -> Loader:
        """The test set without augmentation, always by way of a loader of samples.

        Lightning reads the numbers of predicted samples off such loaders only, and warns about
        others.
        """
        everything = range(len(self.labels(self._sets["test"])))
        return self._sample_loader("test", self._eval_sampler(everything), training=False)

    def _loader(
        self, part: Part, sampler: EpochSampler, *, training: bool
    ) -> Loader | DeviceLoader:
        if not self.on_device:
            return self._sample_loader(part, sampler, training=training)
        size = self.data_spec["image_size"]
        steps = self.preparation().for_batches(size, self.cutout, training=training)
        data = self._on_device(part)
        return DeviceLoader(data, sampler, self.batch_size, steps, self._seed, training=training)

    def _on_device(self, part: Part) -> DeviceImages:
        """The images on the device of the trainer, copied there once."""
        cpu = torch.device("cpu")
        device = cpu if self.trainer is None else self.trainer.strategy.root_device
        there = self._resident.get(part)
        if there is None or there.images.device != device:
            stored = self._sets[part]
            assert isinstance(stored, TensorImages)  # what `load` returns
            labels = torch.tensor(stored.labels, device=device)
            there = self._resident[part] = DeviceImages(stored.images.to(device), labels)
        return there

    def _check_on_device(self) -> None:
        if self.num_workers:
            raise UsageError(
                f"on_device needs no processes that load samples: set num_workers to 0, not "
                f"{self.num_workers}, or on_device to false."
            )
        for name in ("train_transform", "eval_transform", "dataset"):
            if getattr(type(self), name) is not getattr(InMemoryImages, name):
                raise UsageError(
                    f"on_device does not use {type(self).__name__}.{name}: override preparation "
                    "instead, or set on_device to false."
                )
