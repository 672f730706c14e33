"""Estimate the efficiency of a search on many GPUs, with a model of computation and communication.

    python docs/examples/scaling.py                       # for assumed step times
    nas bench --config cifar_pcdarts --steps search --json steps.json
    python docs/examples/scaling.py --json steps.json     # for times on your GPU

Efficiency is the time of a step on one GPU divided by that on N, with the same number of images per
GPU. Bytes and reductions of each search come from reductions.json, which reductions.py writes.
Nothing here was measured on GPUs; docs/scaling.md lists the assumptions.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from nas_lightning.bench import Results
from nas_lightning.errors import NASError, UsageError

SENT = Path(__file__).with_name("reductions.json")
GPUS = (1, 8, 16, 64)
SECONDS = (0.02, 0.05, 0.1, 0.2)
VARIATIONS = (0.01, 0.05, 0.1)
DRAWS = 4000


class Sent(NamedTuple):
    """Bytes of each reduction in a batch of a search.

    Attributes:
        waited: Reductions that the process waits for.
        backward: Reductions that DDP starts during the backward pass of the weights, in order.
    """

    waited: tuple[int, ...]
    backward: tuple[int, ...]


@dataclass(frozen=True)
class Cluster:
    """Nodes of GPUs and the network between them.

    Attributes:
        node: GPUs per node.
        inside: Bytes per second, one way, from a GPU to the others of its node.
        between: Bytes per second, one way, from a node to the others, over all its adapters.
        latency: Minimum time of a message in seconds.
    """

    node: int = 8
    inside: float = 450e9
    between: float = 50e9
    latency: float = 20e-6

    def reduction(self, size: float, gpus: int) -> float:
        """Return the seconds of an all-reduce: rings in each node, and a ring of the nodes.

        Raises:
            UsageError: The number of GPUs is not a multiple of full nodes.
        """
        near, nodes = min(gpus, self.node), max(gpus // self.node, 1)
        if near * nodes != gpus:
            raise UsageError(f"{gpus} GPUs do not fill nodes of {self.node}: change --node")
        return ring(size, near, self.inside, self.latency) + ring(
            size, nodes, self.between, self.latency
        )


def ring(size: float, members: int, bandwidth: float, latency: float) -> float:
    """Return the seconds of a ring all-reduce: 2 (n - 1) messages of an n-th of the bytes each."""
    return 2 * (members - 1) * (size / members / bandwidth + latency)


def after_backward(
    buckets: Sequence[int], cost: Callable[[float], float], backward: float
) -> float:
    """Return the seconds from the end of the backward pass until its last bucket has arrived.

    Simulates DDP: gradients become ready at a constant rate during the pass, and full buckets are
    sent one after the other.

    Args:
        buckets: Bytes of each bucket, in the order in which they fill.
        cost: Function from the bytes of a bucket to the seconds of its reduction.
        backward: Seconds of the pass.
    """
    filled, now = 0, 0.0
    for bucket in buckets:
        filled += bucket
        now = max(now, backward * (filled / sum(buckets))) + cost(bucket)
    return max(now - backward, 0.0)


class Efficiency(NamedTuple):
    """Share of computation in a step, from 0 to 1.

    Attributes:
        least: Nothing is sent during the backward pass.
        simulated: Buckets are sent during the pass, as in DDP.
        most: The whole pass overlaps with communication.
    """

    least: float
    simulated: float
    most: float


def efficiency(
    seconds: float, sent: Sent, cluster: Cluster, gpus: int, share: float = 1 / 3
) -> Efficiency:
    """Return the efficiency of a search on several GPUs.

    Args:
        seconds: Time of a step on one GPU.
        sent: Reductions of a step.
        cluster: The GPUs and their network.
        gpus: Number of GPUs.
        share: Share of the backward pass of the weights in a step.
    """

    def cost(size: float) -> float:
        return cluster.reduction(size, gpus)

    waited, backward = (sum(map(cost, sizes)) for sizes in sent)
    exposed = (
        backward,
        after_backward(sent.backward, cost, share * seconds),
        max(backward - share * seconds, 0.0),
    )
    return Efficiency(*(seconds / (seconds + waited + more) for more in exposed))


def slowest(variation: float, gpus: int, draws: int = DRAWS, seed: int = 0) -> float:
    """Return the mean time of the slowest GPU relative to one, for normally distributed times."""
    generator = random.Random(seed)
    return fmean(max(generator.gauss(1, variation) for _ in range(gpus)) for _ in range(draws))


def load(path: Path = SENT) -> dict[str, Sent]:
    """Return the reductions of the shipped searches, by name."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Sent(tuple(sent["waited"]), tuple(sent["backward"])) for name, sent in content.items()
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table whose first column is text."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def percent(value: float) -> str:
    """Format a share in per cent, for example 98.1."""
    return f"{100 * value:.1f}"


def sizes(found: dict[str, Sent], cluster: Cluster) -> str:
    """Format reductions and bytes, and their times on the largest number of GPUs."""
    at_once = replace(cluster, latency=0)
    rows = []
    for name, sent in found.items():
        every = [*sent.waited, *sent.backward]
        times = (
            sum(at_once.reduction(size, GPUS[-1]) for size in every),
            len(every) * cluster.reduction(0, GPUS[-1]),
        )
        counts = (text for part in sent for text in (str(len(part)), f"{sum(part):,}"))
        rows.append([name, *counts, *(f"{1000 * seconds:.2f}" for seconds in times)])
    head = ["search", "waited for", "bytes", "during the backward pass", "bytes"]
    times_head = [f"N = {GPUS[-1]}: ms for {what}" for what in ("bytes", "latencies")]
    return table([*head, *times_head], rows)


class Step(NamedTuple):
    """A step of a search.

    Attributes:
        name: Name in the table.
        seconds: Time on one GPU.
        sent: Its reductions.
    """

    name: str
    seconds: float
    sent: Sent


def steps_of(files: Sequence[Path], found: dict[str, Sent]) -> list[Step]:
    """Read the steps measured by `nas bench --config … --steps search --json`.

    Raises:
        NASError: A file cannot be read, or holds no step of a search with counted reductions.
    """
    steps = []
    for file in files:
        rows = [row for row in Results.load(file).rows if row.step == "search"]
        known = [row for row in rows if row.group in found]
        if not known:
            raise UsageError(
                f"{file} holds no search step of {', '.join(found)}: "
                f"measure with nas bench --config NAME --steps search"
            )
        steps += [Step(f"{row.group} {row.case}", row.median, found[row.group]) for row in known]
    return steps


def by_gpus(steps: Sequence[Step], cluster: Cluster, share: float) -> str:
    """Format the efficiency by number of GPUs: simulated, with its bounds."""
    rows = []
    for name, seconds, sent in steps:
        every = (efficiency(seconds, sent, cluster, gpus, share) for gpus in GPUS)
        cells = (f"{percent(e.simulated)} ({percent(e.least)}–{percent(e.most)})" for e in every)
        rows.append([name, f"{1000 * seconds:.0f} ms", *cells])
    return table(["search", "step", *(f"N = {gpus}" for gpus in GPUS)], rows)


def by_seconds(found: dict[str, Sent], cluster: Cluster, share: float) -> str:
    """Format the simulated efficiency on the largest number of GPUs, by the time of a step."""
    rows = [
        [name, *(percent(efficiency(t, sent, cluster, GPUS[-1], share).simulated) for t in SECONDS)]
        for name, sent in found.items()
    ]
    return table([f"N = {GPUS[-1]}", *(f"{1000 * t:.0f} ms" for t in SECONDS)], rows)


def by_variation() -> str:
    """Format the upper bound of the efficiency for steps of varying duration."""
    rows = [
        [f"{variation:.0%}", *(percent(1 / slowest(variation, gpus)) for gpus in GPUS[1:])]
        for variation in VARIATIONS
    ]
    return table(["deviation", *(f"N = {gpus}" for gpus in GPUS[1:])], rows)


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--json", type=Path, nargs="+", default=(), help="files of nas bench with step times")
    add("--step-seconds", type=float, default=0.1, help="assumed time of a step (%(default)s)")
    add("--node", type=int, default=8, help="GPUs per node (%(default)s)")
    add("--inside", type=float, default=450, help="GB/s of a GPU within its node (%(default)s)")
    add("--between", type=float, default=50, help="GB/s from node to node (%(default)s)")
    add("--latency", type=float, default=20, help="µs per message (%(default)s)")
    add("--share", type=float, default=1 / 3, help="share of the weights' backward pass (1/3)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables.

    Raises:
        NASError: Settings or files are not valid.
    """
    given = read(arguments)
    found = load()
    cluster = Cluster(given.node, 1e9 * given.inside, 1e9 * given.between, 1e-6 * given.latency)
    if given.json:
        print(by_gpus(steps_of(given.json, found), cluster, given.share))
        return
    steps = [Step(name, given.step_seconds, sent) for name, sent in found.items()]
    tables = (
        sizes(found, cluster),
        by_gpus(steps, cluster, given.share),
        by_seconds(found, cluster, given.share),
        by_variation(),
    )
    print("\n\n".join(tables))


if __name__ == "__main__":
    try:
        main()
    except NASError as error:
        sys.exit(f"scaling.py: {error}")
