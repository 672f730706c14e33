"""A study as a job array: the same results as on one machine, and a report after it."""

import json
from pathlib import Path

import pytest

from tests.faults.test_kill_study import facts
from tests.slurm.cluster import Cluster, wait_for
from tests.studies.test_study import STUDY, call, write_configurations

pytestmark = pytest.mark.slurm


def test_a_study_as_a_job_array(cluster: Cluster, tmp_path: Path) -> None:
    write_configurations(tmp_path)
    shown = cluster.run(
        *("nas", *STUDY.replace("--jobs 2", "").replace("--random 2", "--random 1").split()),
        *("--slurm", "--gpus", "0", "--cpus-per-task", "1", "--time", "20"),
        cwd=tmp_path,
    )
    rows = dict(line.split(maxsplit=1) for line in shown.splitlines())
    number = rows["array"].partition(",")[0]
    assert "5 jobs" in rows["array"]
    page = tmp_path / "s" / "report.html"
    wait_for(page.exists, f"the report of array {number}", limit=500)
    line = STUDY.replace("--dir s", "--dir here").replace("--random 2", "--random 1")
    code, said = call(line, tmp_path)
    assert code == 0, said
    assert facts(tmp_path / "s") == facts(tmp_path / "here")
    # each line was a job of its own
    records = [json.loads(path.read_text()) for path in tmp_path.glob("s/searches/*/*/run.json")]
    assert len({record["starts"][0]["job"] for record in records}) == 4
