"""`nas doctor`: a look at the machine, the plan of a search, and its retraining."""

from __future__ import annotations

from nas_lightning.cli.verb_parser import VerbParser


def run(arguments: list[str]) -> int:
    """Show the machine, the plan of a search, and the settings in which its retraining differs.

    Returns:
        1 if any differ, or if the machine is not what the search asks for, else 0.
    """
    parser = VerbParser("nas doctor", description=(run.__doc__ or "").partition("\n")[0])
    for name, what in (("search", "a search"), ("retrain", "the retraining that follows")):
        parser.add_argument(
            f"--{name}",
            action="append",
            default=[],
            metavar="CONFIG",
            help=f"configuration of {what}, a file or a shipped name; if repeated, later ones win",
        )
    args = parser.parse_args(arguments[1:])
    if args.retrain and not args.search:
        parser.error("--retrain is compared with a search: name it by --search CONFIG")
    from nas_lightning.runs.examination import examine

    return examine(args.search, args.retrain)
