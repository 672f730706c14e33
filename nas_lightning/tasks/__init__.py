"""Tasks: loss and metrics."""

from nas_lightning.tasks.base import Task
from nas_lightning.tasks.classification import Classification

__all__ = ["Classification", "Task"]
