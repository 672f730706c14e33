"""Construction of a loader from a data set and a sampler."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nas_lightning.data.sampler import EpochSampler
from nas_lightning.randomness import mix_seed

# a batch consists of images (B, C, H, W) and classes (B,), or of measurements and true signals
Loader = DataLoader[tuple[Tensor, Tensor]]


class TrainLoader(Loader):
    """A loader that Lightning considers resumable, because the data module resumes it.

    Without the two methods, Lightning warns whenever a run resumes in the middle of an epoch.
    """

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state, since the data module stores the position."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing, since the position was set when this loader was created."""


def make_loader(
    dataset: Dataset[Any],
    sampler: EpochSampler,
    batch_size: int,
    num_workers: int,
    *,
    training: bool,
    persistent: bool = False,
) -> Loader:
    """Build a loader of full batches for training, or of all samples otherwise.

    Args:
        dataset: The data set.
        sampler: Order of the samples.
        batch_size: Number of samples per batch.
        num_workers: Number of loader processes.
        training: Drop a last batch that is not full.
        persistent: Keep the loader processes from epoch to epoch.
    """
    kind = TrainLoader if training else DataLoader
    return kind(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=training,
        num_workers=num_workers,
        persistent_workers=persistent,
        pin_memory=torch.cuda.is_available(),
        # without a generator, creating an iterator would draw from the global random state
        generator=torch.Generator().manual_seed(mix_seed(sampler.seed)),
    )
