"""A checkpoint that cannot be read for a moment is not damaged, and nothing is renamed."""

import errno
import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_lightning.errors import CheckpointError, CheckpointUnreadableError
from nas_lightning.training import checkpoints
from nas_lightning.training.checkpoints import Last, WholeCheckpoints, read_checkpoint, stamp
from tests.cli.conftest import LONG, Nas
from tests.runs.test_runs import hashes

MOMENTARY = ("EIO", "EACCES", "EPERM", "ESTALE", "ENOMEM", "EMFILE", "ENFILE", "ETIMEDOUT", "ELOOP")
PLACES = random.Random(1)


class Breaks(io.BytesIO):
    """A file whose reads fail."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(self.number, os.strerror(self.number))


def fails_to_open(number: int) -> Callable[[Path], io.BytesIO]:
    """Return an `open` that fails for `last.ckpt`."""

    def open_file(path: Path) -> io.BytesIO:
        if path.name == "last.ckpt":
            raise OSError(number, os.strerror(number), str(path))
        return io.BytesIO(path.read_bytes())

    return open_file


def fails_to_read(number: int) -> Callable[[Path], io.BytesIO]:
    """Return an `open` after which reading `last.ckpt` fails."""

    def open_file(path: Path) -> io.BytesIO:
        return Breaks(number) if path.name == "last.ckpt" else io.BytesIO(path.read_bytes())

    return open_file


@pytest.fixture
def files(tmp_path: Path) -> Last:
    """The last two checkpoints, both whole."""
    found = Last(tmp_path)
    for number in range(2):
        checkpoint: dict[str, Any] = {"state_dict": torch.nn.Linear(2, 3).state_dict()}
        stamp(checkpoint, "search", "darts")
        torch.save(checkpoint | {"number": number}, found.new)
        found.promote()
    return found


@pytest.mark.parametrize("name", MOMENTARY)
@pytest.mark.parametrize("way", [fails_to_open, fails_to_read])
def test_the_system_says_why_and_the_one_before_is_not_taken(
    way: Callable[[int], Any], name: str, files: Last, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = getattr(errno, name)
    monkeypatch.setattr(checkpoints, "open_ordinary", way(number))
    for read in (lambda: read_checkpoint(files.last), files.newest):
        with pytest.raises(CheckpointUnreadableError) as error:
            read()
        message = str(error.value)
        assert message.startswith(f"cannot read the checkpoint {files.last}: {os.strerror(number)}")
        assert "start again with the same command" in message
        assert not any(word in message for word in ("truncated", "damaged", "\n"))
    with pytest.raises(CheckpointUnreadableError):
        WholeCheckpoints().load_checkpoint(files.last)


@pytest.mark.parametrize("option", ["last", "auto"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_resume_ends_with_an_error_and_changes_nothing(
    option: str, number: int, nas: Nas, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(whole)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "open_ordinary", fails_to_open(number))
        result = nas(f"{LONG} --run_dir whole --ckpt_path {option}")
    assert result.code == 1
    assert result.err.startswith("nas: cannot read the checkpoint whole/checkpoints/last.ckpt: ")
    assert len(result.err.splitlines()) == 1
    assert hashes(whole) == before


def test_a_lack_of_memory_is_not_damage(files: Last, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(CheckpointUnreadableError, match="Cannot allocate memory"):
        files.newest()


def test_a_flipped_bit_is_found_or_changes_nothing(files: Last) -> None:
    """Not every bit of an archive counts: the times of its members do not."""
    whole, content = files.last.read_bytes(), read_checkpoint(files.last)
    damaged = 0
    for place in (*PLACES.sample(range(len(whole)), 150), 0, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << PLACES.randrange(8)
        files.last.write_bytes(flipped)
        try:
            found = read_checkpoint(files.last)
        except CheckpointError:
            damaged += 1
        else:
            assert found["number"] == content["number"]
            for name, value in content["state_dict"].items():
                assert torch.equal(found["state_dict"][name], value)
    assert damaged > 20


def test_content_that_was_read_is_handed_out_once(files: Last) -> None:
    content = read_checkpoint(files.last)
    writer = WholeCheckpoints({files.last: content})
    assert writer.load_checkpoint(str(files.last)) is content
    assert writer.load_checkpoint(files.last) is not content
