"""How loaders are made from a data set and a sampler."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nas_lightning.data.sampler import EpochSampler
from nas_lightning.randomness import mix_seed

# what a batch becomes: images (batch, C, H, W) and classes (batch,), or measurements and truths
Loader = DataLoader[tuple[Tensor, Tensor]]


class TrainLoader(Loader):
    """A loader that Lightning takes for resumable, because the data module resumes it.

    Without these methods, Lightning warns at every resume in the middle of an epoch.
    """

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the data module keeps the position."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing: the position was applied when this loader was made."""


def make_loader(
    dataset: Dataset[Any],
    sampler: EpochSampler,
    batch_size: int,
    num_workers: int,
    *,
    training: bool,
) -> Loader:
    """Make a loader of full batches for training, of all samples otherwise."""
    kind = TrainLoader if training else DataLoader
    return kind(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=training,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        # its own: otherwise creating an iterator draws from the global random state
        generator=torch.Generator().manual_seed(mix_seed(sampler.seed)),
    )
