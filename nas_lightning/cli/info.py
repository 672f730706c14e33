"""`nas info`: the size of a network or a supernet, or the result of a run."""

from __future__ import annotations

import json
from pathlib import Path

from nas_lightning.cli.verb_parser import VerbParser, positive, source
from nas_lightning.text import one_line


def run(arguments: list[str]) -> None:
    """Show the parameters and multiply-adds of a network or a supernet, or the result of a run."""
    args = _parser().parse_args(arguments[1:])
    if Path(args.genotype).is_dir():
        from nas_lightning.runs.summary import describe_run, run_summary

        folder = Path(args.genotype)
        print(json.dumps(run_summary(folder)) if args.json else describe_run(folder))
        return
    from nas_lightning.cli.network_costs import genotype_cost, supernet_cost

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
    result["genotype"] = one_line(args.genotype, 120)
    for name, value in result.items():
        if value is None:  # a size that the network does not have
            continue
        print(f"{name.replace('_', ' '):<28} {f'{value:,}' if isinstance(value, int) else value}")


def _parser() -> VerbParser:
    parser = VerbParser("nas info", description=run.__doc__)
    parser.add_argument(
        "genotype",
        type=source,
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
    return parser
