"""Base class of data modules that split a training set and resume exactly."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import Dataset

from nas_lightning.data.device_loader import DeviceLoader
from nas_lightning.data.growth import BatchGrowth, check_growth, grown
from nas_lightning.data.loaders import Loader, make_loader
from nas_lightning.data.resumable import ResumableData, check_trainer
from nas_lightning.data.sampler import EpochSampler
from nas_lightning.data.split import split_indices
from nas_lightning.errors import DataError, UsageError
from nas_lightning.randomness import mix_seed
from nas_lightning.ranges import FRACTION, PROBABILITY, at_least, check

Part = Literal["train", "val", "test", "predict"]
Separate = Literal["val", "predict"]
"""Sets that data may have in addition: for validation, and samples without labels."""
S = TypeVar("S")
"""Type of an opened training or test set."""
_NAMES = {"train": "training", "val": "validation", "test": "test", "predict": "prediction"}
Batches = Loader | DeviceLoader
"""Loaders of batches, from loaded samples or from images on the device."""


class HalvedData(ResumableData, ABC, Generic[S]):
    """A training and a test set for a search or a retraining.

    In search mode a training batch is `{"train": …, "val": …}`, with a batch of the weight half
    and one of the architecture half. An epoch passes once through the larger half. In retrain mode
    a training batch is a single batch. Training batches are always full. Set
    `use_distributed_sampler=False` in the trainer, since the data module distributes the samples
    to the processes.

    Args:
        batch_size: Number of samples per batch and process (device).
        mode: `search` splits the training set into a weight half and an architecture half, which
            is also the validation set. `retrain` trains on the training set without
            `val_fraction`.
        arch_fraction: In search mode, share of the training set in the architecture half.
        val_fraction: In retrain mode, share of the training set that is held out for choosing a
            checkpoint. With 0, there is no validation.
        single_level: In search mode, take the batches of both steps from the whole training set,
            in different orders, instead of from two halves (single-level ERM). There is then no
            validation set.
        seed: Seed of the split, the order and the augmentation. The default is the seed of the
            run (`seed_everything`), or 0 if there is none.
        num_workers: Number of loader processes of each loader; 0 loads in the main process.
        batch_growth: Growth of the training batches at the ends of epochs, such as
            `{by: 8, after: [9, 14]}`: 8 more samples per batch and process after epoch 9, counted
            from 0, and 8 more after epoch 14. Evaluation keeps `batch_size`. By default batches do
            not grow.

    Raises:
        UsageError: An argument is out of range.
    """

    samples: ClassVar[str] = "samples"
    """Word for samples in messages."""
    # the argument that sets the size of each part of the training set
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
        batch_growth: BatchGrowth | None = None,
    ) -> None:
        super().__init__(seed)
        if mode not in ("search", "retrain"):
            raise UsageError(f"mode is {mode!r}, but must be 'search' or 'retrain'.")
        self.batch_size = batch_size
        self.mode = mode
        self.arch_fraction = arch_fraction
        self.val_fraction = val_fraction
        self.single_level = single_level
        self.num_workers = num_workers
        self.batch_growth = batch_growth
        if batch_growth is not None:
            check_growth(f"{type(self).__name__}: batch_growth", batch_growth)
        check(self, batch_size=at_least(1), num_workers=at_least(0, 10_000))
        check(self, arch_fraction=FRACTION, val_fraction=PROBABILITY)
        self._sets: dict[Part, S] = {}
        # training indices and validation indices (in search mode: the architecture half)
        self._indices: tuple[list[int], list[int]] = ([], [])

    @property
    @abstractmethod
    def data_spec(self) -> dict[str, Any]:
        """Sizes of the data as plain data, known before `setup`."""

    @property
    def meaning(self) -> dict[str, Any]:
        """More that must agree with a checkpoint, see `nas_lightning.training.meaning`."""
        return {}

    @abstractmethod
    def load(self, part: Part) -> S:
        """Open the training or the test set; raise DataError if it is missing or damaged."""

    def separate(self, part: Separate) -> S | None:
        """Open a validation set beside the training set, or samples without labels to predict.

        Returns:
            `None` if there is none: a part of the training set is the validation set, and the test
            set is predicted.
        """
        return None

    @abstractmethod
    def labels(self, loaded: S) -> Sequence[int]:
        """Return the class of each sample; all classes are split in the same proportion."""

    @abstractmethod
    def dataset(self, loaded: S, *, training: bool) -> Dataset[Any]:
        """Return a data set that is indexed by `(epoch, index)` and augments in training."""

    def split(self, labels: Sequence[int]) -> tuple[list[int], list[int]]:
        """Split the training set, class by class.

        Args:
            labels: Class of each sample of the training set.

        Returns:
            Indices of the samples to train on and of the validation samples. In search mode the
            latter are the architecture half, which is empty with `single_level`.
        """
        if self.mode == "retrain":
            return split_indices(labels, self.val_fraction, self._seed)
        return split_indices(labels, 0 if self.single_level else self.arch_fraction, self._seed)

    def setup(self, stage: str | None = None) -> None:
        """Open the sets of a stage once (`fit`, `validate`, `test`, `predict`; `None` means all).

        Raises:
            DataError: Data is missing or damaged.
            UsageError: The trainer would replace the samplers.
        """
        if self.trainer is not None:
            check_trainer(self.trainer)
            if self.batch_growth is not None:
                # Lightning counts the batches of an epoch when it asks for the loader
                self.trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined] # set by a connector
        if stage in ("fit", "validate", None) and "train" not in self._sets:
            self._open_train()
        if stage == "predict" and (new := self.separate("predict")) is not None:
            self._sets["predict"] = new
        elif stage in ("test", "predict", None) and "test" not in self._sets:
            self._sets["test"] = self.load("test")
        for part, loaded in self._sets.items():
            if not len(self.labels(loaded)):
                raise DataError(f"The {_NAMES[part]} set has no {self.samples}.")

    def _open_train(self) -> None:
        """Open and split the training set, and open the validation set if there is one."""
        train = self.load("train")
        labels = self.labels(train)
        held_out = self.separate("val") if self.mode == "retrain" else None
        if held_out is not None:
            self._sets["val"] = held_out
            self._indices = (list(range(len(labels))), [])
        else:
            self._indices = self.split(labels)
            if self.mode == "retrain" and self.val_fraction > 0 and not self._indices[1]:
                raise UsageError(
                    f"val_fraction {self.val_fraction:g} of {len(labels):,} {self.samples} is none "
                    f"for validation: set it to {1 / max(1, len(labels)):.2g} or more, or to 0 and "
                    "checkpoint.monitor to null."
                )
        self._sets["train"] = train

    def counts(self) -> dict[str, int]:
        """Return the number of samples in each part that was opened."""
        found: dict[str, int] = {}
        first, second = (len(part) for part in self._indices)
        if "train" in self._sets:
            if self.mode == "retrain":
                found = {"training": first, "validation": second}
            elif self.single_level:
                found = {"training (weights and architecture)": first}
            else:
                found = {"weight half": first, "architecture half (and validation)": second}
        sets = {part: len(self.labels(loaded)) for part, loaded in self._sets.items()}
        return found | {_NAMES[part]: sets[part] for part in sets if part != "train"}

    def summary(self) -> list[tuple[str, str]]:
        """Return lines with the number of samples of each part."""
        parts = ", ".join(f"{name} {number:,}" for name, number in self.counts().items())
        return [*super().summary(), (self.samples, parts)]

    def train_dataloader(self) -> CombinedLoader | Batches:
        """Return augmented, shuffled batches, starting at the position of a loaded checkpoint."""
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
        """Return the architecture half or the validation set, without augmentation."""
        if "val" in self._sets:
            return self._whole("val")
        indices = self._indices[1]
        return self._eval_loader("train", indices) if indices else []

    def test_dataloader(self) -> Batches:
        """Return the test set without augmentation."""
        return self._whole("test")

    def predict_dataloader(self) -> Batches:
        """Return the samples to predict, without augmentation: the test set, unless others."""
        return self._whole("predict" if "predict" in self._sets else "test")

    def _whole(self, part: Part) -> Batches:
        return self._eval_loader(part, range(len(self.labels(self._sets[part]))))

    def _train_loader(
        self, name: str, indices: Sequence[int], size: int, stream: int, epoch: int, batch: int
    ) -> Batches:
        """Return a loader of `size` augmented samples over all ranks; `stream` varies the order."""
        rank, world_size = self._world()
        largest = grown(self.batch_size, self.batch_growth)
        if len(indices) < largest * world_size:
            raise UsageError(
                f"The {name} has {len(indices)} {self.samples}, fewer than one batch of "
                f"{largest} on each of {world_size} processes: lower batch_size "
                f"{'or batch_growth ' if self.batch_growth else ''}or change {self.shares[name]}."
            )
        batch_size = grown(self.batch_size, self.batch_growth, self._counted_epoch())
        sampler = EpochSampler(
            indices, size, seed=mix_seed(self._seed, stream), rank=rank, world_size=world_size
        )
        sampler.resume(epoch, batch * batch_size)
        return self._loader("train", sampler, batch_size, training=True)

    def _eval_loader(self, part: Part, indices: Sequence[int]) -> Batches:
        """Return a loader without augmentation."""
        return self._loader(part, self._eval_sampler(indices), self.batch_size, training=False)

    def _eval_sampler(self, indices: Sequence[int]) -> EpochSampler:
        """Return a sampler that keeps the order and yields each sample on one rank only."""
        rank, world_size = self._world()
        return EpochSampler(indices, rank=rank, world_size=world_size, shuffle=False)

    def _loader(
        self, part: Part, sampler: EpochSampler, batch_size: int, *, training: bool
    ) -> Batches:
        """Return the loader of batches; subclasses may override it with a faster one."""
        return self._sample_loader(part, sampler, batch_size, training=training)

    def _sample_loader(
        self, part: Part, sampler: EpochSampler, batch_size: int, *, training: bool
    ) -> Loader:
        dataset = self.dataset(self._sets[part], training=training)
        # with growing batches, each epoch has its own loaders
        persistent = self.num_workers > 0 and self.batch_growth is None
        return make_loader(
            dataset, sampler, batch_size, self.num_workers, training=training, persistent=persistent
        )
