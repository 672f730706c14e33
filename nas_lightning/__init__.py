"""Differentiable neural architecture search on PyTorch Lightning."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("nas-lightning")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0.0.0"

from nas_lightning.moved import install

install()

NAMES = {
    "Run": "nas_lightning.runs.session",
    "Choice": "nas_lightning.layers.choice",
    "fit": "nas_lightning.runs.session",
    "freeze": "nas_lightning.spaces.choice",
    "load": "nas_lightning.deploy.trained",
    "register_primitive": "nas_lightning.layers.own",
    "register_space": "nas_lightning.spaces.registry",
}
"""Names that this package exports → their modules, which are imported at the first use.

Importing PyTorch takes seconds, which `nas --help` should not. `__init__.pyi` declares the types.
"""


def __getattr__(name: str) -> object:
    """Import an exported name.

    Raises:
        AttributeError: The package exports no such name.
    """
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(NAMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return all names, also those not yet imported."""
    return sorted({*globals(), *NAMES})
