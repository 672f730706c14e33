"""What all image data modules share: halves for a search, parts for a retraining, exact resume."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from lightning import Trainer
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torchvision.transforms import v2

from nas_lightning.data.dataset import AugmentedDataset, LabelledImages
from nas_lightning.data.loaders import Loader, make_loader
from nas_lightning.data.resumable import ResumableData
from nas_lightning.data.sampler import EpochSampler
from nas_lightning.data.split import split_indices
from nas_lightning.data.transforms import Cutout
from nas_lightning.errors import UsageError
from nas_lightning.randomness import mix_seed

Part = Literal["train", "test"]


class ImageData(ResumableData, ABC):
    """Images and classes for a search or a retraining.

    In search mode a training batch is `{"train": (x, y), "val": (x, y)}` with a batch of the weight
    half and one of the architecture half; an epoch goes once through the larger half. In retrain
    mode it is `(x, y)`. x has the shape (batch, channels, height, width). Training batches are
    always full. Run the trainer with `use_distributed_sampler=False`: the samples are dealt out to
    the processes here.

    Args:
        batch_size: Images per batch and per process (per device).
        mode: `search`: split the training set into a weight half and an architecture half, which
            is also the validation set. `retrain`: train on the training set less `val_fraction`.
        arch_fraction: Search mode: share of the training set that becomes the architecture half.
        val_fraction: Retrain mode: share of the training set that is split off for choosing a
            checkpoint; 0 trains on all of it, without validation.
        single_level: Search mode: draw both steps' batches from the whole training set, in orders
            of their own, instead of from two halves (single-level ERM); then there is no
            validation set.
        cutout: Side in pixels of the square that training sets to zero in each image; 0 for none.
        seed: Seed of the split, of the order and of the augmentation; by default the run's
            (`seed_everything`), or 0 if that was never set.
        num_workers: Processes that load images, for each loader; 0 loads in the main process.

    Raises:
        UsageError: If an argument is out of range.
    """

    class_names: tuple[str, ...] | None = None
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
        cutout: int = 0,
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
        for name, value in (("cutout", cutout), ("num_workers", num_workers)):
            if value < 0:
                raise UsageError(f"{name} is {value}, but must be 0 or more.")
        self.batch_size = batch_size
        self.mode = mode
        self.arch_fraction = arch_fraction
        self.val_fraction = val_fraction
        self.single_level = single_level
        self.cutout = cutout
        self.num_workers = num_workers
        self._sets: dict[Part, LabelledImages] = {}
        # training indices and validation indices (in search mode: the architecture half)
        self._indices: tuple[list[int], list[int]] = ([], [])

    @property
    @abstractmethod
    def data_spec(self) -> dict[str, int]:
        """`in_channels`, `num_classes`, `image_size` (pixels); known before `setup`."""

    @abstractmethod
    def load(self, part: Part) -> LabelledImages:
        """Open the training or the test set; raises DataError if it is missing or broken."""

    @abstractmethod
    def train_transform(self) -> list[nn.Module]:
        """Steps from a stored image to an augmented tensor, less cutout."""

    @abstractmethod
    def eval_transform(self) -> list[nn.Module]:
        """Steps from a stored image to a tensor, without any draw."""

    def split(self, labels: Sequence[int]) -> tuple[list[int], list[int]]:
        """Split the training set, class by class.

        Args:
            labels: The class of each of its images.

        Returns:
            Indices of the images to train on, and of the validation images: in search mode the
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
            self._indices = self.split(train.labels)
        if stage in ("test", "predict", None) and "test" not in self._sets:
            self._sets["test"] = self.load("test")

    def train_dataloader(self) -> CombinedLoader | Loader:
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

    def val_dataloader(self) -> Loader | list[Loader]:
        """Without augmentation: the architecture half, or the validation part (none if empty)."""
        indices = self._indices[1]
        return self._eval_loader("train", indices) if indices else []

    def test_dataloader(self) -> Loader:
        """The test set without augmentation, as `(x, y)`."""
        return self._eval_loader("test", range(len(self._sets["test"].labels)))

    def predict_dataloader(self) -> Loader:
        """The same as `test_dataloader`."""
        return self.test_dataloader()

    def _train_loader(
        self, name: str, indices: Sequence[int], size: int, stream: int, epoch: int, batch: int
    ) -> Loader:
        """A loader of `size` augmented samples, all ranks together; `stream` varies the order."""
        rank, world_size = self._world()
        if len(indices) < self.batch_size * world_size:
            raise UsageError(
                f"The {name} has {len(indices)} images, fewer than one batch of {self.batch_size} "
                f"on each of {world_size} processes: lower batch_size or change "
                f"{self.shares[name]}."
            )
        sampler = EpochSampler(
            indices, size, seed=mix_seed(self._seed, stream), rank=rank, world_size=world_size
        )
        sampler.resume(epoch, batch * self.batch_size)
        steps = self.train_transform() + ([Cutout(self.cutout)] if self.cutout else [])
        return self._loader("train", steps, sampler, training=True)

    def _eval_loader(self, part: Part, indices: Sequence[int]) -> Loader:
        """A loader without augmentation, in the order given, each sample on one rank only."""
        rank, world_size = self._world()
        sampler = EpochSampler(indices, rank=rank, world_size=world_size, shuffle=False)
        return self._loader(part, self.eval_transform(), sampler, training=False)

    def _loader(
        self, part: Part, steps: list[nn.Module], sampler: EpochSampler, *, training: bool
    ) -> Loader:
        transform = v2.Compose(steps) if steps else v2.Identity()
        dataset = AugmentedDataset(self._sets[part], transform, self._seed)
        return make_loader(dataset, sampler, self.batch_size, self.num_workers, training=training)


def check_trainer(trainer: Trainer) -> None:
    """Refuse settings with which Lightning replaces the samplers, and with them the order."""
    if trainer.overfit_batches > 0:  # type: ignore[attr-defined] # Lightning sets it elsewhere
        raise UsageError("overfit_batches replaces the sampler: use limit_train_batches instead.")
    # Lightning offers no public way to ask
    if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
        raise UsageError(
            "The samples are dealt out to the processes by the data module: "
            "set the trainer's use_distributed_sampler to false."
        )
