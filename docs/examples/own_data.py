"""A custom data module: striped images, generated in memory."""

from typing import ClassVar, Literal

import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, random_split

from nas_lightning.data import Preprocessing

Sample = tuple[Tensor, int]


class Stripes(Dataset[Sample]):
    """Horizontal (class 0) and vertical (class 1) stripes under noise, (1, 8, 8) each."""

    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        rows = (torch.arange(8) % 2).float().expand(8, 8)
        self.labels = [index % 2 for index in range(size)]
        patterns = torch.stack([rows if label else rows.T for label in self.labels])
        noise = torch.randn(size, 8, 8, generator=generator)
        self.images = (patterns + 0.3 * noise)[:, None]  # (N, 1, 8, 8)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        return self.images[index], self.labels[index]


class StripesData(LightningDataModule):
    """Two halves for a search, or a training and a validation part for a retraining."""

    data_spec: ClassVar = {"in_channels": 1, "num_classes": 2, "image_size": 8}
    class_names = ("horizontal", "vertical")
    # how an image file becomes an input like those above: grey, from 0 to 1
    preprocessing = Preprocessing(size=8, resize=8, order="L", mean=[0.0], std=[1.0])

    def __init__(
        self, mode: Literal["search", "retrain"] = "search", size: int = 128, batch_size: int = 16
    ) -> None:
        super().__init__()
        self.mode = mode
        self.size = size
        self.batch_size = batch_size

    def setup(self, stage: str) -> None:
        if stage in ("fit", "validate"):
            share = 0.5 if self.mode == "search" else 0.1
            self.train_part, self.val_part = random_split(
                Stripes(self.size, seed=0), [1 - share, share], torch.Generator().manual_seed(0)
            )
        if stage in ("test", "predict"):
            self.test_part = Stripes(self.size // 4, seed=1)

    def train_dataloader(self) -> DataLoader[Sample] | CombinedLoader:
        weights = self.loader(self.train_part, training=True)
        if self.mode == "retrain":
            return weights
        arch = self.loader(self.val_part, training=True)
        return CombinedLoader({"train": weights, "val": arch}, mode="min_size")

    def val_dataloader(self) -> DataLoader[Sample]:
        return self.loader(self.val_part)

    def test_dataloader(self) -> DataLoader[Sample]:
        return self.loader(self.test_part)

    predict_dataloader = test_dataloader

    def loader(self, part: Dataset[Sample], training: bool = False) -> DataLoader[Sample]:
        return DataLoader(part, self.batch_size, shuffle=training, drop_last=training)
