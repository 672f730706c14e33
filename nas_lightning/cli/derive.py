"""`nas derive`: from a checkpoint to a genotype."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from nas_lightning.cli.verb_parser import VerbParser, path, whole
from nas_lightning.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from nas_lightning.architecture import Genotype


def run(arguments: list[str]) -> None:
    """Read the genotype off a checkpoint of a search."""
    parser = VerbParser("nas derive", description=run.__doc__)
    text = "a checkpoint, such as runs/cifar_idarts/checkpoints/last.ckpt, or a run directory"
    parser.add_argument("checkpoint", type=path, help=text)
    parser.add_argument(
        "-o", "--output", type=path, help="genotype file to write (default: print it)"
    )
    text = "with at most this many skip connections, of a search with SkipCap"
    parser.add_argument("--skips", type=whole, metavar="M", help=text)
    args = parser.parse_args(arguments[1:])
    genotype = derive_genotype(args.checkpoint, args.skips)
    if args.output:
        genotype.save(args.output)
        print(f"{genotype}\nwritten to {args.output}")
    else:
        print(json.dumps(genotype.to_dict()))


def derive_genotype(source: Path | str, skips: int | None = None) -> Genotype:
    """Return the genotype that the architecture parameters in a search's checkpoint encode.

    Args:
        source: A checkpoint, or a run directory: its best checkpoint, else its last.
        skips: Largest number of skip connections in place of that of the search's `SkipCap`.

    Raises:
        CheckpointError: There is none, or it is not a readable checkpoint of a search.
        UsageError: The run directory holds no checkpoint, or the search has no `SkipCap`.
    """
    from nas_lightning.runs.rebuilt import checkpoint_of, rebuilt
    from nas_lightning.search import SearchModule
    from nas_lightning.strategies import SkipCap
    from nas_lightning.training.checkpoints import KEY, read_checkpoint

    file = checkpoint_of(Path(source))
    checkpoint = read_checkpoint(file)
    kind = checkpoint[KEY]["kind"]
    if kind != "search":
        raise CheckpointError(f"{file} is a checkpoint of a {kind}: name one of a search")
    module = rebuilt(SearchModule, file)
    if skips is not None:
        cap = next((part for part in module.strategies if isinstance(part, SkipCap)), None)
        if cap is None:
            raise UsageError(f"--skips: the search of {file} has no SkipCap among its strategies")
        cap.most = skips
    return module.genotype(epoch=checkpoint.get("epoch"), checkpoint=str(file))
