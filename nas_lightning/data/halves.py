"""What data modules of samples share: halves for a search, parts for a retraining, exact resume."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import Dataset

from nas_lightning.data.device_loader import DeviceLoader
from nas_lightning.data.loaders import Loader, make_loader
from nas_lightning.data.resumable import ResumableData, check_trainer
from nas_lightning.data.sampler import EpochSampler
from nas_lightning.data.split import split_indices
from nas_lightning.errors import UsageError
from nas_lightning.randomness import mix_seed

Part = Literal["train", "test"]
S = TypeVar("S")
"""A training or test set, opened."""
Batches = Loader | DeviceLoader
"""What gives batches: of samples that are loaded, or that lie on the device."""


class HalvedData(ResumableData, ABC, Generic[S]):
    """A training and a test set for a search or a retraining.

    In search mode a training batch is `{"train": …, "val": …}` with a batch of the weight half and
    one of the architecture half; an epoch goes once through the larger half. In retrain mode it is
    one batch. Training batches are always full. Run the trainer with
    `use_distributed_sampler=False`: the samples are dealt out to the processes here.

    Args:
        batch_size: Samples per batch and per process (per device).
        mode: `search`: split the training set into a weight half and an architecture half, which
            is also the validation set. `retrain`: train on the training set less `val_fraction`.
        arch_fraction: Search mode: share of the training set that becomes the architecture half.
        val_fraction: Retrain mode: share of the training set that is split off for choosing a
            checkpoint; 0 trains on all of it, without validation.
        single_level: Search mode: draw both steps' batches from the whole training set, in orders
            of their own, instead of from two halves (single-level ERM); then there is no
            validation set.
        seed: Seed of the split, of the order and of the augmentation; by default the run's
            (`seed_everything`), or 0 if that was never set.
        num_workers: Processes that load samples, for each loader; 0 loads in the main process.

    Raises:
        UsageError: If an argument is out of range.
    """

    samples: ClassVar[str] = "samples"
    """What messages call them."""
    # which argument sets the size of a part of the training set
    shares: ClassVar[dict[str, str]] = {
        "weight half": "arch_fraction",
        "architecture half": "arch_fraction",
        "training part": "val_fraction",
    }

    def __init__(
        self,
        batch_size: int = 64,
        mode: Literal["search", "retrain"] = "search",
        arch_fraction: float = 0.5,
        val_fraction: float = 0.1,
        single_level: bool = False,
        seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(seed)
        if mode not in ("search", "retrain"):
            raise UsageError(f"mode is {mode!r}, but must be 'search' or 'retrain'.")
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}, but must be at least 1.")
        if not 0 < arch_fraction < 1:
            raise UsageError(f"arch_fraction is {arch_fraction}, but must lie between 0 and 1.")
        if not 0 <= val_fraction < 1:
            raise UsageError(f"val_fraction is {val_fraction}, but must be 0 or more and below 1.")
        if num_workers < 0:
            raise UsageError(f"num_workers is {num_workers}, but must be 0 or more.")
        self.batch_size = batch_size
        self.mode = mode
        self.arch_fraction = arch_fraction
        self.val_fraction = val_fraction
        self.single_level = single_level
        self.num_workers = num_workers
        self._sets: dict[Part, S] = {}
        # training indices and validation indices (in search mode: the architecture half)
        self._indices: tuple[list[int], list[int]] = ([], [])

    @property
    @abstractmethod
    def data_spec(self) -> dict[str, Any]:
        """Sizes of the data, plain data; known before `setup`."""

    @abstractmethod
    def load(self, part: Part) -> S:
        """Open the training or the test set; raises DataError if it is missing or broken."""

    @abstractmethod
    def labels(self, loaded: S) -> Sequence[int]:
        """The class of each sample: all classes are split in the same proportion."""

    @abstractmethod
    def dataset(self, loaded: S, *, training: bool) -> Dataset[Any]:
        """Samples by `(epoch, index)`; augmented in training."""

    def split(self, labels: Sequence[int]) -> tuple[list[int], list[int]]:
        """Split the training set, class by class.

        Args:
            labels: The class of each of its samples.

        Returns:
            Indices of the samples to train on, and of the validation samples: in search mode the
            architecture half, which is empty if `single_level` is set.
        """
        if self.mode == "retrain":
            return split_indices(labels, self.val_fraction, self._seed)
        return split_indices(labels, 0 if self.single_level else self.arch_fraction, self._seed)

    def setup(self, stage: str | None = None) -> None:
        """Open what the stage (`fit`, `validate`, `test`, `predict`; None: all) needs, once.

        Raises:
            DataError: If data is missing or broken.
            UsageError: If the trainer would replace the samplers.
        """
        if self.trainer is not None:
            check_trainer(self.trainer)
        if stage in ("fit", "validate", None) and "train" not in self._sets:
            train = self._sets["train"] = self.load("train")
            self._indices = self.split(self.labels(train))
        if stage in ("test", "predict", None) and "test" not in self._sets:
            self._sets["test"] = self.load("test")

    def train_dataloader(self) -> CombinedLoader | Batches:
        """Augmented, shuffled batches; goes on where a loaded checkpoint stopped."""
        first, second = self._indices
        epoch, batch = self._position()
        if self.mode == "retrain":
            return self._train_loader("training part", first, len(first), 0, epoch, batch)
        if self.single_level:
            second = first
        size = max(len(first), len(second))
        loaders = {
            "train": self._train_loader("weight half", first, size, 0, epoch, batch),
            "val": self._train_loader("architecture half", second, size, 1, epoch, batch),
        }
        return CombinedLoader(loaders, mode="min_size")

    def val_dataloader(self) -> Batches | list[Batches]:
        """Without augmentation: the architecture half, or the validation part (none if empty)."""
        indices = self._indices[1]
        return self._eval_loader("train", indices) if indices else []

    def test_dataloader(self) -> Batches:
        """The test set without augmentation."""
        return self._eval_loader("test", range(len(self.labels(self._sets["test"]))))

    def predict_dataloader(self) -> Batches:
        """The same as `test_dataloader`."""
        return self.test_dataloader()

    def _train_loader(
        self, name: str, indices: Sequence[int], size: int, stream: int, epoch: int, batch: int
    ) -> Batches:
        """A loader of `size` augmented samples, all ranks together; `stream` varies the order."""
        rank, world_size = self._world()
        if len(indices) < self.batch_size * world_size:
            raise UsageError(
                f"The {name} has {len(indices)} {self.samples}, fewer than one batch of "
                f"{self.batch_size} on each of {world_size} processes: lower batch_size or change "
                f"{self.shares[name]}."
            )
        sampler = EpochSampler(
            indices, size, seed=mix_seed(self._seed, stream), rank=rank, world_size=world_size
        )
        sampler.resume(epoch, batch * self.batch_size)
        return self._loader("train", sampler, training=True)

    def _eval_loader(self, part: Part, indices: Sequence[int]) -> Batches:
        """A loader without augmentation."""
        return self._loader(part, self._eval_sampler(indices), training=False)

    def _eval_sampler(self, indices: Sequence[int]) -> EpochSampler:
        """The order given, each sample on one rank only."""
        rank, world_size = self._world()
        return EpochSampler(indices, rank=rank, world_size=world_size, shuffle=False)

    def _loader(self, part: Part, sampler: EpochSampler, *, training: bool) -> Batches:
        """Where batches come from; a subclass may know a shorter way."""
        return self._sample_loader(part, sampler, training=training)

    def _sample_loader(self, part: Part, sampler: EpochSampler, *, training: bool) -> Loader:
        dataset = self.dataset(self._sets[part], training=training)
        return make_loader(dataset, sampler, self.batch_size, self.num_workers, training=training)
