"""Listing of image files: links, loops, what is ignored, and the memory of the list."""

import os
from pathlib import Path

import pytest

from nas_lightning.data.file_list import FileList
from nas_lightning.data.listing import (
    class_folders,
    list_all_images,
    list_images,
    training_classes,
)
from nas_lightning.errors import DataError


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(files: FileList) -> list[str]:
    return [str(path.relative_to(files.folder)) for path in files]


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    make(tmp_path, "store/cats/1.png", "store/more/2.png", "store/3.png", "train/dog/4.png")
    (tmp_path / "train" / "cat").symlink_to("../store/cats")
    (tmp_path / "store" / "cats" / "more").symlink_to(tmp_path / "store" / "more")
    (tmp_path / "train" / "dog" / "3.png").symlink_to(tmp_path / "store" / "3.png")
    assert class_folders(tmp_path / "train") == ("cat", "dog")
    files, labels, ignored = list_images(tmp_path / "train", ["cat", "dog"])
    assert names(files) == ["cat/1.png", "cat/more/2.png", "dog/3.png", "dog/4.png"]
    assert labels == [0, 0, 1, 1]
    assert all(path.is_file() for path in files)
    assert not str(ignored)


def test_loops_of_links_end(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.png", "train/cat/sub/2.png", "train/dog/3.png", "other/4.png")
    cat = tmp_path / "train" / "cat"
    for number, target in enumerate((".", "..", "../..", "/", "sub", "sub/..", str(cat))):
        (cat / f"z{number}").symlink_to(target)
        (cat / "sub" / f"z{number}").symlink_to(cat)
    (cat / "gone").symlink_to("nowhere")
    (cat / "itself.png").symlink_to("itself.png")
    files, labels, ignored = list_images(tmp_path / "train", ["cat", "dog"])
    assert names(files) == ["cat/1.png", "cat/itself.png", "cat/sub/2.png", "dog/3.png"]
    assert labels == [0, 0, 0, 1]
    assert ignored.repeated == 14


def test_many_ways_to_one_folder_are_one(tmp_path: Path) -> None:
    """Twelve levels, each with two links to the next: 4,096 ways to the last."""
    for level in range(12):
        make(tmp_path, f"levels/{level}/{level}.png")
        for side in ("a", "b"):
            link = tmp_path / "levels" / str(level) / side
            link.symlink_to(tmp_path / "levels" / str(level + 1))
    make(tmp_path, "levels/12/12.png", "train/dog/1.png")
    (tmp_path / "train" / "cat").symlink_to(tmp_path / "levels" / "0")
    files, _, ignored = list_images(tmp_path / "train", ["cat", "dog"])
    assert len(files) == 14
    assert ignored.repeated == 12


@pytest.mark.parametrize("link", ["train/wolf", "train/cat/dogs"])
def test_a_folder_of_two_classes_is_refused(link: str, tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.png", "train/dog/2.png")
    (tmp_path / link).symlink_to(tmp_path / "train" / "dog")
    with pytest.raises(DataError, match=r"belongs to two classes, .*'dog'"):
        list_images(tmp_path / "train", class_folders(tmp_path / "train"))


def test_what_is_ignored_is_counted(tmp_path: Path) -> None:
    make(
        tmp_path, "a/1.png", "a/.2.png", "a/.cache/3.png", "a/x.txt", "a/y.txt", "a/z.gif",
        "a/Makefile", "b/4.JPG", "5.png", ".6.png", "7.csv",
    )  # fmt: skip
    files, _, ignored = list_images(tmp_path, ["a", "b"])
    assert names(files) == ["a/1.png", "b/4.JPG"]
    assert (ignored.hidden, ignored.outside, ignored.repeated) == (3, 1, 0)
    assert dict(ignored.other) == {".txt": 2, ".gif": 1, "": 1, ".csv": 1}
    assert str(ignored) == (
        "3 hidden, 5 not images (.txt 2, without suffix 1, .csv 1, .gif 1), "
        "1 images outside the class folders"
    )


def test_all_images_of_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "b.png", "a/c.png", "a.jpg", "a/deep/er/d.bmp", "a/.hidden.png", "notes.txt")
    files, labels, ignored = list_all_images(tmp_path)
    assert names(files) == ["a/c.png", "a/deep/er/d.bmp", "a.jpg", "b.png"]
    assert labels == [0] * 4
    assert (ignored.hidden, ignored.other.total(), ignored.outside) == (1, 1, 0)


def test_fewer_than_two_classes(tmp_path: Path) -> None:
    train = tmp_path / "train"
    train.mkdir()
    (train / ".cache").mkdir()
    with pytest.raises(DataError, match="has no class folders"):
        training_classes(train)
    make(train, "images/cat/1.png", "images/dog/2.png", "images/emu/3.png", "images/yak/4.png")
    with pytest.raises(
        DataError,
        match=r"only one class folder, 'images', which contains the folders 'cat', 'dog', 'emu' "
        r"and more: if these are the classes, move them up into '.*train'",
    ):
        training_classes(train)
    make(tmp_path, "one/cat/1.png")
    with pytest.raises(DataError, match=r"only one class folder, 'cat', but .* a single class"):
        training_classes(tmp_path / "one")
    make(tmp_path, "one/dog/1.png")
    assert training_classes(tmp_path / "one") == ("cat", "dog")


def test_a_long_name_costs_its_own_length_only(tmp_path: Path) -> None:
    short = [f"n{i:04}/{i}.JPEG" for i in range(5000)]
    long = "é" * 1000 + "/1.png"
    files = FileList(tmp_path, [*short, long])
    content = sum(len(os.fsencode(name)) for name in (*short, long))
    assert files.nbytes == content + 8 * 5002  # an end for each, and the start
    assert files[5000] == files[-1] == tmp_path / long
    assert names(files) == [*short, long]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    make(tmp_path, f"a/{name}", "b/1.png")
    files, _, _ = list_images(tmp_path, ["a", "b"])
    assert files[0].name == name
    assert files[0].is_file()
