"""Differentiable neural architecture search on PyTorch Lightning."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("nas-lightning")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0.0.0"

from nas_lightning.moved import install

install()
