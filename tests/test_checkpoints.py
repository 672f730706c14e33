import os
import pickle
import random
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_lightning.errors import CheckpointError, CheckpointUnreadableError
from nas_lightning.training.checkpoints import Last, WholeCheckpoints, read_checkpoint, stamp
from nas_lightning.training.compatibility import check
from tests.processes import start


def content() -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"state_dict": torch.nn.Linear(2, 3).state_dict()}
    stamp(checkpoint, "search", "darts")
    return checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save(content(), tmp_path / "some.ckpt")
    return tmp_path / "some.ckpt"


def test_a_whole_checkpoint_is_read(path: Path) -> None:
    read = read_checkpoint(path)
    assert read["nas_lightning"]["kind"] == "search"
    assert read["state_dict"]["weight"].shape == (3, 2)
    assert read_checkpoint(str(path)).keys() == read.keys()


def refused(path: Path) -> str:
    """The message with which a file is refused; it names the file."""
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


LENGTHS = random.Random(0)


@pytest.mark.parametrize("share", [0.0, 0.999, *(LENGTHS.random() for _ in range(20))])
def test_a_torn_checkpoint_is_refused_and_the_one_before_is_taken(
    share: float, tmp_path: Path
) -> None:
    files = Last(tmp_path)
    torch.save(content(), files.previous)
    whole = files.previous.read_bytes()
    files.last.write_bytes(whole[: int(share * len(whole))])
    message = refused(files.last)
    assert "truncated or not a checkpoint" in message
    path, _, problem = files.newest() or (None, None, None)
    assert path == files.previous
    assert str(problem) == message


def test_no_bit_of_a_tensor_flips_unseen(path: Path) -> None:
    whole = path.read_bytes()
    weight: torch.Tensor = torch.load(path, weights_only=True)["state_dict"]["weight"]
    where = whole.index(weight.numpy().tobytes())
    for place in range(where, where + weight.numel() * 4, 5):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        torch.load(path, weights_only=True)  # torch takes it
        assert "is damaged" in refused(path)


def test_a_new_checkpoint_becomes_the_last_and_the_last_the_one_before(tmp_path: Path) -> None:
    files = Last(tmp_path)
    assert files.newest() is None
    for number in range(3):
        torch.save(content() | {"number": number}, files.new)
        files.promote()
        assert read_checkpoint(files.last)["number"] == number
        assert sorted(path.name for path in tmp_path.iterdir()) == (
            ["last.ckpt", "previous.ckpt"] if number else ["last.ckpt"]
        )
    assert read_checkpoint(files.previous)["number"] == 1


def test_two_torn_checkpoints_are_an_error_and_not_a_beginning(tmp_path: Path) -> None:
    files = Last(tmp_path)
    for path in (files.last, files.previous):
        path.write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"last\.ckpt is truncated"):
        files.newest()


def write_at_most_10_kb(path: str) -> None:
    """Fail as on a full disk, in a process of its own."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # larger files fail
    WholeCheckpoints().save_checkpoint({"weights": torch.zeros(100_000)}, path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path / "some.ckpt"
    WholeCheckpoints().save_checkpoint(content(), path)
    before = path.read_bytes()
    said = tmp_path_factory.mktemp("said") / "err.txt"
    process = start(write_at_most_10_kb, str(path), folder=tmp_path, out=said, err=said)
    process.join(100)
    assert process.exitcode == 1
    assert f"cannot write the checkpoint {path} (0.4 MiB): File too large" in said.read_text()
    assert [item.name for item in tmp_path.iterdir()] == ["some.ckpt"]
    assert path.read_bytes() == before


def test_a_missing_checkpoint_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "there is no checkpoint" in refused(tmp_path / "none.ckpt")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_ordinary_file_is_not_opened(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "some.ckpt"
    place.mkdir() if kind == "folder" else os.mkfifo(place)  # a pipe would wait for ever
    with pytest.raises(CheckpointUnreadableError, match="cannot read the checkpoint"):
        read_checkpoint(place)


@pytest.mark.parametrize("text", ["hello world\n", "model:\n  layers: 8\n", '{"a": 1}'])
def test_a_text_file_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    assert "truncated or not a checkpoint" in refused(file)


@pytest.mark.parametrize(
    "data", [b"epoch=1\n", b"X\xbd\xbe", b"\x80\x02X\x01\x00\x00\x00\xff"], ids=repr
)
def test_any_bytes_are_refused(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "broken.ckpt"
    file.write_bytes(data)
    refused(file)


@pytest.mark.parametrize("foreign", [{"state_dict": {}}, [1, 2], torch.zeros(3), None])
def test_a_file_of_another_program_is_refused(foreign: object, tmp_path: Path) -> None:
    file = tmp_path / "other.ckpt"
    torch.save(foreign, file)
    assert "not a checkpoint of nas-lightning" in refused(file)


class Payload:
    """Its pickle calls a function when it is read."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("plain", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(plain: bool, tmp_path: Path) -> None:
    file, victim = tmp_path / "evil.ckpt", tmp_path / "victim"
    evil = {**content(), "extra": Payload(victim)}
    if plain:
        file.write_bytes(pickle.dumps(evil, protocol=2))
    else:
        torch.save(evil, file)
    refused(file)
    assert not victim.exists()
    torch.load(file, weights_only=False) if not plain else pickle.loads(file.read_bytes())
    assert victim.exists()  # the payload does work: it was refused, not broken


def test_a_checkpoint_that_fits_passes() -> None:
    check(content(), "search", "darts", torch.nn.Linear(2, 3))


@pytest.mark.parametrize(
    ("kind", "space", "module", "reason"),
    [
        (
            "retrain",
            "darts",
            torch.nn.Linear(2, 3),
            "from a search run: use one of a retrain run",
        ),
        ("search", "wide", torch.nn.Linear(2, 3), "search space 'darts': use one for 'wide'"),
        ("search", "darts", torch.nn.Linear(2, 4), "weight differs"),
        ("search", "darts", torch.nn.Linear(2, 3, bias=False), "bias differs"),
        ("search", "darts", torch.nn.BatchNorm1d(3), "weight differs"),
    ],
)
def test_what_does_not_fit_is_named(
    kind: str, space: str, module: torch.nn.Module, reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        check(content(), kind, space, module)


def test_a_checkpoint_without_a_stamp_is_of_another_program() -> None:
    foreign = {"state_dict": torch.nn.Linear(2, 3).state_dict()}
    with pytest.raises(CheckpointError, match="from another program"):
        check(foreign, "search", "darts", torch.nn.Linear(2, 3))
