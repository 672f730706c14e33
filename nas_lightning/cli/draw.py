"""`nas draw`: a picture of a genotype's cells."""

from __future__ import annotations

from nas_lightning.cli.verb_parser import VerbParser, path, source


def run(arguments: list[str]) -> None:
    """Draw the cells of a genotype."""
    parser = VerbParser("nas draw", description=run.__doc__)
    parser.add_argument("genotype", type=source, help="a genotype file or a published name")
    parser.add_argument(
        "-o", "--output", type=path, required=True, help="picture: .svg, .png or .pdf"
    )
    args = parser.parse_args(arguments[1:])
    from nas_lightning.drawing.cells import save_drawing
    from nas_lightning.spaces import load_genotype

    print(f"written to {save_drawing(load_genotype(args.genotype), args.output)}")
