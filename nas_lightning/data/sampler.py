"""A sampler whose order is a pure function of seed, epoch, rank, world size and start."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from nas_lightning.randomness import mix_seed


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields `(epoch, index)` pairs, so that augmentations can depend on the epoch in any worker.

    It keeps no state between epochs, so a resumed run has the same order as an uninterrupted one.

    Args:
        indices: Indices of the samples in the data set.
        num_samples: Number of samples per epoch over all ranks; `None` means all of `indices`
            once. If it exceeds their number, further permutations follow.
        seed: Seed of the order.
        rank: Rank of this process.
        world_size: Number of processes that share the samples.
        shuffle: If True, every epoch has a new permutation, and every rank gets
            `num_samples // world_size` samples. If False, the order of `indices` is kept and all
            samples are distributed. The ranks may then differ by one sample, and no sample is
            counted twice in a metric.
    """

    def __init__(
        self,
        indices: Sequence[int],
        num_samples: int | None = None,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
    ) -> None:
        self.indices = indices
        self.num_samples = len(indices) if num_samples is None else num_samples
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.shuffle = shuffle
        self.epoch = 0
        self._start_epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; Lightning calls this."""
        self.epoch = epoch

    def resume(self, epoch: int, start: int) -> None:
        """Resume in `epoch` after its first `start` samples of this rank.

        The offset applies to that epoch rather than to the next iteration, since Lightning may
        create several iterators before it uses one.
        """
        self.epoch = self._start_epoch = epoch
        self._start = start

    def __len__(self) -> int:
        """Return the number of samples of this rank in a complete epoch, even if resumed within."""
        if self.shuffle:
            return self.num_samples // self.world_size
        return len(range(self.rank, self.num_samples, self.world_size))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Iterate over this rank's share of the current epoch."""
        start = self._start if self.epoch == self._start_epoch else 0
        epoch = self.epoch
        share = self._positions()[self.rank :: self.world_size][: len(self)]
        return iter([(epoch, self.indices[i]) for i in share[start:]])

    def _positions(self) -> list[int]:
        """Return positions in `indices` in the order of the epoch, for all ranks together."""
        size = len(self.indices)
        if not self.shuffle:
            return list(range(self.num_samples))
        generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
        positions: list[int] = []
        while size and len(positions) < self.num_samples:
            positions += torch.randperm(size, generator=generator).tolist()
        return positions[: self.num_samples]
