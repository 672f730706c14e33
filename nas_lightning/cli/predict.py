"""`nas predict`: predictions for image files, or for the test data of a run."""

from __future__ import annotations

import sys
from pathlib import Path

from nas_lightning.cli.fit import run as run_lightning
from nas_lightning.cli.verb_parser import VerbParser, path, positive

ALSO = """\
Without --images, `nas predict --config runs/x/config.yaml` writes predictions for the test data of
a run; its options follow.
"""
TABLE = "image_predictions.csv"


def run(arguments: list[str]) -> int | None:
    """Predict the classes of image files, which need no labels, with a retrained network."""
    words = arguments[1:]
    if words in (["-h"], ["--help"]):
        print(_parser().format_help())
    if not _of_images(words):
        run_lightning(arguments)
        return None
    args = _parser().parse_args(words)
    return predict(args.source, args.images, args.top, args.output)


def _parser() -> VerbParser:
    parser = VerbParser("nas predict", description=run.__doc__, epilog=ALSO)
    parser.add_argument(
        "source",
        type=path,
        help="directory of a retraining (its best checkpoint, else its last), or a checkpoint",
    )
    parser.add_argument(
        "--images", type=path, nargs="+", required=True, help="image files, and folders of them"
    )
    parser.add_argument(
        "--top", type=positive, default=1, help="classes for each image (default: 1)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=path,
        help=f"table to write (default: {TABLE} in the run directory)",
    )
    return parser


def _of_images(words: list[str]) -> bool:
    """Return True if a command line is about image files."""
    named = any(word.partition("=")[0] == "--images" for word in words)
    return named or (bool(words) and not words[0].startswith("-"))


def predict(source: Path, images: list[Path], top: int, output: Path | None) -> int:
    """Predict image files, print a table, and write it.

    Args:
        source: A run directory or a checkpoint.
        images: Image files and folders of them.
        top: Number of classes for each image.
        output: The table; `None` means in the run directory, else in the working folder.

    Returns:
        1 if an image could not be read, else 0.

    Raises:
        DataError: No image can be read.
    """
    import torch

    from nas_lightning.deploy import load
    from nas_lightning.deploy.images import find_images, predict_images, table, write_table
    from nas_lightning.errors import DataError

    files = find_images(images)
    network = load(source)
    if torch.cuda.is_available():
        network.cuda()
    predictions = []
    target = output or (network.run_dir or Path()) / TABLE
    for found in predict_images(network, files, top, target.parent):
        predictions.append(found)
        if found.problem is not None:
            print(f"nas: {found.problem}", file=sys.stderr)
    unread = sum(found.problem is not None for found in predictions)
    if unread == len(predictions):
        raise DataError(f"none of the {unread} images can be read: nothing was written")
    print(table(predictions))
    write_table(target, predictions)
    print(f"written to {target}")
    if unread:
        print(
            f"nas: {unread} of {len(predictions)} images cannot be read: their rows are empty",
            file=sys.stderr,
        )
    return int(unread > 0)
