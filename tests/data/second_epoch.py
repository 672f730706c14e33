"""An image that a run reads late, for tests of images that cannot be read."""

from pathlib import Path
from typing import Any

from nas_lightning.data import ImageFolder


def met_in_the_second_epoch() -> Path:
    """An image of no batch of the first epoch, but of a batch after the first of the second."""
    data = ImageFolder("data", 8, mode="retrain", batch_size=4, val_fraction=0.25, seed=0)
    data.setup("fit")
    sampler: Any = data.train_dataloader().sampler
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        orders.append([index for _, index in sampler])
    left_out, middle = orders[0][len(orders[0]) // 4 * 4 :], orders[1][4:16]
    images: Any = data._sets["train"]
    path: Path = next(images.files[i] for i in left_out if i in middle)
    return path
