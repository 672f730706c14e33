"""Image data sets that fit in memory and on the training device."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from nas_lightning.data.base import ImageData, Part
from nas_lightning.data.dataset import TensorImages
from nas_lightning.data.device_loader import DeviceImages, DeviceLoader
from nas_lightning.data.loaders import Loader
from nas_lightning.data.preparation import Preparation
from nas_lightning.data.preprocessing import ORDER, Preprocessing
from nas_lightning.data.sampler import EpochSampler
from nas_lightning.errors import UsageError


class InMemoryImages(ImageData, ABC):
    """Images and classes that are loaded completely.

    Args:
        on_device: Keep the images on the training device and augment whole batches there, which
            requires `num_workers` 0. Order and halves are the same as without it, but the draws of
            the augmentation differ. Predictions always use a loader of samples.
        kwargs: Arguments of all image data sets, see `ImageData`.

    Raises:
        UsageError: An argument is out of range, or a subclass overrides a method that `on_device`
            does not call.
    """

    def __init__(self, on_device: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_device = on_device
        self._resident: dict[Part, DeviceImages] = {}
        if on_device:
            self._check_on_device()

    @abstractmethod
    def load(self, part: Part) -> TensorImages:
        """Read the training or the test set; raise DataError if it is missing or damaged."""

    @abstractmethod
    def preparation(self) -> Preparation:
        """Return the augmentation and normalisation of the images, except cutout."""

    @property
    def meaning(self) -> dict[str, Any]:
        """Mean and deviation of the normalisation, if there is one."""
        steps = self.preparation()
        return {"mean": steps.mean, "std": steps.std} if steps.mean else {}

    @property
    def preprocessing(self) -> Preprocessing | None:
        """Resizing to the size of the stored images, and the normalisation if there is one.

        `None` without a normalisation, for images of other than one or three channels, and for a
        class with an `eval_transform` of its own.
        """
        steps, spec = self.preparation(), self.data_spec
        order = ORDER.get(spec["in_channels"])
        own = type(self).eval_transform is not InMemoryImages.eval_transform
        if not steps.mean or order is None or own:
            return None
        size = spec["image_size"]
        return Preprocessing(size, size, order, steps.mean, steps.std)

    def train_transform(self) -> list[nn.Module]:
        """Return the steps from a stored image to an augmented tensor, except cutout."""
        return self.preparation().for_images(self.data_spec["image_size"], training=True)

    def eval_transform(self) -> list[nn.Module]:
        """Return the steps from a stored image to a tensor, without randomness."""
        return self.preparation().for_images(self.data_spec["image_size"], training=False)

    def predict_dataloader(self) -> Loader:
        """Return the test set without augmentation, always from a loader of samples.

        Lightning can get the indices of predicted samples only from such a loader, and warns about
        others.
        """
        everything = range(len(self.labels(self._sets["test"])))
        sampler = self._eval_sampler(everything)
        return self._sample_loader("test", sampler, self.batch_size, training=False)

    def _loader(
        self, part: Part, sampler: EpochSampler, batch_size: int, *, training: bool
    ) -> Loader | DeviceLoader:
        if not self.on_device:
            return self._sample_loader(part, sampler, batch_size, training=training)
        size = self.data_spec["image_size"]
        steps = self.preparation().for_batches(size, self.cutout, training=training)
        data = self._on_device(part)
        return DeviceLoader(data, sampler, batch_size, steps, self._seed, training=training)

    def _on_device(self, part: Part) -> DeviceImages:
        """Return the images on the device of the trainer, where they are copied once."""
        cpu = torch.device("cpu")
        device = cpu if self.trainer is None else self.trainer.strategy.root_device
        there = self._resident.get(part)
        if there is None or there.images.device != device:
            stored = self._sets[part]
            assert isinstance(stored, TensorImages)  # the type that `load` returns
            labels = torch.tensor(stored.labels, device=device)
            there = self._resident[part] = DeviceImages(stored.images.to(device), labels)
        return there

    def _check_on_device(self) -> None:
        if self.num_workers:
            raise UsageError(
                f"on_device uses no loader processes: set num_workers to 0 instead of "
                f"{self.num_workers}, or on_device to false."
            )
        for name in ("train_transform", "eval_transform", "dataset"):
            if getattr(type(self), name) is not getattr(InMemoryImages, name):
                raise UsageError(
                    f"on_device does not use {type(self).__name__}.{name}: override preparation "
                    "instead, or set on_device to false."
                )
