"""`nas export`: a retrained network as a file that needs nothing of nas."""

from __future__ import annotations

import argparse
import math

from nas_lightning.cli.verb_parser import VerbParser, path
from nas_lightning.text import shown


def run(arguments: list[str]) -> None:
    """Write the network of a retraining as .pt2, .onnx or .pt, and compare it with its run."""
    parser = VerbParser("nas export", description=run.__doc__)
    parser.add_argument(
        "source",
        type=path,
        help="directory of a retraining (its best checkpoint, else its last), or a checkpoint",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=path,
        required=True,
        help="file to write: .pt2 (torch.export), .onnx, or .pt (weights and a program)",
    )
    parser.add_argument(
        "--tolerance",
        type=tolerance,
        default=1e-4,
        help="largest difference of an output, relative to the largest output (default: 1e-4)",
    )
    args = parser.parse_args(arguments[1:])
    from nas_lightning.deploy import export

    print(export(args.source, args.output, args.tolerance))


def tolerance(text: str) -> float:
    """Read a finite number above 0.

    Raises:
        ArgumentTypeError: The text is no such number.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {shown(text)}")
    return number
