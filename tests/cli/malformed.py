"""Malformed inputs over all verbs and files: each is one case of the table in test_malformed.py."""

from __future__ import annotations

import copy
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Case(NamedTuple):
    """A command line, the files that it finds, and its exit code.

    Attributes:
        line: The words after `nas`.
        files: Content of files by path, in place of what is there; `None` means a folder.
        code: The exit code.
        variables: Environment variables.
    """

    line: tuple[str, ...]
    files: Mapping[str, bytes | None] = NOTHING
    code: int = 1
    variables: Mapping[str, str] = NOTHING


def words(line: str, *more: str) -> tuple[str, ...]:
    """The words of a line, and more words as they are."""
    return (*line.split(), *more)


def changed(document: Any, path: str, value: Any) -> Any:
    """A document with another value at a path such as `starts.0.outcome`; `...` deletes it."""
    found = copy.deepcopy(document)
    *way, last = path.split(".")
    place = found
    for name in way:
        place = place[int(name) if isinstance(place, list) else name]
    key = int(last) if isinstance(place, list) else last
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return found


def each(path: str, *values: Any) -> list[tuple[str, Any]]:
    """A path, once with each value."""
    return [(path, value) for value in values]


def dump(document: Any) -> bytes:
    """JSON in UTF-8."""
    return json.dumps(document).encode()


def checkpoint(content: Any) -> bytes:
    """A checkpoint."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


NO_JSON: dict[str, bytes | None] = {
    "empty": b"",
    "blank": b" \n",
    "not UTF-8": b"\xff\xfa\x00\x80",
    "NUL": b"\0\0\0",
    "zip": b"PK\x03\x04 cut",
    "half": b'{"format": "nas-ligh',
    "list": b"[1, 2]",
    "number": b"3",
    "null": b"null",
    "deep": b"[" * 5000,
    "digits": b'{"format": ' + b"9" * 5000 + b"}",
    "twice": b'{"format": 1, "format": 2}',
    "folder": None,
}
"""Contents that no reader of a JSON file takes."""

BOMB = "a: &a [x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghi")
)
NO_YAML: dict[str, bytes | None] = {
    "empty": b"",
    "not UTF-8": b"\xff\x00",
    "NUL": b"a: \0",
    "folder": None,
    "bomb": BOMB.encode(),
    "self": b"a: &a [*a]",
    "deep": b"a: " + b"[" * 1200,
    "digits": b"trainer: {max_epochs: " + b"9" * 5000 + b"}",
    "twice": b"trainer: {max_epochs: 1}\nmodel: {}\ntrainer: {accelerator: cpu}\n",
    "tag": b"a: !!python/name:os.system",
    "key": b"1: 2",
    "two": b"a: 1\n---\nb: 2\n",
    "tab": b"trainer:\n\tmax_epochs: 1",
    "list": b"- a",
    "large": b"# " + b"x" * 2**20,
}
"""Contents that are no configuration."""

NB201 = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
LONG = "y" * 5000
HUGE = 10**400


def genotypes(document: Any) -> Iterator[Case]:
    """Genotype files."""
    for number, content in enumerate(NO_JSON.values()):
        code = 2 if content is None else 1  # a folder is taken for a run directory
        line = (words("draw x -o p.svg"), words("info x"))[number % 2 and content is not None]
        yield Case(line, {"x": content}, code)
    wrong: list[tuple[str, Any]] = [
        *each("format", ..., None, 3, "other", LONG),
        *each("version", ..., 0, 9, "1", True, 1.0, HUGE),
        *each("space", ..., None, 3, "darts", [], {}),
        *each("space.class_path", ..., 3, "", "x", "os.system", "no.such", LONG),
        *each("space.init_args", 3, [], {"x": 1}),
        *each("space.init_args.nodes", None, "4", 0, -1, 10**9, HUGE, []),
        *each("space.init_args.primitives", None, 3, [], ["x", "y"], [[]], LONG),
        *each("cells", ..., None, [], {}, {"normal": {}}),
        *each("cells.normal.nodes", ..., None, {}, [], [[]] * 101),
        *each("cells.normal.nodes.0", None, 3, [3], [[]]),
        *each("cells.normal.nodes.0.0.primitive", ..., None, [], "none", LONG),
        *each("cells.normal.nodes.0.0.source", ..., None, -1, 2, True, HUGE),
        *each("cells.normal.concat", ..., None, [], [2, 2], [0], [99], ["2"]),
        *(pair for key in ("provenance", "mixing") for pair in each(key, None, 3, [])),
    ]
    for number, (path, value) in enumerate(wrong):
        line = (words("info x"), words("draw x -o p.svg"))[number % 2]
        yield Case(line, {"x": dump(changed(document, path, value))})
    edges = document["cells"]["normal"]["nodes"][0] * 200
    yield Case(words("info x"), {"x": dump(changed(document, "cells.normal.nodes.0", edges))})
    for text in ("Genotype(normal=3)", "Genotype(", "Genotype(a=open('z', 'w'))", "|x~0|", "text"):
        yield Case(words("info x"), {"x": text.encode()})


def checkpoints(content: dict[str, Any]) -> Iterator[Case]:
    """Checkpoints of a search."""
    line = words("derive x.ckpt")
    for number in NO_JSON.values():
        yield Case(line, {"x.ckpt": number}, 2 if number is None else 1)
    others = [[], 3, None, {}, {"nas_lightning": 3}, {"nas_lightning": {}}, torch.zeros(2)]
    wrong: list[tuple[str, Any]] = [
        *each("nas_lightning.kind", ..., 3, "retrain"),
        *each("nas_lightning.space", ..., None),
        *each("nas_lightning.data", 3, []),
        *each("state_dict", ..., None, [], {}, {"x": 3}, {1: torch.zeros(1)}),
        *each("epoch", "1", -1, None, True),
        *each("loops", [], {"fit_loop": {}}, {"fit_loop": 3}),
        *each("loops.fit_loop.epoch_progress", ..., 3, {"total": 3}),
        *each("loops.fit_loop.epoch_progress.current.ready", "x", -1),
        *each("optimizer_states", 3, {}, [3], [{}], [{"state": {}}]),
        *each("optimizer_states.0.param_groups", 3, [3], [{}], [{"params": 3}]),
        *each("lr_schedulers", 3, [3]),
        *each("callbacks", 3, {"x": 3}),
        *each("stage_state", 3, {}, {"seed": "x", "streams": None}),
        *each("pytorch-lightning_version", 3, "x"),
        *each("hyper_parameters", 3, []),
        *each("hyper_parameters._class_path", 3, "", "os.system"),
        *each("hyper_parameters._instantiator", 3, "os.system"),
        *each("hyper_parameters.supernet", 3, {}, {"class_path": "x"}),
        *each("hyper_parameters.supernet.init_args.channels", "x", None, -4),
        *each("hyper_parameters.strategies", 3, [3], ["os.system"]),
        *each("hyper_parameters.data_spec", 3, {}),
        *each("hyper_parameters.weight_optimizer", 3, {"class_path": "x"}),
    ]
    damaged = [changed(content, path, value) for path, value in wrong]
    tensor = next(iter(content["state_dict"]))
    damaged += [content | {"state_dict": content["state_dict"] | {tensor: torch.zeros(7)}}]
    for made in [*others, *damaged]:
        yield Case(line, {"x.ckpt": checkpoint(made)})


def runs(record: Any) -> Iterator[Case]:
    """Records and metrics of a run."""
    line, path = words("info runs/search"), "runs/search/run.json"
    for content in NO_JSON.values():
        yield Case(line, {path: content})
    wrong: list[tuple[str, Any]] = [
        *(
            pair
            for key in ("format", "version", "kind", "starts")
            for pair in each(key, ..., "3", {})
        ),
        *each("starts", [], [3], [{}]),
        *(
            pair
            for key in ("outcome", "process", "host")
            for pair in each(f"starts.0.{key}", ..., [])
        ),
        *each("starts.0.seconds", "1", None, [], HUGE),
        *each("starts.0.environment", ..., 3, {}),
        *each("starts.0.from", 3, {}, {"epoch": "1", "batch": 0}),
        ("starts.0.first_step", "x"),
        ("starts.0.csv", 3),
    ]
    for key, value in wrong:
        if (key, value) != ("kind", "3"):  # a name
            yield Case(line, {path: dump(changed(record, key, value))})
    table = f"runs/search/csv/{record['starts'][0]['csv']}/metrics.csv"
    large = b'step,a\n1,"' + b"x" * 200_000 + b'"\n'
    texts = (b"x\n1\n", b"step,a\n1,x\n", b"step,a\n1\n", b"step,a\n1,2,3\n", b"\xff", b"a\0\n")
    for text in (*texts, b"a,step\n1,\n", b'step,"a\n1,2', large):
        yield Case(line, {table: text})
