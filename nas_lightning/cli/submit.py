"""`nas submit`: a fit as a SLURM job, checked here before it waits in a queue."""

from __future__ import annotations

from typing import Any, NamedTuple

from nas_lightning.cli.verb_parser import VerbParser, path, positive, whole, word

DESCRIPTION = "Submit a fit to SLURM. Options of `nas fit` come after -- and win."
PROCESSES = "there is one process for each GPU: give --tasks-per-node with --gpus 0 only"


class Given(NamedTuple):
    """The command line of `nas submit`.

    Args:
        request: Fields of `Request`; a name or folder of `None` means that of the run directory.
        configs: Configurations, later ones win.
        more: Options of `nas fit`.
        dry_run: Only print the script.
    """

    request: dict[str, Any]
    configs: list[str]
    more: list[str]
    dry_run: bool


def run(arguments: list[str]) -> None:
    """Check the run and submit it, or print its script."""
    given = read(arguments[1:])
    from nas_lightning.runs.submission import prepare, submit

    job = prepare(given.request, given.configs, given.more)
    print(job.script().rstrip("\n") if given.dry_run else submit(job))


def read(arguments: list[str]) -> Given:
    """Read the command line after the verb.

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
        "logs": None if args.folder is None else str(args.folder),
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
    text = "GPUs of each node, with one process each; 0 means a job on CPUs (default: 8)"
    add("--gpus", type=whole, default=8, metavar="G", help=text)
    text = "processes of each node, with --gpus 0 (default: 1)"
    add("--tasks-per-node", type=positive, metavar="T", help=text)
    text = "CPU cores of each process, including its loading processes (default: 8)"
    add("--cpus-per-task", type=positive, default=8, metavar="C", help=text)
    add("--mem", type=word, help="memory of each node (default: all with GPUs, else SLURM's)")
    add("--time", default="24:00:00", help="time limit (default: %(default)s)")
    text = "seconds before the time limit at which the run saves and is requeued (default: 300)"
    add("--lead", type=positive, default=300, metavar="SECONDS", help=text)
    add("--partition", type=word, help="default: SLURM's")
    add("--account", type=word, help="default: SLURM's")
    add("--name", type=word, help="name of the job (default: that of the run directory)")
    add(
        "--folder", type=path, help="folder of script and logs (default: logs in the run directory)"
    )
    add("--dry-run", action="store_true", help="only print the script for sbatch")
    return parser
