"""What a report is made of: sections of words, tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """A link to something in the study's folder.

    Attributes:
        text: What stands there.
        target: Path relative to the study's folder; none if there is nothing to link to yet.
    """

    text: str
    target: str | None


Entry = str | tuple[Link, ...]
"""What stands in a table's box."""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: Stands above.
        head: Names of the columns.
        rows: As many entries each.
        labels: How many columns, counted from the left, hold words; the others hold numbers.
        note: Stands below, if anything is to be said.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    labels: int = 1
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        name: Of its file, without the ending.
        title: What it shows, in words.
        svg: The file: a whole SVG document.
        small: One of several that stand side by side.
    """

    name: str
    title: str
    svg: str
    small: bool = False


@dataclass(frozen=True)
class Section:
    """A section.

    Attributes:
        title: Its heading.
        reading: How to read it, in a sentence.
        words: Paragraphs.
        pictures: Stand below the words.
        tables: Stand below the pictures.
    """

    title: str
    reading: str
    words: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
