"""Chains of searches: in a study, and one command after the other."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from nas_lightning.architecture import Genotype
from nas_lightning.cli.study import read
from nas_lightning.signals import RunInterruptedError
from nas_lightning.studies.prepare import prepare
from nas_lightning.studies.results import read_results
from tests.cli.conftest import Nas
from tests.studies.test_study import write_configurations

CHAIN = """\
model: {init_args: {strategies: [{class_path: SkipDropout, init_args: {rate: 0.5, frozen: 0}}]}}
chain:
- model:
    init_args:
      supernet: {init_args: {channels: 4}}
      strategies: [{class_path: KeepOperations, init_args: {keep: 3}}]
- model:
    init_args:
      supernet: {init_args: {layers: 4}}
      strategies:
      - {class_path: SkipCap, init_args: {most: 1}}
      - {class_path: KeepOperations, init_args: {keep: 2}}
"""
LINE = (
    "study --config small=search.yaml,chain.yaml --retrain retrain.yaml --seeds 1 --random 1 "
    "--dir s"
)


@pytest.fixture
def work(work: Path) -> Path:
    """Also with a chain."""
    write_configurations(work)
    (work / "chain.yaml").write_text(CHAIN)
    return work


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no report: drawing it takes seconds."""
    monkeypatch.setattr("nas_lightning.studies.run.report_study", str)


def starts(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "run.json").read_text())["starts"]
    return found


def runs(work: Path) -> list[Path]:
    """The run directories of the chain, in order."""
    last = work / "s/searches/small/seed_0"
    return [last / "link_1", last / "link_2", last]


@pytest.mark.usefixtures("in_this_process", "without_report")
def test_each_search_begins_from_what_the_one_before_kept(work: Path, nas: Nas) -> None:
    result = nas(LINE)
    assert result.code == 0, result.err
    sets: list[Any] = []
    for run in runs(work):
        genotype = Genotype.load(run / "genotype.json")
        sets.append(genotype.provenance.get("candidates"))
        assert genotype.provenance["seed"] == "0"
    assert sets[0] is None
    for kind, edges in sets[2].items():
        for edge, names in edges.items():
            assert (len(sets[1][kind][edge]), len(names)) == (3, 2)
            assert set(names) < set(sets[1][kind][edge])
    # the settings of a search hold in those after it
    sizes = [Genotype.load(run / "genotype.json").provenance["settings"] for run in runs(work)]
    assert [(size["channels"], size["layers"]) for size in sizes] == [(8, 3), (4, 3), (4, 4)]
    (found, _) = read_results(work / "s").runs
    assert found.genotype == Genotype.load(runs(work)[2] / "genotype.json")
    assert found.final is not None
    assert found.one_shot is not None
    seconds = [start["seconds"] for run in runs(work) for start in starts(run)]
    assert len(seconds) == 3
    assert found.search_seconds == pytest.approx(sum(seconds))
    assert nas(LINE).code == 0
    assert [len(starts(run)) for run in runs(work)] == [1, 1, 1]


@pytest.mark.long
@pytest.mark.usefixtures("in_this_process", "without_report")
def test_one_command_after_the_other_is_the_same(work: Path, nas: Nas) -> None:
    """Each search prints the command of the next; a file that is gone is not missed."""
    assert nas(LINE).code == 0
    line = "fit --config search.yaml --config chain.yaml --run_dir runs/a"
    for folder, study in zip(("a", "a_link_2", "a_link_3"), runs(work), strict=True):
        result = nas(line)
        assert result.code == 0, result.err
        alone = Genotype.load(work / "runs" / folder / "genotype.json")
        other = Genotype.load(study / "genotype.json")
        assert (alone, alone.mixing) == (other, other.mixing)
        said = [row for row in result.out.splitlines() if " fit --" in row]
        line = shlex.join(shlex.split(said[0].partition(" fit ")[2]))
        line = f"fit {line}"
        assert said[0].startswith("retrain it" if folder == "a_link_3" else "go on with")
    assert "--model.genotype runs/a_link_3/genotype.json" in line
    (work / "runs/a/genotype.json").unlink()
    resumed = nas("fit --config runs/a_link_2/config.yaml --ckpt_path last --trainer.max_epochs 2")
    assert resumed.code == 0, resumed.err
    assert "model.strategies.KeepOperations.genotype runs/a cannot be read" in resumed.err
    tested = nas("test --config runs/a_link_2/config.yaml")
    assert tested.code == 0, tested.err


@pytest.mark.long
@pytest.mark.usefixtures("in_this_process", "without_report")
def test_a_search_that_fails_fails_the_chain_and_is_tried_again(work: Path, nas: Nas) -> None:
    optimizer = {"class_path": "torch.optim.SGD", "init_args": {"lr": 1e30}}
    links = [
        {"model": {"init_args": {"strategies": [keep(3)], "weight_optimizer": optimizer}}},
        {"model": {"init_args": {"strategies": [keep(2)]}}},
    ]
    (work / "chain.yaml").write_text(json.dumps({"chain": links}))
    result = nas(LINE)
    assert result.code == 1
    assert "small 0 failed: search 2 of 3: " in result.err
    assert "not finite" in result.err
    assert not (runs(work)[2] / "run.json").exists()
    assert nas(LINE).code == 1
    assert [len(starts(run)) for run in runs(work)[:2]] == [1, 1]  # left alone
    assert nas(f"{LINE} --retry-failed").code == 1
    assert [len(starts(run)) for run in runs(work)[:2]] == [1, 2]


def keep(number: int) -> dict[str, Any]:
    return {"class_path": "KeepOperations", "init_args": {"keep": number}}


@pytest.mark.long
@pytest.mark.usefixtures("in_this_process", "without_report")
def test_a_chain_that_was_stopped_goes_on_where_it_was(
    work: Path, nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise RunInterruptedError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr("nas_lightning.studies.lines._search", stop)
        assert nas(LINE).code == 130
    assert not (runs(work)[2] / "failure.json").exists()
    result = nas(LINE)
    assert result.code == 0, result.err
    assert [len(starts(run)) for run in runs(work)] == [1, 1, 1]


def digest(work: Path, text: str = CHAIN) -> str:
    (work / "chain.yaml").write_text(text)
    return prepare(read(LINE.split()[1:]).study).study.methods[0].digest


def test_the_content_of_the_chain_is_part_of_the_plan(work: Path) -> None:
    before = digest(work)
    assert digest(work) == before
    assert digest(work, CHAIN.replace("keep: 2", "keep: 3")) != before
    assert digest(work, CHAIN.replace("layers: 4", "layers: 5")) != before
    alone = digest(work, CHAIN[: CHAIN.index("chain:")])
    assert alone not in (before, digest(work, CHAIN.replace("channels: 4", "channels: 2")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            CHAIN.replace("KeepOperations, init_args: {keep: 3}", "EdgeNormalization"),
            "search 2 of the chain search.yaml,chain.yaml: its last strategy must be KeepOperation",
        ),
        (
            CHAIN.replace("layers: 4", "layrs: 4"),
            "search 3 of the chain search.yaml,chain.yaml: ",
        ),
        (CHAIN.replace("keep: 2", "keep: 0"), "keep must be at least 1, found 0"),
        (CHAIN.replace("nodes: 2", "nodes: 3").replace("channels: 4", "nodes: 3"), "same space in"),
        ("chain: 3\n", "chain: expected a list, found 3"),
        ("chain: [fit]\n", "chain: expected a mapping, found 'fit'"),
    ],
)
def test_what_is_wrong_in_a_chain_is_said_in_one_line(
    text: str, message: str, work: Path, nas: Nas
) -> None:
    (work / "chain.yaml").write_text(text)
    result = nas(LINE)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (work / "s/searches").exists()
