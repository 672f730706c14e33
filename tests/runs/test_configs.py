"""Copies of shipped configurations."""

import errno
from pathlib import Path

import pytest

from nas_lightning.runs.configs import copy_config, find_shipped


def test_a_copy_is_the_shipped_file(tmp_path: Path) -> None:
    copied = copy_config("digits_idarts", tmp_path / "new")
    assert copied.read_bytes() == find_shipped("digits_idarts").read_bytes()


def test_a_full_disk_leaves_no_half_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, *_: object, **__: object) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(OSError, match="No space left") as raised:
        copy_config("digits_idarts", tmp_path)
    assert raised.value.filename == str(tmp_path / "digits_idarts.yaml")  # and not its source
    assert not list(tmp_path.iterdir())
