"""`nas study` as a user calls it, on small searches: two studies in processes, others here."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nas_lightning import signals
from nas_lightning.architecture import Genotype
from nas_lightning.cli.study import read
from nas_lightning.search import SearchModule
from nas_lightning.search.discretize import one_hot
from nas_lightning.studies.prepare import begin, prepare
from nas_lightning.studies.processes import ProcessesStoppedError
from nas_lightning.studies.results import Run, read_results
from tests.cli.conftest import RETRAIN, SEARCH, Nas

STUDY = (
    "study --config pcdarts=search.yaml --config darts=search.yaml,plain.yaml "
    "--retrain retrain.yaml --seeds 2 --random 2 --dir s --jobs 2"
)
PLAIN = "model: {init_args: {strategies: []}}\n"
BROKEN = """\
model:
  init_args:
    weight_optimizer: {class_path: torch.optim.SGD, init_args: {lr: 1.0e+30}}
"""


def write_configurations(folder: Path) -> None:
    """Write the configurations of two methods and a retraining."""
    for name, text in (("search", SEARCH), ("plain", PLAIN), ("retrain", RETRAIN)):
        (folder / f"{name}.yaml").write_text(text)


@pytest.fixture
def work(work: Path) -> Path:
    """Also with a second method."""
    write_configurations(work)
    return work


def start(line: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start `nas` in a session of its own, so that all its processes can be killed."""
    with (folder / "said.txt").open("ab") as said:
        command = [sys.executable, "-m", "nas_lightning", *line.split()]
        return subprocess.Popen(
            command, cwd=folder, stdout=said, stderr=said, start_new_session=True
        )


def call(line: str, folder: Path) -> tuple[int, str]:
    """Run `nas` in a process of its own, and return its exit code and its output."""
    code = start(line, folder).wait(timeout=500)
    return code, (folder / "said.txt").read_text()


def run_of(folder: Path, method: str, seed: int) -> Run:
    (found,) = (run for run in read_results(folder).of(method) if run.seed == seed)
    return found


def metric(out: str, name: str) -> float:
    """Return a value of the table that `nas test` prints."""
    (line,) = (line for line in out.splitlines() if name in line)
    return float(line.replace("│", " ").split()[-1])


# -- in processes of their own ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a study that has ended."""
    folder = tmp_path_factory.mktemp("done")
    write_configurations(folder)
    code, said = call(f"{STUDY} --config again=search.yaml", folder)
    assert code == 0, said
    assert "14/14 runs done  0 failed" in said
    return folder


@pytest.mark.slow
def test_its_runs_are_those_of_the_single_commands(done: Path, work: Path, nas: Nas) -> None:
    alone = "--config search.yaml --config plain.yaml --seed_everything 1 --run_dir alone"
    assert nas(f"fit {alone}").code == 0
    tested = nas("test --config alone/config.yaml").out
    run = run_of(done / "s", "darts", 1)
    assert run.genotype == Genotype.load(work / "alone/genotype.json")
    assert run.one_shot == pytest.approx(metric(tested, "one_shot/test_accuracy"))

    drawn = run_of(done / "s", "random", 1)
    cell = done / "s/random/cell_1.json"
    again = f"--seed_everything 1 --run_dir drawn --model.genotype {cell}"
    assert nas(f"fit --config retrain.yaml {again}").code == 0
    tested = nas("test --config drawn/config.yaml").out
    assert drawn.final == pytest.approx(metric(tested, "retrain/test_accuracy"))


@pytest.mark.slow
def test_it_reports(done: Path) -> None:
    assert {path.name for path in (done / "s").glob("report.*")} == {
        f"report.{kind}" for kind in ("html", "md", "json", "csv")
    }


@pytest.mark.slow
def test_two_methods_that_find_one_cell_share_its_retraining(done: Path) -> None:
    for seed in (0, 1):
        one, two = run_of(done / "s", "pcdarts", seed), run_of(done / "s", "again", seed)
        assert one.genotype == two.genotype
        assert one.finals == two.finals
        assert one.links[1:] == two.links[1:]
        (record,) = map(Path, (done / "s" / link / "run.json" for link in one.links[1:]))
        assert len(json.loads(record.read_text())["starts"]) == 1


@pytest.mark.slow
def test_a_supernet_scores_a_random_cell_as_if_it_had_found_it(
    done: Path, work: Path, nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(done)  # where the run directory lies
    # the test of a search takes the cells that alpha and beta say: make them say the random cell
    folder = done / "s/searches/pcdarts/seed_0"
    last = folder / "checkpoints/last.ckpt"
    module = SearchModule.load_from_checkpoint(last, weights_only=True)
    for number in (0, 1):
        cell = Genotype.load(done / f"s/random/cell_{number}.json")
        mixing = one_hot(module.space, cell, torch.device("cpu"))
        for kind in module.space.kinds:
            module.arch.alpha[kind].data = 40 * mixing.ops[kind]
            module.arch.beta[kind].data = 40 * mixing.edges[kind]
        steered = {**torch.load(last, weights_only=True), "state_dict": module.state_dict()}
        torch.save(steered, work / "steered.ckpt")
        tested = nas(f"test --config {folder / 'config.yaml'} --ckpt_path {work}/steered.ckpt").out
        score = run_of(done / "s", "pcdarts", 0).scores[number]
        assert score == pytest.approx(metric(tested, "one_shot/test_accuracy"))


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_resumes(work: Path) -> None:
    long = STUDY.replace("--jobs 2", "--jobs 1 --search.trainer.max_epochs 60")
    process = start(long, work)
    checkpoint = work / "s/searches/pcdarts/seed_0/checkpoints/last.ckpt"
    until = time.monotonic() + 300
    while not checkpoint.exists():
        assert process.poll() is None, (work / "said.txt").read_text()
        assert time.monotonic() < until
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(timeout=300) == 130
    assert "the same command resumes it" in (work / "said.txt").read_text()
    record = json.loads((work / "s/searches/pcdarts/seed_0/run.json").read_text())
    assert record["starts"][-1]["outcome"] == "stopped"
    assert not list(work.glob("s/**/failure.json"))


# -- in this process -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", signals.ALL)
def test_a_stop_is_reported_with_the_code_of_its_signal(
    number: int, work: Path, nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise ProcessesStoppedError(number)

    monkeypatch.setattr("nas_lightning.studies.run.run_in_processes", stopped)
    result = nas(STUDY)
    assert result.code == 128 + number
    assert result.err.strip() == "nas: s is stopped; the same command resumes it"


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no report: drawing it takes seconds, and test_report_missing.py has such reports."""
    monkeypatch.setattr("nas_lightning.studies.run.report_study", str)


@pytest.mark.usefixtures("in_this_process", "without_report")
def test_failures_are_reported_and_tried_again_on_request(work: Path, nas: Nas) -> None:
    (work / "broken.yaml").write_text(BROKEN)
    line = (
        "study --config search.yaml --config broken=search.yaml,broken.yaml --retrain retrain.yaml "
        "--seeds 1 --random 0 --dir s"
    )

    def starts() -> int:
        record = (work / "s/searches/broken/seed_0/run.json").read_text()
        return len(json.loads(record)["starts"])

    result = nas(line)
    assert result.code == 1
    assert "broken 0 failed: " in result.err
    assert "not finite" in result.err
    assert "--retry-failed" in result.err
    assert run_of(work / "s", "search", 0).final is not None  # the others continue
    failed = run_of(work / "s", "broken", 0)
    assert failed.final is None
    assert len(failed.failures) == 1
    assert starts() == 1
    assert nas(line).code == 1
    assert starts() == 1  # left alone
    assert nas(f"{line} --retry-failed").code == 1
    assert starts() == 2


@pytest.mark.usefixtures("in_this_process", "without_report")
def test_it_grows_and_keeps_its_results(work: Path, nas: Nas) -> None:
    line = "study --config search.yaml --retrain retrain.yaml --random 0 --dir s"
    assert nas(f"{line} --seeds 1").code == 0
    kept = work / "s/searches/search/seed_0/result.json"
    before = kept.stat().st_mtime_ns
    result = nas(f"{line} --seeds 2 --retrain-seeds 2")
    assert result.code == 0, result.err
    assert kept.stat().st_mtime_ns == before
    assert [len(run.finals) for run in read_results(work / "s").runs] == [2, 2]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("--search.model.typo 1", "typo"),
        ("--metric psnr", "accuracy"),
        ("--retrain search.yaml", "is not a retraining"),
        ("--config retrain.yaml", "a genotype file or a published name is required"),
        ("--config retrain.yaml,cell.yaml", "--config retrain.yaml,cell.yaml is not a search"),
        ("--random 3", "random cells"),
        ("--search.trainer.max_epochs 2", "the method search"),
    ],
)
def test_errors_are_reported_before_anything_runs(
    more: str, reason: str, work: Path, nas: Nas
) -> None:
    (work / "cell.yaml").write_text("model: {init_args: {genotype: DARTS_V2}}\n")
    line = "--config search.yaml --retrain retrain.yaml --seeds 1 --random 2 --dir s"
    given = read(line.split())
    given.folder.mkdir()
    assert begin(given.folder, prepare(given.study)).metric == "accuracy"
    result = nas(f"study {line} {more}")
    assert result.code == 2
    assert reason in result.err
    assert not (work / "s" / "searches").exists()
