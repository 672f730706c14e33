"""Accuracies of classification, against those of torchmetrics."""

import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy

from nas_lightning.tasks import Classification


@pytest.mark.parametrize(("classes", "names"), [(3, {"accuracy": 1}), (7, None), (10, None)])
def test_accuracies_are_those_of_torchmetrics(classes: int, names: dict[str, int] | None) -> None:
    """Over batches of different sizes."""
    task = Classification()
    found = task.metrics({"num_classes": classes})
    expected = {
        name: MulticlassAccuracy(classes, top_k=k, average="micro")
        for name, k in (names or {"accuracy": 1, "top5_accuracy": 5}).items()
    }
    generator = torch.Generator().manual_seed(classes)
    for size in (32, 32, 5):
        output = torch.randn(size, classes, generator=generator)
        labels = torch.randint(classes, (size,), generator=generator)
        task.update(found, output, (torch.zeros(size, 1, 8, 8), labels))
        for metric in expected.values():
            metric.update(output, labels)
    values = found.compute()
    assert set(values) == set(expected)
    for name, metric in expected.items():
        torch.testing.assert_close(values[name], metric.compute())
        assert 0 < values[name] < 1
