"""One-line messages for wrong keys and values: the place, the problem, and the nearest name.

Messages of jsonargparse nest: a class's arguments are parsed by a parser of their own, and the
outer message contains its message and one complaint for every other type that was tried. Each
level is reduced to `where: what` here, so that the next level only adds its own key in front.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import re
import typing
from abc import ABC
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nas_lightning.errors import UsageError
from nas_lightning.imports import import_object

TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "dict": "a mapping",
}
REQUIRED = "is required"
PYTHON = re.compile(
    r"argument of type '|object (is|has|cannot|does) |NoneType|not (iterable|subscriptable|call)"
    r"|unexpected keyword|indices must be|\(\) (takes|got|missing) "
)
"""Messages of Python itself, for a value of a wrong kind."""
INNER = re.compile(r"([a-z_][\w.\[\]]*): (.+)")  # the message of an inner parser
MANY = 25


def tidy(message: str, types: Mapping[str, Any]) -> str:
    """Reduce a parser's message to `where: what`.

    Args:
        message: The message of jsonargparse.
        types: All keys of the parser, with their types.
    """
    text = message.strip()
    key = ""
    if found := re.match(r'Parser key "([^"]+)":\s*(.*)', text, re.DOTALL):
        key, text = found.groups()
    if found := re.match(r"argument .*?\(?run_dir\)? --> ([\w.]+):", text):
        return f"{found[1]} follows the run directory: set --run_dir"
    text, _, shown = text.partition("Given value type:")
    given = shown.partition("Given value: ")[2]
    if reason := _unimportable(key, text, _value(given)):
        return reason
    reasons = _reasons(text)
    if inner := next(filter(None, map(INNER.fullmatch, reasons)), None):
        where, what = inner.groups()
        return f"{_join(key, _locate(where, _value(given)))}: {what}"
    expected = [kind for reason in reasons if (kind := _expected(reason))]
    if expected:
        if "a number" in expected:  # whole ones are numbers too
            expected = [kind for kind in expected if kind != "a whole number"]
        got = re.search(r"\. Got value: (.*)", reasons[0])
        value = _value(got[1] if got else given)
        return f"{key}: expected {' or '.join(dict.fromkeys(expected))}, found {value!r:.60}"
    return _other(key, reasons[0], types)


def nearest(wrong: str, known: Iterable[str]) -> str:
    """Return a hint at the known name that is nearest to a wrong one; empty if none is near."""
    last = {name.rsplit(".", 1)[-1]: name for name in known}
    close = difflib.get_close_matches(wrong, last.values(), 1, 0.75)
    short = difflib.get_close_matches(wrong.rsplit(".", 1)[-1], last, 1)
    found = close[0] if close else last[short[0]] if short else None
    return f"did you mean {found!r}?" if found else ""


def _reasons(text: str) -> list[str]:
    """Return the reason for each type that was tried, without those that do not help."""
    if "Union subtypes" not in text:
        return [" ".join(text.split())]
    listed = re.findall(r"^ {4}- (.+)$", text, re.MULTILINE)
    dull = ("Expected a <class 'NoneType'>", "Not a valid subclass of")
    return [reason for reason in listed if not reason.startswith(dull)] or listed[:1]


def _unimportable(key: str, text: str, given: Any) -> str | None:
    """Return where and why a class that the given value names cannot be imported, if that is so."""
    named = re.findall(r"given class_path '([\w.]+)'", text)
    listed = {path: way for way, path in _class_paths(given)}
    for path in dict.fromkeys((*named, *listed)):
        try:
            import_object(path)
        except UsageError as error:
            found = next((way for way, item in _texts(given) if item == path), "")
            way = listed.get(path, found)
            return f"{_join(key, way)}: {error}"
    return None


def _class_paths(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the import paths in a value that stand under `class_path`, after their own keys."""
    for way, text in _texts(value):
        where, _, last = way.rpartition(".")
        if last == "class_path" and re.fullmatch(r"[^\W\d]\w*(\.\w+)+", text):
            yield where, text


def _texts(value: Any, way: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts in a value after their keys."""
    if isinstance(value, str):
        yield way, value
    elif isinstance(value, dict):
        for name, item in value.items():
            inner = way if name == "init_args" else _join(way, str(name).rstrip("+"))
            yield from _texts(item, inner)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{way}[{index}]")


def _expected(reason: str) -> str | None:
    """Return `a whole number` for `Expected a <class 'int'>`, and the choices of a literal."""
    if found := re.match(r"Expected a <class '([\w.]+)'>", reason):
        return TYPES.get(found[1], found[1])
    if found := re.match(r"Expected a typing.Literal\[(.*?)\]", reason):
        return found[1].replace(", ", " or ")
    return None


def _other(key: str, reason: str, types: Mapping[str, Any]) -> str:
    """Reduce a message about anything but a wrong type."""
    if found := re.search(r"(?:[Oo]ption|key) '([^']+)' is not accepted$", reason) or re.search(
        r"does not accept option '([^']+)'", reason
    ):
        return f"{found[1]}: unknown key; {_choices(found[1], types)}"
    if found := re.match(r"unrecognized arguments: (\S+)", reason):
        option = found[1].partition("=")[0]
        hint = _choices(option.lstrip("-"), types) if option.startswith("-") else ""
        return f"unknown argument {option}; {hint}".rstrip("; ")
    if found := re.search(r"arguments are required: (.*)", reason):
        first = found[1].partition(",")[0]
        return f"{_join(key, first.rpartition('.')[2])}: {REQUIRED}"
    if found := re.match(r"Expected a dot import path string: (.*)", reason):
        return (
            f"{key}: no class {found[1]!r} here; {_choices(found[1], class_names(types.get(key)))}"
        )
    if reason.startswith("Not a valid subclass") or "is abstract" in reason:
        names = ", ".join(class_names(types.get(key))[:MANY])
        return f"{key}: name its class by class_path, one of {names}"
    if found := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", reason):
        return f"{key}: {found[0]}; {nearest(found[2], dir(importlib.import_module(found[1])))}"
    if PYTHON.search(reason) or reason.endswith(":"):
        return f"{key or 'a value'}: of the wrong kind; name a class by class_path and its " + (
            "arguments by init_args"
        )
    text = re.sub(r"\. Got value: (.{60}).+", r", found \1…", reason)
    return _join(key, "") + f": {text}" if key else text


def _choices(wrong: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest known name, or all names if there are few."""
    names = sorted(name for name in known if name.rpartition(".")[2] not in ("help", "config"))
    if not names:
        return "no key is known here (is class_path missing?)"
    if hint := nearest(wrong, names):
        return hint
    if len(names) > MANY:
        return "--help lists all"
    return f"known: {', '.join(names)}"


def class_names(kind: Any) -> list[str]:
    """Return the names of this package's concrete classes that fit a type."""
    if inner := typing.get_args(kind):
        return sorted({name for part in inner for name in class_names(part)})
    if not inspect.isclass(kind) or kind in (int, float, bool, str, type(None)):
        return []
    classes = [cls for cls in _subclasses(kind) if cls.__module__.startswith("nas_lightning.")]
    made = (c for c in classes if not inspect.isabstract(c) and ABC not in c.__bases__)
    return sorted({cls.__name__ for cls in made})


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    cls: type[Any]
    for cls in kind.__subclasses__():
        yield cls
        yield from _subclasses(cls)


def _value(text: str) -> Any:
    """Return the value of a literal, or the text itself if it is none."""
    if found := re.fullmatch(r"NestedArg\(key='([^']*)', val=(.*)\)", text):
        value = _value(found[2])
        for part in reversed(found[1].split(".")):
            value = {part: value}
        return value
    try:
        return ast.literal_eval(_Namespaces().visit(ast.parse(text, mode="eval")))
    except (ValueError, SyntaxError):
        return text


class _Namespaces(ast.NodeTransformer):
    """Turn `Namespace(a=1)` into a dictionary."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        keys: list[ast.expr | None] = [ast.Constant(item.arg) for item in node.keywords]
        return ast.Dict(keys, [item.value for item in node.keywords])


def _locate(where: str, given: Any) -> str:
    """Return the key with its path inside the given value, if there is only one such path."""
    first = re.split(r"[.\[]", where)[0]
    ways = list(_ways(first, given))
    return where if len(ways) != 1 else _join(ways[0], where[len(first) :].removeprefix("."))


def _ways(key: str, value: Any, way: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            here = way if name == "init_args" else _join(way, str(name))
            if name == key:
                yield here
            else:
                yield from _ways(key, item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _ways(key, item, f"{way}[{index}]")


def _join(first: str, second: str) -> str:
    if not first or not second or second.startswith("["):
        return first + second
    return f"{first}.{second}"
