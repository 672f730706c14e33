"""`nas info RUN_DIR`."""

import json

from tests.cli.conftest import Nas


def test_a_run_is_summed_up(nas: Nas) -> None:
    assert nas("fit --config search --trainer.max_epochs 2").code == 0
    shown = nas("info runs/search")
    assert shown.code == 0, shown.err
    lines = dict(line.split(maxsplit=1) for line in shown.out.splitlines() if line)
    assert lines["run"].startswith("search, seed 0, configuration ")
    assert lines["outcome"] == "finished"
    assert float(lines["search/val_accuracy"]) >= 0
    assert not [name for name in lines if name.startswith("alpha")]
    run = json.loads(nas("info runs/search --json").out)
    assert run["metrics"]["search/val_loss"] == float(f"{run['metrics']['search/val_loss']}")
    assert len(run["starts"]) == 1


def test_a_folder_without_a_run_is_said(nas: Nas) -> None:
    result = nas("info .")
    assert result.code == 2
    assert "holds no run: there is no run.json" in result.err


def test_a_configuration_is_recognised_by_its_hash_wherever_it_runs(nas: Nas) -> None:
    hashes = []
    for line in ("--run_dir a", "--run_dir b", "--run_dir c --data.batch_size 4"):
        assert nas(f"fit --config search {line}").code == 0
        hashes.append(json.loads(nas(f"info {line.split()[1]} --json").out)["config_hash"])
    assert hashes[0] == hashes[1] != hashes[2]
