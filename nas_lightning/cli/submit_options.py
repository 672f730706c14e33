"""The options of `nas submit`."""

from __future__ import annotations

from typing import Any, NamedTuple

from nas_lightning.cli.verb_parser import VerbParser, positive, whole

DESCRIPTION = "Have SLURM run a fit. Options of `nas fit` stand behind --, they win."
PROCESSES = "there is one process for each GPU: give --tasks-per-node with --gpus 0 only"


class Given(NamedTuple):
    """What the command line says.

    Args:
        request: Fields of `Request`; none for a name or folder that is to be chosen.
        configs: Configurations, later ones win.
        more: Options of `nas fit`.
        dry_run: Whether the script is to be printed, and nothing else.
    """

    request: dict[str, Any]
    configs: list[str]
    more: list[str]
    dry_run: bool


def read(arguments: list[str]) -> Given:
    """Read the command line behind the verb.

    Raises:
        UsageError: It is wrong.
    """
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = _parser()
    args = parser.parse_args(arguments[:at])
    if args.gpus and args.tasks_per_node not in (None, args.gpus):
        parser.error(PROCESSES)
    request = {
        "name": args.name,
        "logs": args.folder,
        "nodes": args.nodes,
        "gpus": args.gpus,
        "tasks": args.gpus or args.tasks_per_node or 1,
        "cpus": args.cpus_per_task,
        "memory": args.mem or ("0" if args.gpus else None),
        "time": args.time,
        "lead": args.lead,
        "partition": args.partition,
        "account": args.account,
    }
    return Given(request, args.config, arguments[at + 1 :], args.dry_run)


def _parser() -> VerbParser:
    parser = VerbParser(
        "nas submit", DESCRIPTION, usage="%(prog)s --config CONFIG [options] [-- …]"
    )
    add = parser.add_argument
    text = "configuration, a file or a shipped name; if repeated, later ones win"
    add("-c", "--config", action="append", required=True, metavar="CONFIG", help=text)
    add("--nodes", type=positive, default=1, metavar="N", help="nodes (default: 1)")
    text = "GPUs of each node, with a process each; 0: a job on CPUs (default: 8)"
    add("--gpus", type=whole, default=8, metavar="G", help=text)
    text = "processes of each node, with --gpus 0 (default: 1)"
    add("--tasks-per-node", type=positive, metavar="T", help=text)
    text = "CPU cores of each process, its loaders among them (default: 8)"
    add("--cpus-per-task", type=positive, default=8, metavar="C", help=text)
    add("--mem", help="memory of each node (default: all with GPUs, else SLURM's)")
    add("--time", default="24:00:00", help="time limit (default: %(default)s)")
    text = "seconds ahead of the limit at which the run saves and is requeued (default: 300)"
    add("--lead", type=positive, default=300, metavar="SECONDS", help=text)
    add("--partition", help="default: SLURM's")
    add("--account", help="default: SLURM's")
    add("--name", help="name of the job (default: that of the run directory)")
    add("--folder", help="for script and logs (default: logs in the run directory)")
    add("--dry-run", action="store_true", help="print the script for sbatch, and stop")
    return parser
