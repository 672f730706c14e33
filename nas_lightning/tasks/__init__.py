"""Tasks: loss and metrics."""

from nas_lightning.layers.text import LanguageOutput, TextInput
from nas_lightning.tasks.base import Mode, Task
from nas_lightning.tasks.classification import Classification
from nas_lightning.tasks.language import LanguageModeling
from nas_lightning.tasks.multi_label import MultiLabel
from nas_lightning.tasks.reconstruction import Reconstruction
from nas_lightning.tasks.regression import Regression
from nas_lightning.tasks.segmentation import Segmentation

__all__ = [
    "Classification",
    "LanguageModeling",
    "LanguageOutput",
    "Mode",
    "MultiLabel",
    "Reconstruction",
    "Regression",
    "Segmentation",
    "Task",
    "TextInput",
]
