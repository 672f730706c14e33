"""The commit of a folder, and that nothing of a foreign repository runs to find it."""

import os
import subprocess
from pathlib import Path

import pytest

from nas_lightning.runs.revision import git_revision


def git(folder: Path, *words: str) -> str:
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", "-C", str(folder), *name, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "file").write_text("1")
    git(folder, "add", "file")
    git(folder, "commit", "-qm", "first")
    return folder


def test_the_revision_of_a_checkout(checkout: Path, tmp_path: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert git_revision(checkout) == head
    (checkout / "new").write_text("1")
    assert git_revision(checkout) == head  # only files of the commit count
    (checkout / "file").write_text("2")
    assert git_revision(checkout) == f"{head}+"
    assert git_revision(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_revision(tmp_path) is None  # no commit yet


def traps(folder: Path, script: Path) -> None:
    """Name a program wherever a repository's own files can name one."""
    hooks = folder / ".git" / "hooks"
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (hooks / name).symlink_to(script)
    for key in (
        "core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "core.askPass",
        "core.gitProxy", "core.alternateRefsCommand", "diff.external", "diff.evil.textconv",
        "diff.evil.command", "filter.evil.clean", "filter.evil.smudge", "filter.a b.process",
        "interactive.diffFilter", "credential.helper", "gpg.program", "uploadpack.packObjectsHook",
        "pager.status", "alias.status", "alias.config", "alias.rev-parse", "merge.evil.driver",
    ):  # fmt: skip
        value = f"!{script}" if key.startswith("alias") else str(script)
        git(folder, "config", key, value)
    git(folder, "config", "core.hooksPath", str(hooks))
    (folder / ".git" / "included").write_text(f'[filter "third"]\n\tclean = {script}\n')
    git(folder, "config", "include.path", "included")
    for number, name in enumerate(("evil", "a b", "third")):
        git(folder, "config", f"filter.{name}.required", "true")
        with (folder / ".git" / "info" / "attributes").open("a") as file:
            file.write(f"file{number} filter={name.replace(' ', '_')} diff=evil merge=evil\n")
    (folder / ".gitattributes").write_text("* filter=evil diff=evil\n")


def test_no_program_of_the_repository_runs(checkout: Path, tmp_path: Path) -> None:
    for number in range(3):
        (checkout / f"file{number}").write_text("1")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "second")
    head = git(checkout, "rev-parse", "HEAD")
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho $0 >> {tmp_path}/ran\ncat\n")
    script.chmod(0o755)
    traps(checkout, script)
    for path in checkout.glob("file*"):  # so that git compares contents
        os.utime(path, (1, 1))
    index = (checkout / ".git" / "index").read_bytes()
    assert git_revision(checkout) == head
    (checkout / "file1").write_text("2")
    assert git_revision(checkout / ".git" / "..") == f"{head}+"
    assert not (tmp_path / "ran").exists()
    assert (checkout / ".git" / "index").read_bytes() == index
    # the traps work: git itself runs them
    subprocess.run(["git", "-C", str(checkout), "status"], capture_output=True, check=False)
    assert "script" in (tmp_path / "ran").read_text()


def test_a_folder_that_only_looks_like_a_repository(checkout: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    git(tmp_path, "clone", "-q", "--bare", str(checkout), str(bare))
    assert git_revision(bare) is None


def test_a_filter_whose_name_no_option_can_hold(checkout: Path) -> None:
    with (checkout / ".git" / "config").open("a") as file:
        file.write('[filter "a=b"]\n\tclean = cat\n')
    assert git_revision(checkout) == f"{git(checkout, 'rev-parse', 'HEAD')}?"
