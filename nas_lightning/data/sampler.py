"""The order of the samples: a pure function of seed, epoch, rank, world size and start."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from nas_lightning.randomness import mix_seed


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields `(epoch, index)` pairs, so that augmentations can depend on the epoch in any worker.

    No state is kept between epochs: a run that is resumed sees the order that an uninterrupted one
    would have seen.

    Args:
        indices: The samples of the data set to draw from.
        num_samples: Samples per epoch, all ranks together; all of `indices` once if not given. If
            it exceeds their number, further permutations follow.
        seed: Seed of the order.
        rank: Which of the `world_size` processes this one is.
        world_size: Number of processes that share the samples.
        shuffle: True: a new permutation every epoch, and every rank gets
            `num_samples // world_size`. False: the order given, dealt out completely, so that
            ranks may differ by one sample and no sample is counted twice in a metric.
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
        """Choose the epoch that the next iteration belongs to; Lightning calls this."""
        self.epoch = epoch

    def resume(self, epoch: int, start: int) -> None:
        """Go on in `epoch` after its first `start` samples of this rank.

        The offset belongs to that epoch, not to the next iteration: Lightning may create an
        iterator more than once before it uses one.
        """
        self.epoch = self._start_epoch = epoch
        self._start = start

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch, whatever `resume` said."""
        if self.shuffle:
            return self.num_samples // self.world_size
        return len(range(self.rank, self.num_samples, self.world_size))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Iterate over this rank's share of the epoch that was set last."""
        start = self._start if self.epoch == self._start_epoch else 0
        epoch = self.epoch
        share = self._positions()[self.rank :: self.world_size][: len(self)]
        return iter([(epoch, self.indices[i]) for i in share[start:]])

    def _positions(self) -> list[int]:
        """Positions in `indices` in the order of the epoch, all ranks together."""
        size = len(self.indices)
        if not self.shuffle:
            return list(range(self.num_samples))
        generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
        positions: list[int] = []
        while size and len(positions) < self.num_samples:
            positions += torch.randperm(size, generator=generator).tolist()
        return positions[: self.num_samples]
