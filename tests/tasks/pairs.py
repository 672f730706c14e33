"""Small data and retrainings for the tasks that are not classification."""

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor

from nas_lightning.architecture import random_genotype
from nas_lightning.data import HalvedData, Measurements
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import DartsNetwork, get_space
from nas_lightning.tasks import MultiLabel, Regression, Segmentation, Task

SPEC: dict[str, Any] = {"in_channels": 3, "num_classes": 3, "image_size": 8}
TASKS: dict[str, Callable[[], Task]] = {
    "multi-label": MultiLabel,
    "regression": lambda: Regression(center=2000.0, scale=[5.0, 4.0, 6.0]),
    "segmentation": Segmentation,
}


def targets(kind: str, images: Tensor) -> Tensor:
    """Targets that images (B, 3, H, W) determine."""
    if kind == "multi-label":
        return (images.mean((2, 3)) > 0).to(torch.uint8)  # (B, 3)
    if kind == "regression":
        return 2000 + 40 * images.mean((2, 3))  # (B, 3)
    masks = images.argmax(dim=1)  # (B, H, W)
    masks[:, :2, :3] = 255
    return masks


class Pairs(HalvedData[Measurements]):
    """Random images, and the targets of a task."""

    def __init__(self, kind: str = "segmentation", count: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.count = count

    @property
    def data_spec(self) -> dict[str, Any]:
        return SPEC

    def load(self, part: str) -> Measurements:
        generator = torch.Generator().manual_seed(len(part))
        images = torch.randn(self.count, 3, 8, 8, generator=generator)
        return Measurements(images, targets(self.kind, images))

    def labels(self, loaded: Measurements) -> list[int]:
        return [0] * len(loaded)

    def dataset(self, loaded: Measurements, *, training: bool) -> Measurements:
        return loaded


def retraining(kind: str, task: Task | None = None, **kwargs: Any) -> RetrainModule:
    """A small network of a random cell, the same each time."""
    lightning.seed_everything(0, verbose=False)
    head: Any = "dense" if kind == "segmentation" else "classification"
    network = DartsNetwork(4, 3, head=head)
    genotype = random_genotype(get_space("darts"), seed=0).to_dict()
    settings = {"auxiliary_weight": 0.0, "drop_path": 0.0, **kwargs}
    return RetrainModule(SPEC, genotype, network, task or TASKS[kind](), **settings)
