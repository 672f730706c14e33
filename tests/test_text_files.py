"""Text and JSON from outside: byte order marks, what is no text, and paths."""

import os
from pathlib import Path

import pytest

from nas_lightning.errors import DataError, NASError, UsageError
from nas_lightning.text import WORD, one_line, shown
from nas_lightning.text_files import read_json, read_text, user_path


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_any_editor_are_read(tmp_path: Path, coding: str) -> None:
    (tmp_path / "a").write_bytes('{"τ": "größe"}\r\n'.encode(coding))
    assert read_text(tmp_path / "a") == '{"τ": "größe"}\n'
    assert read_json(tmp_path / "a") == {"τ": "größe"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a\nb\xff", r"not text in UTF-8 \(line 2\)"),
        (b"a\0", "NUL"),
        (b"\xff\xfea", "not text in UTF-8"),
        (b"x" * 11, "larger than"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match=rf"cannot read .*/a: .*{reason}"):
        read_text(tmp_path / "a", largest=10, error=DataError)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("link")
    for name, reason in (("pipe", "ordinary"), ("", "a folder"), ("no", "No such"), ("link", "")):
        with pytest.raises(NASError, match=f"cannot read .*{reason}"):
            read_text(tmp_path / name)


def test_a_path_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/a b", "x") == Path("/home/me/a b")
    assert user_path("a~/b", "x") == Path("a~/b")
    for text in ("", "  ", "a\nb", "a\0", "\udcff", "~nobody_of_this_name/a"):
        with pytest.raises(UsageError, match=r"^x: "):
            user_path(text, "x")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n  b", "a b"),
        ("a  b", "a  b"),
        ("a\x1b[2Jb\x07", "a\\x1b[2Jb\\x07"),
        ("τ ä\u202ea", "τ ä\\u202ea"),
        ("x" * WORD, "x" * 60 + "…"),
    ],
)
def test_a_message_is_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_long_message_keeps_its_end() -> None:
    found = one_line("word " * 1000 + "advice")
    assert len(found) == 1000
    assert found.endswith("word advice")


def test_a_long_value_is_cut_before_it_is_written() -> None:
    assert len(shown("x" * 10**6)) == len(shown([0] * 10**6)) == 60
    assert shown("a\n") == r"'a\n'"
