"""Packages that the code imports are those that pyproject.toml declares."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = {"nas_lightning", "tests", "benchmarks", "docs"}


def normal(name: str) -> str:
    """Return a distribution's name in the form in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    """Return the distributions of a list of requirements."""
    found = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {normal(match[0]) for match in found if match}


def imports(source: str) -> Iterator[str]:
    """Yield the top packages of the absolute imports of a module, wherever they are in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


def imported(folder: str) -> dict[str, str]:
    """Return the distributions that a folder imports, each with a file that does."""
    owners = importlib.metadata.packages_distributions()
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for package in imports(path.read_text(encoding="utf-8")):
            if package not in sys.stdlib_module_names | OWN:
                owner = owners.get(package, [package])[0]
                found[normal(owner)] = str(path.relative_to(ROOT))
    return found


RUNTIME = names(PROJECT["dependencies"])
EXTRAS = {name: names(given) for name, given in PROJECT["optional-dependencies"].items()}


OPTIONAL = set().union(*(found for name, found in EXTRAS.items() if name != "dev"))


def test_what_the_package_imports_is_declared() -> None:
    missing = imported("nas_lightning").keys() - RUNTIME - OPTIONAL
    assert not missing, {name: imported("nas_lightning")[name] for name in missing}


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_what_the_tests_import_is_declared(folder: str) -> None:
    missing = imported(folder).keys() - RUNTIME - EXTRAS["dev"]
    assert not missing, {name: imported(folder)[name] for name in missing}


def test_what_is_declared_is_imported() -> None:
    through_torch = {"tensorboard"}  # torch.utils.tensorboard
    assert RUNTIME - imported("nas_lightning").keys() == through_torch


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-oldest.txt"])
def test_constraints_name_every_dependency(file: str) -> None:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pinned = names([line for line in lines if not line.startswith("#")])
    assert pinned >= RUNTIME | OPTIONAL


def test_the_oldest_constraints_are_the_lower_bounds() -> None:
    lines = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    pinned = {normal(name): version for name, version in pairs}
    extras = PROJECT["optional-dependencies"]
    bounds = [*PROJECT["dependencies"], *extras["slurm"], *extras["export"], *extras["hpo"]]
    for requirement in bounds:
        match = re.match(r"([\w.-]+)(?:\[.*\])?>=([\d.]+)", requirement)
        assert match, requirement
        version = pinned[normal(match[1])]
        assert f"{version}.".startswith(f"{match[2]}."), requirement
