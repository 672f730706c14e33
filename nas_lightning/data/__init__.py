"""Data sets for search and retraining, with exact resume in the middle of an epoch."""

from nas_lightning.data.base import ImageData
from nas_lightning.data.cifar import CIFAR10, CIFAR100
from nas_lightning.data.dataset import AugmentedDataset, LabelledImages, TensorImages
from nas_lightning.data.digits import Digits
from nas_lightning.data.folder import ImageFolder
from nas_lightning.data.halves import HalvedData
from nas_lightning.data.imagenet import ImageNet
from nas_lightning.data.in_memory import InMemoryImages
from nas_lightning.data.inverse import InverseData, Measurements
from nas_lightning.data.masks import ImageMasks
from nas_lightning.data.photographs import Photographs
from nas_lightning.data.preparation import Preparation
from nas_lightning.data.preprocessing import Preprocessing
from nas_lightning.data.sampler import EpochSampler
from nas_lightning.data.signals import Signals
from nas_lightning.data.split import split_indices
from nas_lightning.data.synthetic import Synthetic
from nas_lightning.data.synthetic_text import SyntheticText
from nas_lightning.data.table import ImageLabels, ImageValues
from nas_lightning.data.targeted import TargetedImages
from nas_lightning.data.text import TextData
from nas_lightning.data.tokens import Corpus, TokenData
from nas_lightning.data.transforms import Cutout, ToRGB

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "AugmentedDataset",
    "Corpus",
    "Cutout",
    "Digits",
    "EpochSampler",
    "HalvedData",
    "ImageData",
    "ImageFolder",
    "ImageLabels",
    "ImageMasks",
    "ImageNet",
    "ImageValues",
    "InMemoryImages",
    "InverseData",
    "LabelledImages",
    "Measurements",
    "Photographs",
    "Preparation",
    "Preprocessing",
    "Signals",
    "Synthetic",
    "SyntheticText",
    "TargetedImages",
    "TensorImages",
    "TextData",
    "ToRGB",
    "TokenData",
    "split_indices",
]
