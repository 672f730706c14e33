"""No module of the package imports itself through others, not even for types."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import nas_lightning

ROOT = Path(nas_lightning.__file__).parent
NAME = ROOT.name


def modules() -> dict[str, ast.Module]:
    """Syntax trees of all modules of the package, by name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.Module) -> Iterator[tuple[str, str | None, str]]:
    """Imports anywhere in a module, as (module, name in it or `None`, local name)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, alias.asname or alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield str(node.module), alias.name, alias.asname or alias.name


def definer(module: str, name: str | None, trees: Mapping[str, ast.Module]) -> str:
    """The module that an import needs: of a name, the one that defines it.

    A name that the module imports itself is followed to its source. A name that cannot be followed
    counts as the module's own.
    """
    if name is None:
        return module
    if f"{module}.{name}" in trees:
        return f"{module}.{name}"
    for source, original, local in imports(trees[module]):
        if local == name and original is not None and source in trees:
            return definer(source, original, trees)
    return module


def graph(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """The modules that each module imports, without itself."""
    return {
        importer: {
            definer(module, name, trees)
            for module, name, _ in imports(tree)
            if module.partition(".")[0] == NAME and module in trees
        }
        - {importer}
        for importer, tree in trees.items()
    }


def reachable(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    """All modules that a module imports, directly or through others."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = edges.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def circles(edges: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The strongly connected components of more than one module."""
    reach = {module: reachable(module, edges) for module in edges}
    return {
        frozenset(other for other in reach[module] if module in reach[other])
        for module in edges
        if module in reach[module]
    }


def test_no_module_imports_itself_through_others() -> None:
    found = circles(graph(modules()))
    assert [sorted(circle) for circle in found] == []


def test_circles_are_found() -> None:
    """Also under TYPE_CHECKING, inside a function and through a package."""
    trees = {
        name: ast.parse(text)
        for name, text in {
            NAME: "",
            f"{NAME}.a": f"from {NAME}.pack import Thing",
            f"{NAME}.pack": f"from {NAME}.pack.b import Thing\nfrom {NAME}.pack.c import Other",
            f"{NAME}.pack.b": f"if TYPE_CHECKING:\n    from {NAME}.a import x\nclass Thing: ...",
            f"{NAME}.pack.c": f"def f():\n    import {NAME}.d\nclass Other: ...",
            f"{NAME}.d": f"from {NAME}.pack import Other\nfrom {NAME} import a",
        }.items()
    }
    a, b, c, d = (f"{NAME}.{name}" for name in ("a", "pack.b", "pack.c", "d"))
    assert circles(graph(trees)) == {frozenset({a, b}), frozenset({c, d})}


def test_the_imports_of_the_package_are_seen() -> None:
    edges = graph(modules())
    assert f"{NAME}.search.plan" in edges[f"{NAME}.strategies.partial_channels"]
    assert f"{NAME}.search.module" in edges[f"{NAME}.search"]
