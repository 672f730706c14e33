"""Tasks: loss and metrics."""

from nas_lightning.layers.text import LanguageOutput, TextInput
from nas_lightning.tasks.base import Task
from nas_lightning.tasks.classification import Classification
from nas_lightning.tasks.language import LanguageModeling
from nas_lightning.tasks.reconstruction import Reconstruction

__all__ = [
    "Classification",
    "LanguageModeling",
    "LanguageOutput",
    "Reconstruction",
    "Task",
    "TextInput",
]
