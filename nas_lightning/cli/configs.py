"""`nas configs`: the configurations and SLURM scripts that come with the package."""

from __future__ import annotations

from nas_lightning.cli.verb_parser import VerbParser, path
from nas_lightning.runs import configs


def run(arguments: list[str]) -> None:
    """List, show or copy the configurations and SLURM scripts that come with nas."""
    parser = VerbParser("nas configs", description=run.__doc__)
    actions = parser.add_subparsers(dest="action", metavar="list | show NAME | copy NAME DIR")
    actions.add_parser("list", help="list the names, with one line each (default)")
    show = actions.add_parser("show", help="print one")
    show.add_argument("name")
    copy = actions.add_parser("copy", help="copy one to a folder")
    copy.add_argument("name")
    copy.add_argument("folder", type=path)
    args = parser.parse_args(arguments[1:])
    if args.action == "show":
        print(configs.find_shipped(args.name).read_text(encoding="utf-8"), end="")
    elif args.action == "copy":
        print(f"written to {configs.copy_config(args.name, args.folder)}")
    else:
        found = configs.shipped() | configs.overlays() | configs.scripts()
        for name, file in found.items():
            print(f"{name:<29} {configs.summary(file)}")
