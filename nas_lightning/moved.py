"""Import paths of earlier releases, which checkpoints, run directories and user code still use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

ROOT = "nas_lightning"

MODULES = {
    "checkpoints": ("training.checkpoints",),
    "genotype": ("architecture", "spaces", "spaces.nas_bench_201"),
    "genotype.types": ("architecture.genotype", "architecture.genotype_cells"),
    "optimizers": ("training.optimizers",),
    "recovery": ("training.recovery",),
    "reports.metrics": ("runs.metrics",),
    "reports.monitor": ("callbacks.search_monitor",),
    "retrain.base": ("architecture.network",),
    "retrain.cost": ("architecture.cost",),
    "retrain.nas_bench_201": ("spaces.nas_bench_201",),
    "retrain.network": ("spaces.darts",),
    "retrain.reconstruction": ("spaces.reconstruction",),
    "retrain.recurrent": ("spaces.recurrent",),
    "schedules": ("training.schedules",),
    "spaces.primitives": ("layers.primitives",),
    "spaces.types": ("architecture.space",),
    "stage": ("training.stage",),
    "supernet.nas_bench_201": ("spaces.nas_bench_201",),
    "supernet.network": ("supernet.base", "spaces.darts"),
    "supernet.reconstruction": ("spaces.reconstruction",),
    "supernet.recurrent": ("spaces.recurrent",),
}
"""Removed modules → the modules that define their names now."""

NAMES = {
    "retrain": ("architecture", "spaces"),
    "spaces": ("architecture",),
    "supernet": ("spaces",),
}
"""Packages that export fewer names than before → the packages that export the other names now."""


def find(places: Sequence[str], name: str) -> Any:
    """Return the object of that name from the first module that defines it.

    Args:
        places: Modules, by their path within this package.
        name: Name of the object.

    Raises:
        AttributeError: No module defines it.
    """
    for place in places:
        module = importlib.import_module(f"{ROOT}.{place}")
        if name in vars(module):
            return vars(module)[name]
    raise AttributeError(f"there is no {name!r} in {', '.join(f'{ROOT}.{p}' for p in places)}")


def missing(package: str, name: str) -> Any:
    """Return the object that `package.name` was, for the `__getattr__` of a package in `NAMES`.

    Raises:
        AttributeError: There never was such a name.
    """
    if name.startswith("__"):
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    try:
        return find(NAMES[package.removeprefix(f"{ROOT}.")], name)
    except AttributeError:
        raise AttributeError(f"module {package!r} has no attribute {name!r}") from None


class _MovedModule(ModuleType):
    """A removed module, whose names are looked up in the modules that define them now."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return find(MODULES.get(self.__name__.removeprefix(f"{ROOT}."), ()), name)


class MovedModules(MetaPathFinder, Loader):
    """Finds the modules of `MODULES` under their earlier import paths."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of `MODULES` or of a package around one, else `None`."""
        root, _, name = fullname.partition(".")
        if root != ROOT:
            return None
        package = any(module.startswith(f"{name}.") for module in MODULES)
        return ModuleSpec(fullname, self, is_package=package) if name in KNOWN else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return an empty module that looks its names up elsewhere."""
        return _MovedModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module is empty."""


KNOWN = {*MODULES, "reports"}
"""Everything that is found: the modules, and a removed package that contained some of them."""


def install() -> None:
    """Register the finder, as the last one, so that it slows no other import down."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
