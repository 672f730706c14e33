"""A network as a program of PyTorch's operations, which no code of this package belongs to."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from nas_lightning.deploy.forms import Form
from nas_lightning.errors import UsageError
from nas_lightning.text import reason


def weights_of(form: Form) -> dict[str, Tensor]:
    """Return the weights and buffers of a network by their names in the network itself."""
    return dict(form.network.network.body.state_dict())


def program(form: Form, samples: Tensor) -> ExportedProgram:
    """Trace a network.

    Args:
        form: The network.
        samples: Samples, two of which it is traced with.

    Raises:
        UsageError: It does what `torch.export` cannot trace.
    """
    return _traced(form, form.examples(samples), form.dimensions())


def program_of_weights(form: Form, samples: Tensor) -> ExportedProgram:
    """Trace a network as a function of its state dict and its inputs.

    Args:
        form: The network.
        samples: Samples, two of which it is traced with.

    Raises:
        UsageError: It does what `torch.export` cannot trace.
    """
    weights = weights_of(form)
    dimensions = (dict.fromkeys(weights), form.dimensions())
    return _traced(_Function(form), (weights, form.examples(samples)), dimensions)


class _Function(nn.Module):
    """A network without weights of its own."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._form = [form]  # in a list, so that its weights do not become this module's
        body = form.network.network.body
        self._path = next(path for path, module in form.named_modules() if module is body)

    def forward(self, weights: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Any:
        """Return the outputs."""
        own = {f"{self._path}.{name}": value for name, value in weights.items()}
        return torch.func.functional_call(self._form[0], own, inputs)


def _traced(module: nn.Module, arguments: Any, dimensions: Any) -> ExportedProgram:
    try:
        with quietly():
            found = torch.export.export(module.eval(), arguments, dynamic_shapes=dimensions)
    except Exception as error:  # an operation of others may do anything
        raise UsageError(
            f"torch.export cannot trace the network: {reason(error).partition('  ')[0]:.300}"
        ) from error
    for node in found.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds paths of this machine
    found.example_inputs = None  # samples of the user, and of a function of weights, the weights
    return found


def program_bytes(found: ExportedProgram, **files: str) -> bytes:
    """Return the content of a `.pt2` file.

    Args:
        found: The program.
        files: Texts that the file also holds, by name.
    """
    content = io.BytesIO()
    with quietly():
        torch.export.save(found, content, extra_files=files)
    return content.getvalue()


@contextmanager
def quietly() -> Iterator[None]:
    """Ignore the warnings of PyTorch and of packages that it calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
