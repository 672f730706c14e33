"""ImageNet, or what is laid out like it: a small part of each class for a search."""

from collections.abc import Sequence
from typing import Any, ClassVar, final

from torch import nn

from nas_lightning.data.folder import ImageFolder
from nas_lightning.data.split import split_indices
from nas_lightning.data.transforms import imagenet_transform
from nas_lightning.errors import UsageError
from nas_lightning.randomness import mix_seed


@final
class ImageNet(ImageFolder):
    """Photographs in `root/train/<class>/`; `root/val/<class>/` is the test set.

    A search draws two small parts of each class, which do not overlap, as PC-DARTS does: 10 % for
    the weights, 2.5 % for the architecture. Seeds draw other ones. An epoch goes once through the
    first; the second repeats. A retraining takes all of the training set less `val_fraction`.

    Augmentation: a random part of 8 to 100 % of the area, mirroring, other colours (DARTS).
    Evaluation: the shorter side to 256 of 224 pixels, centre crop.

    The papers report the accuracy on `val`, so here it is the test set: no checkpoint is chosen by
    it. A folder `test`, whose classes ImageNet keeps to itself, is left alone.

    Args:
        root: Folder that holds `train` and `val`.
        image_size: Height and width in pixels that images are brought to.
        weight_fraction: Search mode: share of each class that the weights learn from; with
            `single_level` α does too.
        arch_fraction: Search mode: share of each class that the architecture learns from, which
            is also the validation set.
        val_fraction: Retrain mode: share of each class that is split off for choosing a
            checkpoint; 0, as in the papers, trains on all, without validation.
        kwargs: Arguments of `ImageFolder`.

    Raises:
        UsageError: If an argument is out of range.
        DataError: If `root/train` is missing or has no classes.
    """

    test_folders: ClassVar[Sequence[str]] = ("val",)  # ImageNet's own `test` has no classes
    shares: ClassVar[dict[str, str]] = {**ImageFolder.shares, "weight half": "weight_fraction"}

    def __init__(
        self,
        root: str = "data",
        image_size: int = 224,
        weight_fraction: float = 0.1,
        arch_fraction: float = 0.025,
        val_fraction: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            root=root,
            image_size=image_size,
            arch_fraction=arch_fraction,
            val_fraction=val_fraction,
            **kwargs,
        )
        if not 0 < weight_fraction <= 1 - arch_fraction:
            raise UsageError(
                f"weight_fraction is {weight_fraction}, but must be above 0 and at most "
                f"{1 - arch_fraction:g}, which arch_fraction leaves."
            )
        self.weight_fraction = weight_fraction

    def split(self, labels: Sequence[int]) -> tuple[list[int], list[int]]:
        """The two parts of a search, or those of a retraining."""
        rest, second = super().split(labels)
        if self.mode == "retrain":
            return rest, second
        # `second` is empty for a single level, which takes nothing away from the weights
        share = self.weight_fraction * len(labels) / max(1, len(rest))
        _, chosen = split_indices(
            [labels[i] for i in rest], min(share, 1.0), mix_seed(self._seed, 1)
        )
        return [rest[i] for i in chosen], second

    def augmentation(self) -> list[nn.Module]:
        """That of DARTS."""
        return imagenet_transform(self.image_size)
