"""A task of your own: classes in an order, of which a near one is better than a far one."""

from collections.abc import Mapping
from typing import Any, ClassVar, final

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, Metric, MetricCollection

from nas_lightning.tasks import Mode, Task


@final
class Ordinal(Task):
    """Cross-entropy; the metric `distance` is the mean number of classes that predictions miss."""

    directions: ClassVar[Mapping[str, Mode]] = {"distance": "min"}

    def loss(self, output: Tensor, batch: Any) -> Tensor:
        return F.cross_entropy(output, batch[1])

    def metrics(self, data_spec: Mapping[str, Any]) -> dict[str, Metric]:
        return {"distance": MeanAbsoluteError()}

    def update(self, metrics: MetricCollection, output: Tensor, batch: Any) -> None:
        metrics.update(output.argmax(dim=1), batch[1])

    def predictions(self, output: Tensor) -> dict[str, Tensor]:
        return {"class": output.argmax(dim=1)}
