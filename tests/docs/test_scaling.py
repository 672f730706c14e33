"""The model of efficiency on many GPUs: closed forms, what it reads, and its page."""

import importlib
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from nas_lightning.bench import Results, Row
from nas_lightning.bench.case import Step
from nas_lightning.errors import DataError, UsageError
from nas_lightning.spaces import DartsSupernet
from tests.processes import run_two_processes

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PAGE = (EXAMPLES.parent / "scaling.md").read_text(encoding="utf-8")


def imported(name: str) -> Any:
    """A script of the examples, as if called there."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return importlib.import_module(name)


scaling = imported("scaling")
Cluster, Sent = scaling.Cluster, scaling.Sent
FAST = Cluster(latency=0)
BUCKETS = st.lists(st.integers(1, 10**8), min_size=1, max_size=8)
TIMES = st.floats(1e-3, 10)

# -- one reduction ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_a_reduction_in_a_node_is_a_ring(n: int) -> None:
    cluster = Cluster(node=8, inside=3e9, latency=7e-6)
    expected = 2 * (n - 1) / n * 1e6 / 3e9 + 2 * (n - 1) * 7e-6
    assert cluster.reduction(1e6, n) == pytest.approx(expected)


def test_between_nodes_a_second_ring_follows() -> None:
    cluster = Cluster(node=4, inside=8e9, between=2e9, latency=1e-6)
    inside = 2 * 3 / 4 * 1e6 / 8e9 + 2 * 3 * 1e-6
    between = 2 * 2 / 3 * 1e6 / 2e9 + 2 * 2 * 1e-6
    assert cluster.reduction(1e6, 12) == pytest.approx(inside + between)


@pytest.mark.parametrize("gpus", [9, 20])
def test_nodes_are_full(gpus: int) -> None:
    with pytest.raises(UsageError, match=f"{gpus} GPUs do not fill nodes of 8: change --node"):
        Cluster().reduction(1, gpus)


# -- beside the backward pass ----------------------------------------------------------------------


def test_a_single_bucket_waits_for_the_whole_pass() -> None:
    assert scaling.after_backward([10**6], lambda size: size / 1e9, 0.5) == pytest.approx(1e-3)
    assert scaling.after_backward([], lambda size: size / 1e9, 0.5) == 0


def test_fast_reductions_hide_but_for_the_last() -> None:
    late = scaling.after_backward([10**6] * 10, lambda size: size / 1e9, backward=0.02)
    assert late == pytest.approx(1e-3)


def test_slow_reductions_run_on_from_the_first_bucket() -> None:
    late = scaling.after_backward([10**6] * 10, lambda size: size / 1e9, backward=0.005)
    assert late == pytest.approx(0.005 / 10 + 10 * 1e-3 - 0.005)


@given(BUCKETS, TIMES)
def test_the_last_bucket_arrives_when_the_longest_chain_ends(
    buckets: list[int], backward: float
) -> None:
    """The greatest, over buckets, of when it is full and all from it on are sent."""

    def cost(size: float) -> float:
        return 1e-3 + size / 1e8

    chains = (
        backward * sum(buckets[: i + 1]) / sum(buckets) + sum(map(cost, buckets[i:]))
        for i in range(len(buckets))
    )
    expected = max(chains) - backward
    assert scaling.after_backward(buckets, cost, backward) == pytest.approx(expected)


# -- efficiency ------------------------------------------------------------------------------------


@given(BUCKETS, BUCKETS, TIMES)
def test_one_gpu_waits_for_nobody(waited: list[int], buckets: list[int], seconds: float) -> None:
    sent = Sent(tuple(waited), tuple(buckets))
    assert scaling.efficiency(seconds, sent, Cluster(), 1) == (1, 1, 1)


def test_what_is_waited_for_counts_in_full_and_a_pass_hides_its_share() -> None:
    sent = Sent((8 * 10**6,), (4 * 10**6, 4 * 10**6))
    slow = Cluster(node=2, inside=1e9, latency=0)  # 8 ms and twice 4 ms
    found = scaling.efficiency(0.1, sent, slow, 2, share=0.05)
    assert found.least == pytest.approx(100 / (100 + 8 + 8))
    # the first half is full in the middle of 5 ms, and both are sent one after the other
    assert found.simulated == pytest.approx(100 / (100 + 8 + 2.5 + 8 - 5))
    assert found.most == pytest.approx(100 / (100 + 8 + 3))
    assert scaling.efficiency(0.1, sent, slow, 2, share=0.5).most == pytest.approx(100 / 108)


@given(BUCKETS, BUCKETS, TIMES, st.sampled_from([2, 8, 16, 64]), st.floats(0, 1))
def test_the_simulation_is_between_the_bounds_and_better_clusters_help(
    waited: list[int], buckets: list[int], seconds: float, gpus: int, share: float
) -> None:
    sent = Sent(tuple(waited), tuple(buckets))
    cluster = Cluster()

    def found(cluster: Any) -> Any:
        return scaling.efficiency(seconds, sent, cluster, gpus, share)

    here = found(cluster)
    assert 0 < here.least <= here.simulated + 1e-12 <= here.most + 2e-12 <= 1 + 2e-12
    for name, factor in (("inside", 2), ("between", 2), ("latency", 0.5)):
        better = found(replace(cluster, **{name: factor * getattr(cluster, name)}))
        assert all(b >= h - 1e-12 for b, h in zip(better, here, strict=True)), name
    longer = scaling.efficiency(2 * seconds, sent, cluster, gpus, share)
    assert all(a >= b - 1e-12 for a, b in zip(longer, here, strict=True))


def test_without_latency_many_nodes_send_twice_the_bytes_and_no_more() -> None:
    limit = 2 * 10**9 * (7 / 8 / FAST.inside + 1 / FAST.between)
    assert FAST.reduction(10**9, 8 * 4096) == pytest.approx(limit, rel=1e-3)
    assert FAST.reduction(10**9, 64) < limit


# -- the slowest -----------------------------------------------------------------------------------


@pytest.mark.parametrize("gpus", [1, 2, 8, 64])
def test_the_slowest_is_the_largest_of_normal_numbers(gpus: int) -> None:
    expected, _ = quad(lambda x: x * gpus * norm.pdf(x) * norm.cdf(x) ** (gpus - 1), -10, 10)
    assert expected == pytest.approx({1: 0, 2: 1 / math.sqrt(math.pi)}.get(gpus, expected))
    # the largest deviates by at most 1, so the mean of 4000 by 0.016
    assert (scaling.slowest(0.05, gpus) - 1) / 0.05 == pytest.approx(expected, abs=0.06)


def test_the_slowest_is_drawn_the_same_each_time() -> None:
    assert scaling.slowest(0.1, 8) == scaling.slowest(0.1, 8) != scaling.slowest(0.1, 8, seed=1)


# -- what is sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "k", "stem", "beta"),
    [
        ("cifar_darts", 1, "cifar", 0),
        ("cifar_pcdarts", 4, "cifar", 28),
        ("imagenet_pcdarts", 2, "imagenet", 28),
    ],
)
def test_the_bytes_are_those_of_weights_and_architecture(
    name: str, k: int, stem: Any, beta: int
) -> None:
    spec = {"in_channels": 3, "num_classes": 1000 if stem == "imagenet" else 10, "image_size": 224}
    network = DartsSupernet(channels=16, layers=8, stem=stem).build(spec, k=k)
    weights = sum(weight.numel() for weight in network.parameters())
    sent = scaling.load()[name]
    assert sum(sent.backward) == 4 * weights
    # 14 edges with 8 operations, in two kinds of cells; two losses; the signal and its barrier
    assert sent.waited == (4 * (2 * 14 * 8 + beta), 4, 4, 1, 8)


def test_the_second_order_sends_what_the_page_of_processes_says() -> None:
    first, second = (scaling.load()[f"cifar_{name}"] for name in ("darts", "darts_second_order"))
    a, w = 4 * 224, sum(first.backward)
    assert sorted(second.waited) == sorted([a + w, w, a, a, *first.waited[1:]])
    assert second.backward == first.backward


def test_the_table_divides_time_into_that_of_bytes_and_of_latencies() -> None:
    cluster = Cluster(node=4, inside=1e9, between=5e8, latency=1e-3)
    found = {"a": Sent((1000, 10**6), (10**7,))}
    row = scaling.sizes(found, cluster).splitlines()[-1]
    sent = 11_001_000 * (2 * 3 / 4 / 1e9 + 2 * 15 / 16 / 5e8)
    waited = 3 * (2 * 3 + 2 * 15) * 1e-3
    expected = f"| {1e3 * sent:.2f} | {1e3 * waited:.2f} |"
    assert row == f"| a | 2 | 1,001,000 | 1 | 10,000,000 {expected}"


def count(folder: Path) -> None:
    """What one of two processes sends."""
    found = imported("reductions").measure("cifar_pcdarts")
    (folder / "sent.json").write_text(json.dumps(found))


@pytest.mark.ddp
@pytest.mark.slow
def test_the_file_holds_what_a_search_sends(tmp_path: Path) -> None:
    run_two_processes("tests.docs.test_scaling", "count", tmp_path)
    found = json.loads((tmp_path / "sent.json").read_text())
    assert scaling.load()["cifar_pcdarts"] == Sent(*map(tuple, found.values()))


# -- the command and its page ----------------------------------------------------------------------


def written(folder: Path, group: str) -> str:
    """A file of nas bench with two cases of a search step, and another step."""
    cases: tuple[tuple[str, Step, float], ...] = (
        ("fast bf16-mixed", "search", 0.04),
        ("fast bf16-mixed", "weight", 0.02),
        ("reference", "search", 0.2),
    )
    rows = tuple(
        Row(group, case, step, 256, 1, (0.5, seconds, 0.01), 1.0) for case, step, seconds in cases
    )
    path = folder / "steps.json"
    Results(rows, {}).save(path)
    return str(path)


def test_measured_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scaling.main(["--json", written(tmp_path, "cifar_pcdarts"), "--latency", "5"])
    _, _, fast, reference = capsys.readouterr().out.splitlines()
    assert fast.startswith("| cifar_pcdarts fast bf16-mixed | 40 ms | 100.0 (100.0–100.0) |")
    assert reference.startswith("| cifar_pcdarts reference | 200 ms |")
    least, simulated, most = (
        f"{100 * value:.1f}"
        for value in scaling.efficiency(
            0.04, scaling.load()["cifar_pcdarts"], Cluster(latency=5e-6), 64
        )
    )
    assert fast.endswith(f"| {simulated} ({least}–{most}) |")


def test_steps_of_another_search_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no search step of cifar_darts, .*--config NAME"):
        scaling.main(["--json", written(tmp_path, "quick")])
    with pytest.raises(DataError, match=r"missing\.json: No such file"):
        scaling.main(["--json", str(tmp_path / "missing.json")])


def test_the_page_has_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^python docs/examples/scaling\.py(.*)$", PAGE, flags=re.MULTILINE)
    shown = [command.split() for command in commands if "--json" not in command]
    assert [] in shown
    tables = set()
    for arguments in shown:
        scaling.main(arguments)
        tables |= set(capsys.readouterr().out.strip().split("\n\n"))
    on_page = set(re.findall(r"^\|.*?(?=\n\n)", PAGE, flags=re.MULTILINE | re.DOTALL))
    assert on_page
    assert on_page <= tables
    scaling.main([])
    assert set(capsys.readouterr().out.strip().split("\n\n")) <= on_page
