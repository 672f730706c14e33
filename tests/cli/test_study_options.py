"""The command line of `nas study`."""

from pathlib import Path

import pytest

from nas_lightning.cli.study import read
from nas_lightning.errors import UsageError
from nas_lightning.slurm.batch_script import Request
from nas_lightning.studies.plan import Method

BASE = ["--config", "a.yaml", "--retrain", "r.yaml"]


def test_methods_and_their_names() -> None:
    given = read([*BASE, "--config", "gaea=a.yaml,methods/gaea", "-c", "dir/c,d.yaml"])
    assert given.study.methods == (
        Method("a", ("a.yaml",)),
        Method("gaea", ("a.yaml", "methods/gaea")),
        Method("d", ("dir/c", "d.yaml")),
    )
    assert given.study.retrain == Method("r", ("r.yaml",))
    assert (given.study.seeds, given.study.retrain_seeds, given.study.random) == (10, 1, 10)
    assert (given.folder, given.jobs, given.slurm) == (Path("runs/study"), None, None)


def test_options_of_single_runs() -> None:
    single = ["--search.a.b", "1", "--retrain.c=2", "--all.data.root", "data", "--search.x", "-1"]
    given = read([*BASE, *single, "--seeds", "3"])
    assert given.study.search_options == ("--a.b", "1", "--data.root", "data", "--x", "-1")
    assert given.study.retrain_options == ("--c=2", "--data.root", "data")
    assert given.study.seeds == 3


def test_a_table_replaces_the_retraining() -> None:
    table = ["--table", "t.csv", "--column", "cifar100_test"]
    given = read(["--config", "a", *table, "--random", "0"])
    assert given.study.retrain is None
    assert (given.study.table, given.study.column) == ("t.csv", "cifar100_test")


def test_options_of_a_job_array() -> None:
    line = "--slurm --gpus 0 --cpus-per-task 2 --at-once 4 --time 1-0 --lead 60 --dir some/study"
    given = read([*BASE, *line.split()])
    logs = str(Path("some/study/logs").absolute())
    wanted = Request("study", logs, 1, 0, tasks=1, cpus=2, memory=None, time="1-0", lead=60)
    assert given.slurm == wanted
    assert given.at_once == 4


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--config a", "--retrain CONFIG, or --table FILE"),
        ("--retrain r", "--config"),
        ("--config a --retrain r --table t", "--table replaces the retraining"),
        ("--config a --retrain r --column x", "--table"),
        ("--config a --retrain r --trained t.csv", "--trained measures the error of a surrogate"),
        ("--config a --config b/a.yaml --retrain r", "give each method its own name"),
        ("--config random=a --retrain r", "give each method its own name"),
        ("--config x=, --retrain r", "NAME=.CONFIG"),
        ("--config a/b=c --retrain r", "letters"),
        ("--config a --retrain r --seeds 0", "at least 1"),
        ("--config a --retrain r --sedes 3", "did you mean 'seeds'"),
        ("--config a --retrain r --search.", "search."),
        ("--config a --retrain r --slurm --time 9", "--time 9 is too short"),
        ("--config a --retrain r --slurm --time soon", "--time soon"),
    ],
)
def test_wrong_options_are_refused(line: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read(line.split())
