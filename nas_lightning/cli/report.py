"""`nas report`: the report of a study, from the files in its folder."""

from __future__ import annotations

from nas_lightning.cli.verb_parser import VerbParser, path


def run(arguments: list[str]) -> None:
    """Write the report of a study again: HTML, Markdown, JSON and CSV."""
    parser = VerbParser("nas report", description=run.__doc__)
    parser.add_argument("folder", type=path, help="the study's folder; it may be half done")
    text = "another folder to write to, without links to the runs: to show the report to others"
    parser.add_argument("--to", type=path, metavar="FOLDER", help=text)
    args = parser.parse_args(arguments[1:])
    from nas_lightning.studies.summary import report_study

    print(report_study(args.folder, args.to))
