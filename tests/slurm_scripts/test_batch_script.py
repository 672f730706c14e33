"""Job scripts of hostile values: bash and sbatch read each value whole, and nothing else."""

import os
import shlex
import string
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nas_lightning.errors import UsageError
from nas_lightning.slurm.batch_script import Request, directive, quote, script

HOSTILE = (
    "plain",
    "two words",
    "  blanks  ",
    "it's",
    'say "x"',
    "$HOME",
    "$(touch PWNED)",
    "`touch PWNED`",
    "a; touch PWNED",
    "a && touch PWNED #",
    "a | touch PWNED",
    "100%j%%",
    "#SBATCH --wrap=touch",
    "a#b # c",
    "--partition=x",
    "x' --comment='y",
    "τ-köln-東京",
    "*?[a]{b,c}~!",
    "(a)<b>&",
    "=:,./@",
)
REFUSED = ("a\nb", "a\n#SBATCH --wrap=x", "a\rb", "a\tb", "a\x00b", "a\x1b[2Jb", "", "  ", "\udcff")


def sbatch_reads(line: str) -> list[str]:
    """The arguments that sbatch reads from a line `#SBATCH …`, as SLURM's opt.c describes it."""
    words: list[str] = []
    word, quoted, escaped, open_word = "", "", False, False
    for character in line.removeprefix("#SBATCH"):
        if escaped:
            word, escaped, open_word = word + character, False, True
        elif character == "\\":
            escaped = True
        elif quoted:
            word, quoted = (word, "") if character == quoted else (word + character, quoted)
        elif character in "'\"":
            quoted, open_word = character, True
        elif character == "#":
            break
        elif character in string.whitespace:
            words, word, open_word = ([*words, word] if open_word else words), "", False
        else:
            word, open_word = word + character, True
    assert not quoted
    return [*words, word] if open_word else words


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an srun that writes its arguments, divided by NUL, to the file `words`."""
    folder = tmp_path_factory.mktemp("stubs")
    (folder / "srun").write_text('#!/bin/sh\nprintf "%s\\0" "$@" > words\n')
    (folder / "srun").chmod(0o755)
    return folder


def run(text: str, stubs: Path, folder: Path) -> list[str]:
    """Run a script in a folder, and return the arguments of srun."""
    (folder / "job").write_text(text, encoding="utf-8")
    environment = {"PATH": f"{stubs}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "8"}
    subprocess.run(["bash", "-n", "job"], cwd=folder, check=True)
    subprocess.run(["bash", "-eu", "job"], cwd=folder, env=environment, check=True)
    assert {path.name for path in folder.iterdir()} == {"job", "words"}
    return (folder / "words").read_bytes().decode().split("\0")[2:-1]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_reaches_the_program_and_slurm_whole(
    value: str, stubs: Path, tmp_path: Path
) -> None:
    request = Request(value, f"runs/{value}/logs", partition=value, account=value, memory=value)
    command = ["nas", "fit", "--run_dir", value, "--config", f"run_dir:\n  {value}\t\x1b[0m"]
    text = script(request, command, f"/opt/{value}", ["nas", *command])
    assert run(text, stubs, tmp_path) == command
    lines = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    given = dict(part.partition("=")[::2] for line in lines for part in sbatch_reads(line))
    assert len(given) == len(lines) == len(request.directives())
    expected = {"--job-name": value, "--partition": value, "--account": value, "--mem": value}
    expected["--output"] = f"runs/{value.replace('%', '%%')}/logs/%j.out"
    assert {name: given[name] for name in expected} == expected
    # and the two lines of comments hold no third
    assert [line[:2] for line in text.splitlines()[:3]] == ["#!", "# ", "# "]
    assert text.splitlines()[3].startswith("#SBATCH")


@pytest.mark.parametrize("value", REFUSED)
@pytest.mark.parametrize("field", ["name", "logs", "partition", "account", "memory", "time"])
def test_a_value_that_would_be_a_line_of_its_own_is_refused(field: str, value: str) -> None:
    fields = {"name": "n", "logs": "l", field: value}
    with pytest.raises(UsageError, match=r"for SLURM (is empty|holds a control|is not UTF-8)"):
        Request(**fields)  # type: ignore[arg-type] # texts only


def test_a_backslash_in_the_folder_of_logs_is_refused() -> None:
    """SLURM takes it as a mark, and would write one log for all jobs."""
    with pytest.raises(UsageError, match="backslash"):
        Request("n", "runs/a\\b/logs")


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(texts, min_size=1, max_size=20))
@example(["a\\'b\n", "\x7f1", "\u202ea", "\x85", ""])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_shell_reads_any_word_back(words: list[str]) -> None:
    line = " ".join(map(quote, words))
    assert len(line.splitlines()) <= 1
    done = subprocess.run(["bash", "-c", f'printf "%s\\0" {line}'], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1))
def test_sbatch_reads_any_value_back(value: str) -> None:
    assert sbatch_reads(directive("name", value)) == [f"--name={value}"]
    assert sbatch_reads(f"#SBATCH --name={shlex.quote(value.replace(chr(92), ''))}") == [
        f"--name={value.replace(chr(92), '')}"
    ]
