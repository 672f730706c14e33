"""The genotype of a checkpoint, for runs whose genotype file was moved, deleted or rewritten."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from nas_lightning.architecture import Genotype
from nas_lightning.errors import NASError
from nas_lightning.runs.directory import CONFIG
from nas_lightning.spaces import load_genotype
from nas_lightning.text_files import read_text
from nas_lightning.yaml_text import parse_mapping

KEY = "model.init_args.genotype"


@contextmanager
def kept_genotype(config: Namespace, checkpoint: Mapping[str, Any] | None) -> Iterator[None]:
    """Let a configuration have the genotype of its checkpoint, if its file is gone or has changed.

    After the context it names the file again.

    Args:
        config: Configuration of a run.
        checkpoint: Content of the checkpoint that it loads, if any.
    """
    source = config.get(KEY)
    if source is None or checkpoint is None:
        yield
        return
    config[KEY] = genotype_source(source, checkpoint, Path(config.run_dir))
    try:
        yield
    finally:
        config[KEY] = source


def genotype_source(source: object, checkpoint: Mapping[str, Any], run_dir: Path) -> Any:
    """Return what a retraining takes its genotype from.

    The weights of a checkpoint belong to the genotype that it holds. That one is taken, with a
    warning, if the file is gone, or if it is the run's own and has changed.

    Args:
        source: `model.genotype` of the configuration.
        checkpoint: Content of the checkpoint.
        run_dir: The run directory.

    Returns:
        The source, or the content of the checkpoint's genotype.

    Raises:
        GenotypeError: The genotype of the checkpoint is malformed.
    """
    kept = checkpoint.get("hyper_parameters", {}).get("genotype")
    if not isinstance(source, str) or not isinstance(kept, Mapping):
        return source
    wanted = Genotype.from_dict(dict(kept))
    try:
        found = load_genotype(source)
    except NASError:
        reason = "cannot be read"
    else:
        if found == wanted or source != _recorded(run_dir):
            return source  # the checkpoint is refused if another genotype was named
        reason = "has changed since the run began"
    print(
        f"nas: warning: model.genotype {source} {reason}: the genotype of the checkpoint is used",
        file=sys.stderr,
    )
    return dict(kept)


def _recorded(run_dir: Path) -> object:
    """Return `model.genotype` of the configuration in a run directory, if there is one."""
    try:
        config = parse_mapping(read_text(run_dir / CONFIG), CONFIG)
        return config["model"]["init_args"]["genotype"]
    except (NASError, LookupError, TypeError):
        return None
