"""Segmentation: loss and metrics by their formulas, batches, and pixels without a label."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_lightning.errors import DataError, UsageError
from nas_lightning.tasks import Segmentation

CLASSES, SIZE = 4, 6
SPEC = {"in_channels": 3, "num_classes": CLASSES, "image_size": SIZE}
Batch = tuple[Tensor, Tensor]


def made(count: int, seed: int = 0, ignore: int = 255) -> tuple[Tensor, Batch]:
    """Logits in float64, and masks of the first three classes; a quarter has no label."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(CLASSES - 1, (count, SIZE, SIZE), generator=generator)
    output = torch.randn(count, CLASSES, SIZE, SIZE, generator=generator).double()
    output.scatter_add_(1, masks[:, None], torch.ones(count, 1, SIZE, SIZE).double())
    output[:, 3] = -9
    masks[torch.rand(masks.shape, generator=generator) < 0.25] = ignore
    return output, (torch.zeros(count, 3, SIZE, SIZE), masks)


@pytest.mark.parametrize("ignore", [255, -1, 0])
def test_the_loss_is_the_mean_cross_entropy_of_pixels(ignore: int) -> None:
    output, batch = made(3, ignore=ignore)
    x, y = output.numpy(), batch[1].numpy()
    total = 0.0
    for image in range(3):
        for row in range(SIZE):
            for column in range(SIZE):
                if (label := y[image, row, column]) != ignore:
                    logits = x[image, :, row, column]
                    total -= np.log(np.exp(logits[label]) / np.exp(logits).sum())
    expected = total / y.size
    assert float(Segmentation(ignore).loss(output, batch)) == pytest.approx(expected, rel=1e-12)


def test_the_loss_of_parts_is_that_of_the_whole() -> None:
    """Also if one part has few labels, as a process of several may."""
    task = Segmentation()
    output, (images, masks) = made(4)
    masks[:2, 1:] = 255
    output.requires_grad_()
    whole = task.loss(output, (images, masks))
    halves = [task.loss(output[i : i + 2], (images[i : i + 2], masks[i : i + 2])) for i in (0, 2)]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole, rtol=1e-12, atol=0)
    one, other = (torch.autograd.grad(x, output)[0] for x in (whole, (halves[0] + halves[1]) / 2))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-16)
    assert not one.movedim(1, -1)[masks == 255].any()
    assert one.movedim(1, -1)[masks != 255].any(dim=1).all()


def test_a_batch_without_labels_has_the_loss_0() -> None:
    output, (images, masks) = made(2)
    assert float(Segmentation().loss(output, (images, torch.full_like(masks, 255)))) == 0


def test_the_metrics_are_ratios_of_counts_over_all_batches() -> None:
    """The fourth class occurs nowhere, and so does not count in the mean."""
    task = Segmentation()
    metrics: Any = task.metrics(SPEC)
    outputs, targets = [], []
    for seed, count in enumerate((3, 2, 1)):
        output, batch = made(count, seed)
        task.update(metrics, output, batch)
        outputs.append(output.numpy().argmax(1).ravel())
        targets.append(batch[1].numpy().ravel())
    found, truth = np.concatenate(outputs), np.concatenate(targets)
    found, truth = found[truth != 255], truth[truth != 255]
    ious = [((found == c) & (truth == c)).sum() / ((found == c) | (truth == c)).sum()
            for c in range(3)]  # fmt: skip
    expected = {"mean_iou": np.mean(ious), "pixel_accuracy": (found == truth).mean()}
    values = {name: float(value) for name, value in metrics.compute().items()}
    assert values == pytest.approx(expected, rel=1e-6)
    assert 0.2 < values["mean_iou"] < values["pixel_accuracy"] < 1


def test_batches_and_predictions() -> None:
    task = Segmentation()
    masks = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.uint8)
    batch = (torch.zeros(2, 3, SIZE, SIZE), masks)
    assert task.mismatch(batch, SPEC, targets=True) is None
    _, found = task.conform(batch, torch.float32)
    assert (found.shape, found.dtype) == ((2, SIZE, SIZE), torch.long)
    output, _ = made(2)
    assert torch.equal(task.predictions(output)["mask"], output.argmax(1))


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.zeros(2, 5, SIZE).long(), r"masks must have .* \(B, 6, 6\), found int64 \(2, 5, 6"),
        (torch.zeros(2).long(), "masks must have one class number for each pixel"),
        (torch.full((2, SIZE, SIZE), 4), "masks must be from 0 to 3 .*, or set ignore_index"),
        (torch.full((2, SIZE, SIZE), 254), "found 254 to 254"),
        (torch.zeros(2, SIZE, SIZE), "masks must be whole numbers"),
    ],
)
def test_other_masks_are_refused(masks: Tensor, message: str) -> None:
    wrong = Segmentation().mismatch((torch.zeros(2, 3, SIZE, SIZE), masks), SPEC, targets=True)
    assert wrong is not None
    assert re.search(message, wrong)


def test_wrong_outputs_and_later_wrong_labels_are_refused() -> None:
    output, (images, masks) = made(2)
    with pytest.raises(UsageError, match=r"\(B, classes, 6, 6\), found float32 \(2, 4\): .*"
                                         "set head to dense"):  # fmt: skip
        Segmentation().loss(torch.zeros(2, 4), (images, masks))
    with pytest.raises(UsageError, match=r"needs a network's output \(B, 4, 6, 6\), found"):
        Segmentation().loss(output[..., :3], (images, masks))
    with pytest.raises(DataError, match=r"masks .* 0 to 3 \(the network has 4 outputs\)"):
        Segmentation().loss(output, (images, torch.full_like(masks, 7)))
    with pytest.raises(UsageError, match="at least 2 classes, found 1"):
        Segmentation().metrics({**SPEC, "num_classes": 1})
