"""Batches from images that are already on the device."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nas_lightning.data.batched import BatchedSteps
from nas_lightning.data.sampler import EpochSampler


class DeviceImages(NamedTuple):
    """A training or test set on a device: stored images (N, C, H, W) and classes (N,)."""

    images: Tensor
    labels: Tensor


class DeviceLoader:
    """Selects batches from images on a device and augments them there.

    The indices and draws of an epoch are computed at its start and sent to the device in one
    piece. Within the epoch, nothing is copied and the host never waits for the device.

    As in `AugmentedDataset`, draws depend only on seed, epoch and index, and not on batch size,
    process or resume. Their values differ from those of `AugmentedDataset`, since the generator of
    PyTorch cannot draw for many samples at once.

    Args:
        data: Images and classes.
        sampler: Order of the samples; Lightning sets its epoch.
        batch_size: Number of samples per batch.
        steps: Steps from stored images to the input of the network.
        seed: Seed of the augmentation.
        training: Drop a last batch that is not full.
    """

    batch_sampler: None = None
    """Required by Lightning for a loader with a sampler."""

    def __init__(
        self,
        data: DeviceImages,
        sampler: EpochSampler,
        batch_size: int,
        steps: BatchedSteps,
        seed: int,
        *,
        training: bool,
    ) -> None:
        self.data = data
        self.sampler = sampler
        self.batch_size = batch_size
        self.steps = steps.to(data.images.device)
        self.seed = seed
        self.training = training

    def __len__(self) -> int:
        """Return the number of batches of this rank in a complete epoch, even if resumed within."""
        missing = 0 if self.training else self.batch_size - 1
        return (len(self.sampler) + missing) // self.batch_size

    def __iter__(self) -> Iterator[Any]:
        """Yield images (B, C, H, W) and classes (B,) of the epoch that the sampler is set to."""
        # a generator, since Lightning creates iterators that it does not use
        rows = self._rows()
        stop = len(rows) - (len(rows) % self.batch_size if self.training else 0)
        for start in range(0, stop, self.batch_size):
            batch = rows[start : start + self.batch_size]
            indices, draws = batch[:, 0], batch[:, 1:]
            images = self.data.images.index_select(0, indices)
            yield self.steps(images, draws), self.data.labels.index_select(0, indices)

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state, so that Lightning does not warn; the data module resumes."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing, since the position was set when this loader was created."""

    def _rows(self) -> Tensor:
        """Return the rest of the epoch on the device: index and draws, one row per sample."""
        pairs = np.array(list(self.sampler), dtype=np.int64).reshape(-1, 2)
        columns = [pairs[:, 1:], self.steps.draws(self.seed, pairs)]
        rows = torch.from_numpy(np.concatenate(columns, axis=1))
        device = self.data.images.device
        if device.type == "cuda":
            return rows.pin_memory().to(device, non_blocking=True)
        return rows.to(device)
