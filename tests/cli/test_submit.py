"""`nas submit`: the checks before it, the script, and the shipped scripts, which are equal."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas_lightning.runs.configs import scripts
from nas_lightning.runs.submission import run_here
from nas_lightning.slurm.batch_script import Request, seconds
from tests.cli.conftest import Nas

LINE = "submit --config search --dry-run"


def directives(text: str) -> dict[str, str]:
    """The lines `#SBATCH --name=value` of a script."""
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines()]
    given = [line for before, line in zip(text.splitlines(), lines, strict=True) if before != line]
    return {name: value for name, _, value in (line.partition("=") for line in given)}


def command(text: str) -> list[str]:
    """The words of a script's call of srun."""
    body = text.replace("\\\n", " ")
    found = next(line for line in body.splitlines() if line.startswith("srun "))
    return found.replace('"', "").split()


def test_the_script_asks_for_what_was_asked(nas: Nas) -> None:
    more = "--nodes 2 --gpus 4 --cpus-per-task 6 --time 2-12 --lead 120 --partition p --account a"
    result = nas(f"{LINE} {more} --mem 64G --name n --folder logs")
    assert result.code == 0, result.err
    assert directives(result.out) == {
        "job-name": "n",
        "partition": "p",
        "account": "a",
        "nodes": "2",
        "ntasks-per-node": "4",
        "gpus-per-node": "4",
        "cpus-per-task": "6",
        "mem": "64G",
        "time": "2-12",
        "signal": "USR1@120",  # without B: it would go to the shell alone
        "requeue": "",
        "open-mode": "append",
        "output": "logs/%j.out",
    }
    assert command(result.out) == [
        *("srun", "--kill-on-bad-exit=1", "--cpus-per-task=$SLURM_CPUS_PER_TASK"),
        *("nas", "fit", "--config", "search", "--trainer.devices", "4"),
        *("--trainer.num_nodes", "2", "--ckpt_path", "auto"),
    ]


def test_a_job_on_cpus(nas: Nas) -> None:
    result = nas(f"{LINE} --gpus 0 --tasks-per-node 3")
    found = directives(result.out)
    assert found["ntasks-per-node"] == "3"
    assert "gpus-per-node" not in found
    assert "mem" not in found
    assert found["output"] == "runs/search/logs/%j.out"
    assert found["job-name"] == "search"
    words = command(result.out)
    assert words[words.index("--trainer.accelerator") + 1] == "cpu"
    assert words[words.index("--trainer.devices") + 1] == "3"


def test_further_options_come_last_and_win(nas: Nas) -> None:
    result = nas(f"{LINE} -- --run_dir runs/other --ckpt_path auto --data.batch_size 4")
    assert command(result.out)[-6:] == (
        ["--run_dir", "runs/other", "--ckpt_path", "auto", "--data.batch_size", "4"]
    )
    assert command(result.out).count("--ckpt_path") == 1
    assert directives(result.out)["output"] == "runs/other/logs/%j.out"


def test_the_script_is_one_that_bash_reads(nas: Nas, work: Path) -> None:
    """And words with blanks reach the program whole."""
    words = work / "words"
    for name, text in (("srun", '#!/bin/sh\nshift 2; exec "$@"\n'), ("nas", "")):
        program = work / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text or f'#!/bin/sh\nprintf "%s\\n" "$@" > {words}\n')
        program.chmod(0o755)
    result = nas(LINE, "--", "--run_dir", "runs/a b")
    assert result.code == 0, result.err
    script = work / "job.sbatch"
    # nas of the test in place of that of the environment
    script.write_text(re.sub(r"^export PATH=.*$", "", result.out, flags=re.MULTILINE))
    path = f"{work / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-eu", script], env={"PATH": path, "SLURM_CPUS_PER_TASK": "8"}, check=True
    )
    assert words.read_text().splitlines()[-2:] == ["--run_dir", "runs/a b"]


def test_nothing_is_written(nas: Nas, work: Path) -> None:
    assert nas(LINE).code == 0
    assert not (work / "runs").exists()


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("submit", ["--config"]),
        ("submit --config serch", ["serch", "did you mean search.yaml"]),
        ("submit --config search -- --model.supernet.channel 4", ["channel", "channels"]),
        ("submit --config search -- --trainer.devices 2", ["trainer.devices is 2", "has 8"]),
        ("submit --config search -- --trainer.num_nodes 2", ["num_nodes is 2", "has 1"]),
        ("submit --config search --gpus 2 --tasks-per-node 4", ["--gpus 0 only"]),
        ("submit --config search --time soon", ["--time soon", "hours:minutes:seconds"]),
        ("submit --config search --time 5", ["--time 5 is too short", "300 s", "--lead"]),
        ("submit --config search --node 2", ["--node", "'nodes'"]),
        ("submit --config search -- --run_dir runs/default", ["--run_dir runs/NAME"]),
        ("submit --config search -- --ckpt_path last", ["--ckpt_path last", "runs/search"]),
        ("submit --config search --gpus 0", ["no sbatch here", "--dry-run"]),
    ],
)
def test_what_is_wrong_is_reported_before(
    nas: Nas, monkeypatch: pytest.MonkeyPatch, line: str, fragments: list[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    result = nas(line)
    assert result.code == 2, result.out
    assert len(result.err.splitlines()) == 1
    assert all(fragment in result.err for fragment in fragments), result.err
    assert not Path("runs").exists()


def test_a_run_directory_that_is_taken(nas: Nas, work: Path) -> None:
    (work / "runs/search/checkpoints").mkdir(parents=True)
    (work / "runs/search/config.yaml").touch()
    result = nas(LINE)
    assert result.code == 2
    assert "already holds a run: remove it, or choose another" in result.err
    assert nas(f"{LINE} -- --ckpt_path auto").code == 0


def test_without_submitit(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    result = nas("submit --config search")
    assert result.code == 2
    assert "pip install 'nas-lightning[slurm]'" in result.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("2:00:30", 7230),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-0:0:1", 86401),
    ],
)
def test_times_are_read_as_sbatch_does(text: str, expected: int) -> None:
    assert seconds(text) == expected
    assert Request("n", "logs", time=text, lead=1).time == text


def test_a_failed_run_ends_its_process_with_its_code(work: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_here(["fit", "--config", "serch"])
    assert stopped.value.code == 2


# -- through submitit ------------------------------------------------------------------------------


@pytest.fixture
def sbatch(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for sbatch, to be completed by the test; srun is only looked for."""
    for name in ("sbatch", "srun"):
        program = work / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(work / "bin"), prepend=os.pathsep)
    return work / "bin" / "sbatch"


def test_submitit_asks_for_the_same(nas: Nas, work: Path, sbatch: Path) -> None:
    sbatch.write_text(f'#!/bin/sh\ncp "$1" {work}/script\necho Submitted batch job 42\n')
    options = "--nodes 2 --gpus 4 --time 2-12 --partition p --account a"
    result = nas(f"submit --config search {options}")
    assert result.code == 0, result.err
    script = (work / "script").read_text("utf-8")
    plain = nas(f"{LINE} {options}").out
    mine, theirs = (without(directives(text), "output", "wckey") for text in (plain, script))
    assert mine == theirs
    words = command(script)
    assert "--kill-on-bad-exit=1" in words
    assert "--cpus-per-task=8" in words
    rows = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert rows["job"] == "42"
    assert rows["log"] == str(work / "runs/search/logs/42_0_log.out")
    assert "scancel --signal=TERM 42" in result.out


def test_a_refusal_of_slurm_is_reported(nas: Nas, sbatch: Path) -> None:
    sbatch.write_text(
        "#!/bin/sh\necho 'sbatch: error: invalid\npartition specified: p' >&2\nexit 1\n"
    )
    result = nas("submit --config search --partition p")
    assert result.code == 1
    last = result.err.splitlines()[-1]  # submitit passes on what sbatch says
    assert last == "nas: SLURM refused the job: sbatch: error: invalid partition specified: p"


# -- the shipped scripts ---------------------------------------------------------------------------


def without(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


@pytest.mark.parametrize(("name", "nodes"), [("one_node", 1), ("many_nodes", 4)])
def test_the_shipped_scripts_are_what_submit_makes(nas: Nas, name: str, nodes: int) -> None:
    shipped = scripts()[f"slurm/{name}.sbatch"].read_text("utf-8")
    made = nas(f"submit --config imagenet_pcdarts --nodes {nodes} --dry-run")
    assert made.code == 0, made.err
    # a folder for logs would have to be there before sbatch is called
    assert without(directives(shipped), "output") == without(directives(made.out), "output")
    numbers = {
        "$SLURM_NTASKS_PER_NODE": directives(made.out)["ntasks-per-node"],
        "$SLURM_NNODES": directives(made.out)["nodes"],
    }
    words = [numbers.get(word, word) for word in command(shipped)]
    assert words == [*command(made.out), "$@"]
    subprocess.run(["bash", "-n", scripts()[f"slurm/{name}.sbatch"]], check=True)


@pytest.mark.parametrize("name", ["one_node", "one_node.sbatch", "slurm/one_node.sbatch"])
def test_scripts_are_shown_and_copied(nas: Nas, work: Path, name: str) -> None:
    text = scripts()["slurm/one_node.sbatch"].read_text("utf-8")
    assert nas(f"configs show {name}").out == text
    assert nas(f"configs copy {name} mine").code == 0
    assert (work / "mine/one_node.sbatch").read_text("utf-8") == text
    listed = " ".join(nas("configs list").out.split())
    assert "slurm/many_nodes.sbatch A search on ImageNet on four nodes" in listed


def test_a_script_is_no_configuration(nas: Nas) -> None:
    result = nas("fit --config one_node")
    assert result.code == 2
    assert "no configuration 'one_node'" in result.err


def test_the_scripts_name_a_configuration_of_eight_gpus(nas: Nas) -> None:
    """So that the one-node script, taken as it is, starts what the configuration expects."""
    from nas_lightning.runs.configs import shipped

    trainer = yaml.safe_load(shipped()["imagenet_pcdarts.yaml"].read_text("utf-8"))["trainer"]
    assert (trainer["devices"], trainer["num_nodes"]) == (8, 1)
    assert directives(scripts()["slurm/one_node.sbatch"].read_text())["ntasks-per-node"] == "8"
