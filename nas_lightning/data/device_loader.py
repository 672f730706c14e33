"""Batches of images that already lie on the device."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nas_lightning.data.batched import BatchedSteps
from nas_lightning.data.sampler import EpochSampler


class DeviceImages(NamedTuple):
    """A training or test set on a device: images (N, C, H, W) as they are stored, classes (N,)."""

    images: Tensor
    labels: Tensor


class DeviceLoader:
    """Takes batches out of images on a device, and augments them there.

    What an epoch needs (indices and draws) is worked out at its start and sent to the device in
    one piece. After that the host only says what to do: nothing is copied, and it never waits.

    Draws depend only on seed, epoch and index, as those of `AugmentedDataset` do: so not on the
    batch size, the process or where a run was resumed. They are other numbers than there, since
    torch's generator cannot be asked for many samples at once.

    Args:
        data: Images and classes.
        sampler: Which samples, and in which order; Lightning tells it the epoch.
        batch_size: Samples per batch.
        steps: From stored images to what the network sees.
        seed: Seed of the augmentation.
        training: Whether to leave out a last batch that is not full.
    """

    batch_sampler: None = None
    """Lightning asks for it where there is a sampler."""

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
        """Batches of this rank in a whole epoch, wherever it was resumed."""
        missing = 0 if self.training else self.batch_size - 1
        return (len(self.sampler) + missing) // self.batch_size

    def __iter__(self) -> Iterator[Any]:
        """Images (B, C, H, W) and classes (B,) of the epoch that the sampler was last told."""
        # a generator: Lightning makes iterators that it does not use
        plan = self._plan()
        stop = len(plan) - (len(plan) % self.batch_size if self.training else 0)
        for start in range(0, stop, self.batch_size):
            batch = plan[start : start + self.batch_size]
            indices, draws = batch[:, 0], batch[:, 1:]
            images = self.data.images.index_select(0, indices)
            yield self.steps(images, draws), self.data.labels.index_select(0, indices)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the data module keeps the position; Lightning would warn without this method."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing: the position was applied when this loader was made."""

    def _plan(self) -> Tensor:
        """What is left of the epoch, on the device: index and draws, a row a sample."""
        pairs = np.array(list(self.sampler), dtype=np.int64).reshape(-1, 2)
        rows = np.concatenate([pairs[:, 1:], self.steps.draws(self.seed, pairs)], axis=1)
        plan = torch.from_numpy(rows)
        device = self.data.images.device
        if device.type == "cuda":
            return plan.pin_memory().to(device, non_blocking=True)
        return plan.to(device)
