"""The names of the package itself: declared as they are, and imported at their first use."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nas_lightning

STUB = Path(nas_lightning.__file__).with_suffix(".pyi")


def test_the_stub_declares_what_is_exported() -> None:
    declared = {
        alias.name: node.module
        for node in ast.parse(STUB.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name  # without `as`, a stub does not export a name
    }
    assert declared == nas_lightning.NAMES
    for name, module in nas_lightning.NAMES.items():
        assert getattr(nas_lightning, name) is getattr(sys.modules[module], name)
        assert name in dir(nas_lightning)


def test_a_name_that_is_not_exported() -> None:
    with pytest.raises(AttributeError, match=r"module 'nas_lightning' has no attribute 'Choise'"):
        nas_lightning.Choise  # type: ignore[attr-defined] # noqa: B018


def test_the_package_is_imported_without_torch() -> None:
    code = (
        "import sys, nas_lightning as n; print('torch' in sys.modules, n.Choice.__name__, "
        "'lightning' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False Choice False\n"
