"""The file formats of an exported network, by suffix: `.pt2`, `.onnx` and `.pt`."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from nas_lightning.deploy.forms import Form, Runner
from nas_lightning.deploy.program import (
    program,
    program_bytes,
    program_of_weights,
    quietly,
    weights_of,
)
from nas_lightning.errors import UsageError

KEY = "nas_lightning"
"""Name of the description in a file."""
TEXT = f"{KEY}.json"
"""Name of the description among the extra files of a `.pt2` file."""


class Writer(Protocol):
    """Returns the content of a file for a network, samples and a description."""

    def __call__(self, form: Form, samples: Tensor, description: Mapping[str, Any]) -> bytes:
        """Return the content."""


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        write: Returns the content of a file.
        open: Reads a content.
        packages: Packages that it needs.
    """

    write: Writer
    open: Any
    packages: tuple[str, ...] = ()


def write_pt2(form: Form, samples: Tensor, description: Mapping[str, Any]) -> bytes:
    """Return a program with its weights."""
    return program_bytes(program(form, samples), **{TEXT: json.dumps(description)})


def open_pt2(content: bytes) -> Runner:
    """Read a program with its weights."""
    with quietly():
        module = torch.export.load(io.BytesIO(content)).module()
    return lambda inputs: _listed(module(*inputs))


def write_pt(form: Form, samples: Tensor, description: Mapping[str, Any]) -> bytes:
    """Return a dictionary of plain data: the weights, and a program that takes them as argument."""
    code = program_bytes(program_of_weights(form, samples))
    found = {
        KEY: dict(description),
        "state_dict": weights_of(form),
        "program": torch.frombuffer(bytearray(code), dtype=torch.uint8),
    }
    content = io.BytesIO()
    torch.save(found, content)
    return content.getvalue()


def open_pt(content: bytes) -> Runner:
    """Read a dictionary of weights and a program."""
    found = torch.load(io.BytesIO(content), weights_only=True)
    with quietly():
        module = torch.export.load(io.BytesIO(found["program"].numpy().tobytes())).module()
    return lambda inputs: _listed(module(found["state_dict"], tuple(inputs)))


def write_onnx(form: Form, samples: Tensor, description: Mapping[str, Any]) -> bytes:
    """Return a model of ONNX."""
    with quietly():
        found = torch.onnx.export(
            program(form, samples),
            dynamo=True,
            input_names=list(form.inputs),
            output_names=list(form.outputs),
            verbose=False,
        )
        assert found is not None  # with dynamo
        for node in found.model.graph.all_nodes():
            node.metadata_props.clear()  # it holds paths of this machine
        found.model.metadata_props[KEY] = json.dumps(description)
        content: bytes = found.model_proto.SerializeToString()
    return content


def open_onnx(content: bytes) -> Runner:
    """Read a model of ONNX."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        given = dict(zip(names, (x.numpy() for x in inputs), strict=True))
        return [torch.from_numpy(x) for x in session.run(None, given)]

    return run


def _listed(outputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


FORMATS: Mapping[str, Format] = {
    ".pt2": Format(write_pt2, open_pt2),
    ".onnx": Format(write_onnx, open_onnx, ("onnx", "onnxscript", "onnxruntime")),
    ".pt": Format(write_pt, open_pt),
}
"""The formats by suffix."""


def format_of(path: Path) -> Format:
    """Return the format of a file by its suffix.

    Raises:
        UsageError: There is no such format, or a package that it needs is not installed.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise UsageError(f"{path} has no known suffix: choose {', '.join(FORMATS)}")
    missing = [name for name in found.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{path.suffix} files need {', '.join(missing)}: pip install nas-lightning[export]"
        )
    return found
