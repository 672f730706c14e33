"""The genotype of a checkpoint, for runs whose genotype file was moved, deleted or rewritten."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from nas_lightning.architecture import Genotype
from nas_lightning.errors import NASError
from nas_lightning.runs.directory import CONFIG
from nas_lightning.spaces import load_genotype
from nas_lightning.text_files import read_text
from nas_lightning.yaml_text import parse_mapping

KEY = "genotype"
"""The argument that names a genotype: of a retraining, or of a strategy of a search."""


@contextmanager
def kept_genotype(config: Namespace, checkpoint: Mapping[str, Any] | None) -> Iterator[None]:
    """Let a configuration have the genotypes of its checkpoint, if files are gone or have changed.

    After the context it names the files again.

    Args:
        config: Configuration of a run.
        checkpoint: Content of the checkpoint that it loads, if any.
    """
    with ExitStack() as restored:
        if checkpoint is not None:
            recorded = _recorded(Path(config.run_dir))
            kept = dict(_arguments(checkpoint.get("hyper_parameters")))
            for name, arguments in _arguments(config.get("model.init_args")):
                source = arguments.get(KEY)
                before = recorded.get(name, {}).get(KEY)
                content = kept.get(name, {}).get(KEY)
                arguments[KEY] = genotype_source(f"{name}.{KEY}", source, content, before)
                restored.callback(arguments.__setitem__, KEY, source)
        yield


def genotype_source(name: str, source: object, kept: object, before: object) -> Any:
    """Return what a run takes a genotype from.

    The weights of a checkpoint belong to the genotype that it holds. That one is taken, with a
    warning, if the file is gone, or if it is the run's own and has changed.

    Args:
        name: The setting, for the warning.
        source: Its value in the configuration.
        kept: The content that the checkpoint records.
        before: Its value in the configuration that the run directory holds.

    Returns:
        The source, or the content of the checkpoint's genotype.

    Raises:
        GenotypeError: The genotype of the checkpoint is malformed.
    """
    if not isinstance(source, str) or not isinstance(kept, Mapping):
        return source
    wanted = Genotype.from_dict(dict(kept))
    try:
        found = load_genotype(source)
    except NASError:
        reason = "cannot be read"
    else:
        same = found == wanted and found.mixing == wanted.mixing
        if same or source != before:
            return source  # the checkpoint is refused if another genotype was named
        reason = "has changed since the run began"
    print(
        f"nas: warning: {name} {source} {reason}: the genotype of the checkpoint is used",
        file=sys.stderr,
    )
    return dict(kept)


def _arguments(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the arguments of a module and of its strategies that name a genotype, with their place.

    Args:
        model: Arguments of the module, of a configuration or of a checkpoint.
    """
    if model is None:
        return
    if KEY in model:
        yield "model", model
    for strategy in model.get("strategies") or ():
        arguments = strategy.get("init_args") or {}
        if KEY in arguments:
            yield f"model.strategies.{str(strategy['class_path']).rpartition('.')[2]}", arguments


def _recorded(run_dir: Path) -> dict[str, Any]:
    """Return the arguments in the configuration of a run directory, if there is one."""
    try:
        config = parse_mapping(read_text(run_dir / CONFIG), CONFIG)
        return dict(_arguments(config["model"]["init_args"]))
    except (NASError, LookupError, TypeError, AttributeError):
        return {}
