"""Multi-label classification: loss and metrics by their formulas, batches and predictions."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.tasks import MultiLabel

SPEC = {"in_channels": 3, "num_classes": 4, "image_size": 8}
Batch = tuple[Tensor, Tensor]


def made(count: int, seed: int = 0) -> tuple[Tensor, Batch]:
    """Logits in float64, and a batch whose last label occurs nowhere."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(count, 4, generator=generator) > 0.5).double()
    labels[:, 3] = 0
    output = (2 * labels - 1 + 1.5 * torch.randn(count, 4, generator=generator)).double()
    output[:, 3] = -3
    return output, (torch.zeros(count, 3, 8, 8), labels)


def test_the_loss_is_the_mean_of_two_sided_cross_entropies() -> None:
    output, batch = made(7)
    x, y = output.numpy(), batch[1].numpy()
    p = 1 / (1 + np.exp(-x))
    expected = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    assert float(MultiLabel().loss(output, batch)) == pytest.approx(expected, rel=1e-12)
    large = torch.full((1, 4), 1000.0)  # log(1 - p) would be infinite
    assert float(MultiLabel().loss(large, (batch[0], torch.zeros(1, 4)))) == 1000


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_the_metrics_are_ratios_of_counts_over_all_batches(threshold: float) -> None:
    task = MultiLabel(threshold)
    metrics: Any = task.metrics(SPEC)
    outputs, labels = [], []
    for seed, count in enumerate((8, 5, 1)):
        output, batch = made(count, seed)
        task.update(metrics, output, batch)
        outputs.append(output.numpy())
        labels.append(batch[1].numpy() > 0)
    x, truth = np.concatenate(outputs), np.concatenate(labels)
    found = x > np.log(threshold / (1 - threshold))
    hits = (found & truth).sum(0)
    wrong = (found ^ truth).sum(0)
    f1 = [2 * h / (2 * h + w) if h + w else 0.0 for h, w in zip(hits, wrong, strict=True)]
    assert f1[3] == 0
    values = {name: float(value) for name, value in metrics.compute().items()}
    exact = (found == truth).all(axis=1).mean()
    assert values == pytest.approx({"f1": np.mean(f1), "subset_accuracy": exact}, rel=1e-6)
    assert 0 < exact < 1


def test_logits_between_0_and_1_are_no_probabilities() -> None:
    task = MultiLabel()
    metrics: Any = task.metrics(SPEC)
    task.update(metrics, torch.full((2, 4), 0.25), (torch.zeros(2, 3, 8, 8), torch.ones(2, 4)))
    assert metrics.compute() == {"f1": 1, "subset_accuracy": 1}


def test_batches_and_predictions() -> None:
    task = MultiLabel()
    labels = torch.tensor([[0, 1, 1, 0]], dtype=torch.uint8)
    images, found = task.conform((torch.zeros(1, 3, 8, 8), labels), torch.float64)
    assert images.dtype == found.dtype == torch.float64
    (predicted,) = task.conform((torch.zeros(1, 3, 8, 8),), torch.float32)
    assert task.inputs((predicted,)) is predicted
    logits = torch.tensor([[0.0, np.log(3), -np.log(3), 0.0]])
    probabilities = task.predictions(logits)["probability"]
    expected = torch.tensor([[0.5, 0.75, 0.25, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(probabilities, expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(2, dtype=torch.long), r"labels must have the shape \(B, 4\), one 0 or 1"),
        (torch.zeros(2, 5), r"found float32 \(2, 5\)"),
        (torch.full((2, 4), 2), "labels must be 0 or 1"),
        (torch.full((2, 4), torch.nan), "labels must be 0 or 1"),
        (torch.full((2, 4), 0.5), "labels must be 0 or 1"),
    ],
)
def test_other_labels_are_refused(labels: Tensor, message: str) -> None:
    wrong = MultiLabel().mismatch((torch.zeros(2, 3, 8, 8), labels), SPEC, targets=True)
    assert wrong is not None
    assert re.search(message, wrong)


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.long, torch.float32])
def test_labels_of_every_type_are_taken(kind: torch.dtype) -> None:
    batch = (torch.zeros(2, 3, 8, 8), torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0]]).to(kind))
    assert MultiLabel().mismatch(batch, SPEC, targets=True) is None


def test_a_dense_output_is_refused() -> None:
    with pytest.raises(UsageError, match=r"output \(B, 4\), found float32 \(2, 4, 8, 8\): it "
                                         r"needs outputs for each image"):  # fmt: skip
        MultiLabel().loss(torch.zeros(2, 4, 8, 8), made(2)[1])
