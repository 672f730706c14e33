"""Our own verbs beside Lightning's. Each takes the whole command line, its own name first."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from pathlib import Path

from nas_lightning.cli.verb_parser import VerbParser, positive
from nas_lightning.errors import UsageError
from nas_lightning.runs import configs as shipped_configs

# torch is imported by the verbs that need it: the others answer at once


def derive(arguments: list[str]) -> None:
    """Read the genotype off a checkpoint of a search."""
    parser = VerbParser("nas derive", description=derive.__doc__)
    parser.add_argument("checkpoint", help="for example runs/cifar_idarts/checkpoints/last.ckpt")
    parser.add_argument("-o", "--output", help="genotype file to write; printed otherwise")
    args = parser.parse_args(arguments[1:])
    from nas_lightning.cli.derive import derive_genotype

    genotype = derive_genotype(args.checkpoint)
    if args.output:
        genotype.save(args.output)
        print(f"{genotype}\nwritten to {args.output}")
    else:
        print(json.dumps(genotype.to_dict()))


def info(arguments: list[str]) -> None:
    """Parameters and multiply-adds of a genotype's network or a supernet; or how a run went."""
    parser = VerbParser("nas info", description=info.__doc__)
    parser.add_argument(
        "genotype",
        help="a genotype file, a published name, an architecture string of NAS-Bench-201, "
        "`supernet`, or a run directory",
    )
    parser.add_argument("--space", help="search space (default: the genotype's; supernet: darts)")
    parser.add_argument(
        "--channels",
        type=positive,
        help="C, or hidden units (default: 36; 48 on ImageNet; supernet 16; nas_bench_201 and "
        "reconstruction 16; darts_recurrent 850, supernet 300)",
    )
    parser.add_argument(
        "--layers",
        type=positive,
        help="cells (default: 20; ImageNet 14; supernet 8; nas_bench_201: 5 in each stage)",
    )
    parser.add_argument(
        "--classes",
        type=positive,
        help="classes, or words (default: 10; 1000 on ImageNet; darts_recurrent 10000)",
    )
    parser.add_argument("--imagenet", action="store_true", help="ImageNet's stem, 224 pixels")
    parser.add_argument("--image-size", type=positive, help="pixels (default: 32; 224 on ImageNet)")
    parser.add_argument("--k", type=positive, default=1, help="supernet: K of partial channels")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(arguments[1:])
    if Path(args.genotype).is_dir():
        from nas_lightning.runs.summary import describe_run, run_summary

        folder = Path(args.genotype)
        print(json.dumps(run_summary(folder)) if args.json else describe_run(folder))
        return
    from nas_lightning.cli.info import genotype_cost, supernet_cost

    given = {name: getattr(args, name) for name in ("channels", "layers", "classes", "image_size")}
    cost = (
        supernet_cost(args.space or "darts", given, args.imagenet, args.k)
        if args.genotype == "supernet"
        else genotype_cost(args.genotype, args.space, given, args.imagenet)
    )
    result = {"genotype": args.genotype, **cost}
    if args.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name.replace('_', ' '):<28} {f'{value:,}' if isinstance(value, int) else value}")


def draw(arguments: list[str]) -> None:
    """Draw the cells of a genotype."""
    parser = VerbParser("nas draw", description=draw.__doc__)
    parser.add_argument("genotype", help="a genotype file or a published name")
    parser.add_argument("-o", "--output", required=True, help="picture: .svg, .png or .pdf")
    args = parser.parse_args(arguments[1:])
    from nas_lightning.drawing.cells import save_drawing
    from nas_lightning.spaces import load_genotype

    print(f"written to {save_drawing(load_genotype(args.genotype), args.output)}")


def configs(arguments: list[str]) -> None:
    """The configurations and SLURM scripts that come with nas."""
    parser = VerbParser("nas configs", description=configs.__doc__)
    actions = parser.add_subparsers(dest="action", metavar="list | show NAME | copy NAME DIR")
    actions.add_parser("list", help="names, with a line each")
    show = actions.add_parser("show", help="print one")
    show.add_argument("name")
    copy = actions.add_parser("copy", help="copy one to a folder")
    copy.add_argument("name")
    copy.add_argument("folder", type=Path)
    args = parser.parse_args(arguments[1:])
    if args.action == "show":
        print(shipped_configs.find_shipped(args.name).read_text(encoding="utf-8"), end="")
    elif args.action == "copy":
        print(f"written to {shipped_configs.copy_config(args.name, args.folder)}")
    else:
        found = shipped_configs.shipped() | shipped_configs.overlays() | shipped_configs.scripts()
        for name, path in found.items():
            print(f"{name:<29} {shipped_configs.summary(path)}")


def doctor(arguments: list[str]) -> int:
    """What a run would find here; the plan of a search, and where a retraining differs from it.

    Returns:
        1 if they differ, or if the machine is not what the search asks for, else 0.
    """
    parser = VerbParser("nas doctor", description=(doctor.__doc__ or "").partition("\n")[0])
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
    from nas_lightning.cli.doctor import examine

    return examine(args.search, args.retrain)


def submit(arguments: list[str]) -> None:
    """Have SLURM run a fit: nas submit --config NAME --nodes N --gpus G -- options of nas fit."""
    from nas_lightning.cli.submit_options import read

    given = read(arguments[1:])
    from nas_lightning.cli import submit as submission

    job = submission.prepare(given.request, given.configs, given.more)
    print(job.script().rstrip("\n") if given.dry_run else submission.submit(job))


def study(arguments: list[str]) -> int:
    """Search with several methods over several seeds, retrain, and report with statistics.

    Returns:
        1 if a run failed, 130 if it was interrupted, else 0.
    """
    from nas_lightning.cli.study_options import read

    given = read(arguments[1:])
    from nas_lightning.cli.study import run_study

    return run_study(given)


def report(arguments: list[str]) -> None:
    """Make the report of a study anew: HTML, Markdown, JSON and CSV."""
    parser = VerbParser("nas report", description=report.__doc__)
    parser.add_argument("folder", type=Path, help="of the study; half of one will do")
    text = "another folder to write into, without links to the runs: to show it to others"
    parser.add_argument("--to", type=Path, metavar="FOLDER", help=text)
    args = parser.parse_args(arguments[1:])
    from nas_lightning.cli.report import report_study

    print(report_study(args.folder, args.to))


def benchmark(arguments: list[str]) -> None:
    """True accuracy of cells, from a benchmark's table; and whether a supernet ranks cells so."""
    from nas_lightning.cli.lookup_options import read

    given = read(arguments[1:])
    from nas_lightning.cli.lookup import report

    print(report(given))


def bench(arguments: list[str]) -> None:
    """What the steps of a search cost here: time, kernels, FLOPs, memory."""
    from nas_lightning.cli.bench_options import read

    given = read(arguments[1:])
    from nas_lightning.cli.bench import run

    print(run(given, arguments))


def demo(arguments: list[str]) -> None:
    """Search, retrain and test on handwritten digits, beside a randomly drawn cell."""
    parser = VerbParser("nas demo", description=demo.__doc__)
    parser.add_argument(
        "--run_dir", type=Path, default=Path("runs/demo"), help="default: %(default)s"
    )
    args = parser.parse_args(arguments[1:])
    from nas_lightning.cli.demo import run_demo

    run_demo(args.run_dir)


def lightning(arguments: list[str]) -> None:
    """Lightning's verbs."""
    if arguments[0] == "fit" and "--print_plan" in arguments:
        from nas_lightning.runs.preview import print_plan

        print_plan(arguments)
    else:
        from nas_lightning.runs.command import run

        run(arguments)


Verb = Callable[[list[str]], int | None]
"""The whole command line → exit code, none for 0."""

VERBS: dict[str, Verb] = {
    **dict.fromkeys(("fit", "validate", "test", "predict"), lightning),
    "derive": derive,
    "info": info,
    "draw": draw,
    "bench": bench,
    "benchmark": benchmark,
    "configs": configs,
    "doctor": doctor,
    "submit": submit,
    "study": study,
    "report": report,
    "demo": demo,
}


def find(name: str) -> Verb:
    """The verb of that name.

    Raises:
        UsageError: There is none; names the nearest.
    """
    if name in VERBS:
        return VERBS[name]
    close = difflib.get_close_matches(name, VERBS, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UsageError(f"no verb {name!r}; {hint}`nas --help` lists all")
