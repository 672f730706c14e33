"""How efficient a search would be on many GPUs, by a model of what is computed and sent.

    python docs/examples/scaling.py                       # for assumed times of a step
    nas bench --config cifar_pcdarts --steps search --json steps.json
    python docs/examples/scaling.py --json steps.json     # for those of a GPU of yours

Efficiency is the time of a step on one GPU over that on N, with the same images on each GPU. Bytes
and reductions of each search are those of reductions.json, which reductions.py counts. Nothing here
was measured on GPUs; docs/scaling.md says what is assumed.
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
        waited: Of those that nothing is computed beside.
        backward: Of those that DDP starts while the backward pass of the weights runs, in order.
    """

    waited: tuple[int, ...]
    backward: tuple[int, ...]


@dataclass(frozen=True)
class Cluster:
    """Nodes of GPUs, and what joins them.

    Attributes:
        node: GPUs in a node.
        inside: Bytes a second, one way, of a GPU to the others of its node.
        between: Bytes a second, one way, of a node to the others, all its adapters together.
        latency: Seconds that a message takes at least.
    """

    node: int = 8
    inside: float = 450e9
    between: float = 50e9
    latency: float = 20e-6

    def reduction(self, size: float, gpus: int) -> float:
        """Seconds of an all-reduce of so many bytes: rings in each node, and a ring of the nodes.

        Raises:
            UsageError: So many GPUs do not fill their nodes.
        """
        near, nodes = min(gpus, self.node), max(gpus // self.node, 1)
        if near * nodes != gpus:
            raise UsageError(f"{gpus} GPUs do not fill nodes of {self.node}: change --node")
        return ring(size, near, self.inside, self.latency) + ring(
            size, nodes, self.between, self.latency
        )


def ring(size: float, members: int, bandwidth: float, latency: float) -> float:
    """Seconds of a ring all-reduce: 2 (n - 1) messages of an n-th of the bytes each."""
    return 2 * (members - 1) * (size / members / bandwidth + latency)


def after_backward(
    buckets: Sequence[int], cost: Callable[[float], float], backward: float
) -> float:
    """Seconds from the end of the backward pass until its last bucket has arrived.

    Simulates DDP: gradients are ready at an even rate over the pass, a bucket is sent when it is
    full, and one after the other.

    Args:
        buckets: Bytes of each, in the order in which they fill.
        cost: Bytes of a bucket → seconds that it takes.
        backward: Seconds of the pass.
    """
    filled, now = 0, 0.0
    for bucket in buckets:
        filled += bucket
        now = max(now, backward * (filled / sum(buckets))) + cost(bucket)
    return max(now - backward, 0.0)


class Efficiency(NamedTuple):
    """Shares of a step that are computation, from 0 to 1.

    Attributes:
        least: If nothing is sent while the backward pass runs.
        simulated: If buckets are, as DDP does it.
        most: If the whole pass can be used for it.
    """

    least: float
    simulated: float
    most: float


def efficiency(
    seconds: float, sent: Sent, cluster: Cluster, gpus: int, share: float = 1 / 3
) -> Efficiency:
    """Efficiency of a search on so many GPUs.

    Args:
        seconds: Of a step on one.
        sent: What a step sends.
        cluster: The GPUs and what joins them.
        gpus: How many.
        share: Of the step, that the backward pass of the weights takes.
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
    """Mean time of the slowest GPU over that of one, if times are normal with such a deviation."""
    generator = random.Random(seed)
    return fmean(max(generator.gauss(1, variation) for _ in range(gpus)) for _ in range(draws))


def load(path: Path = SENT) -> dict[str, Sent]:
    """What the shipped searches send, by their names."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Sent(tuple(sent["waited"]), tuple(sent["backward"])) for name, sent in content.items()
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first column is text."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def percent(value: float) -> str:
    """Such as 98.1."""
    return f"{100 * value:.1f}"


def sizes(found: dict[str, Sent], cluster: Cluster) -> str:
    """What is sent, and what its bytes and its latencies alone take on most GPUs."""
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
        name: What it is called.
        seconds: Its time on one GPU.
        sent: What it sends.
    """

    name: str
    seconds: float
    sent: Sent


def steps_of(files: Sequence[Path], found: dict[str, Sent]) -> list[Step]:
    """The steps that `nas bench --config … --steps search --json` measured.

    Raises:
        NASError: A file cannot be read, or holds no step of a search that was counted.
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
    """Efficiency by the number of GPUs: simulated, and between which bounds."""
    rows = []
    for name, seconds, sent in steps:
        every = (efficiency(seconds, sent, cluster, gpus, share) for gpus in GPUS)
        cells = (f"{percent(e.simulated)} ({percent(e.least)}–{percent(e.most)})" for e in every)
        rows.append([name, f"{1000 * seconds:.0f} ms", *cells])
    return table(["search", "step", *(f"N = {gpus}" for gpus in GPUS)], rows)


def by_seconds(found: dict[str, Sent], cluster: Cluster, share: float) -> str:
    """Efficiency on most GPUs, simulated, by the time of a step."""
    rows = [
        [name, *(percent(efficiency(t, sent, cluster, GPUS[-1], share).simulated) for t in SECONDS)]
        for name, sent in found.items()
    ]
    return table([f"N = {GPUS[-1]}", *(f"{1000 * t:.0f} ms" for t in SECONDS)], rows)


def by_variation() -> str:
    """The most that an efficiency can be where a step does not always take the same time."""
    rows = [
        [f"{variation:.0%}", *(percent(1 / slowest(variation, gpus)) for gpus in GPUS[1:])]
        for variation in VARIATIONS
    ]
    return table(["deviation", *(f"N = {gpus}" for gpus in GPUS[1:])], rows)


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--json", type=Path, nargs="+", default=(), help="files of nas bench: times of steps")
    add("--step-seconds", type=float, default=0.1, help="assumed for all searches (%(default)s)")
    add("--node", type=int, default=8, help="GPUs in a node (%(default)s)")
    add("--inside", type=float, default=450, help="GB/s of a GPU in its node (%(default)s)")
    add("--between", type=float, default=50, help="GB/s of a node to others (%(default)s)")
    add("--latency", type=float, default=20, help="µs of a message (%(default)s)")
    add("--share", type=float, default=1 / 3, help="of a step: backward pass of the weights (1/3)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables.

    Raises:
        NASError: Settings or files do not fit.
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
