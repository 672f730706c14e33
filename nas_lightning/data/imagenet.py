"""ImageNet, or data in the same layout, with a small part of each class for a search."""

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
    """Photographs in `root/train/<class>/` and, as the test set, `root/val/<class>/`.

    As in PC-DARTS, a search draws two small, disjoint parts of each class: 10 % for the weights
    and 2.5 % for the architecture. They depend on the seed. An epoch passes once through the first
    part and repeats the second. A retraining uses the training set without `val_fraction`.

    Augmentation as in DARTS: random crops of 8 to 100 % of the area, horizontal flips, and, unless
    `colour_jitter` is false, colour jitter. Evaluation: the shorter side is resized to 8/7 of
    `image_size` (256 for 224 pixels), followed by a centre crop.

    The papers report the accuracy on `val`. It is therefore the test set here, and no checkpoint
    is chosen by it. A folder `test` is ignored, since the classes of ImageNet's test set are
    secret.

    Args:
        root: Folder that contains `train` and `val`.
        image_size: Height and width in pixels to which images are resized.
        weight_fraction: In search mode, share of each class from which the weights learn, and
            with `single_level` α too.
        arch_fraction: In search mode, share of each class from which the architecture learns. It
            is also the validation set.
        val_fraction: In retrain mode, share of each class that is held out for choosing a
            checkpoint. With 0, as in the papers, there is no validation.
        colour_jitter: Change brightness, contrast, saturation and hue at random. DARTS and its
            successors do so in a retraining; PC-DARTS' search does not.
        kwargs: Arguments of `ImageFolder`.

    Raises:
        UsageError: An argument is out of range.
        DataError: `root/train` is missing or has no classes.
    """

    test_folders: ClassVar[Sequence[str]] = ("val",)  # ImageNet's `test` has no classes
    shares: ClassVar[dict[str, str]] = {**ImageFolder.shares, "weight half": "weight_fraction"}

    def __init__(
        self,
        root: str = "data",
        image_size: int = 224,
        weight_fraction: float = 0.1,
        arch_fraction: float = 0.025,
        val_fraction: float = 0.02,
        colour_jitter: bool = True,
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
                f"{1 - arch_fraction:g} (1 - arch_fraction)."
            )
        self.weight_fraction = weight_fraction
        self.colour_jitter = colour_jitter

    def split(self, labels: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the indices of the two parts of a search or of a retraining."""
        rest, second = super().split(labels)
        if self.mode == "retrain":
            return rest, second
        # with a single level `second` is empty, and `rest` is the whole training set
        share = self.weight_fraction * len(labels) / max(1, len(rest))
        _, chosen = split_indices(
            [labels[i] for i in rest], min(share, 1.0), mix_seed(self._seed, 1)
        )
        return [rest[i] for i in chosen], second

    def augmentation(self) -> list[nn.Module]:
        """Return the augmentation of DARTS, with or without its colour jitter."""
        return imagenet_transform(self.image_size, self.colour_jitter)
