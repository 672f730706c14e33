"""Elements of a report: sections of words, tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """A link to a run directory in the folder of the study.

    Attributes:
        text: Text of the link.
        target: Path relative to the folder of the report; `None` if there is nothing to link to.
    """

    text: str
    target: str | None


Entry = str | tuple[Link, ...]
"""An entry of a table: text or links."""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: Title above the table.
        head: Names of the columns.
        rows: Rows, with an entry for each column.
        labels: Number of first columns that hold words; the others hold numbers.
        note: Note below the table; empty for none.
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
        name: Name of its file, without the ending.
        title: Caption.
        svg: A whole SVG document.
        small: The picture is one of several side by side.
    """

    name: str
    title: str
    svg: str
    small: bool = False


@dataclass(frozen=True)
class Section:
    """A section.

    Attributes:
        title: Heading.
        reading: A sentence or two that explain how to read the section.
        words: Paragraphs.
        pictures: Pictures below the paragraphs.
        tables: Tables below the pictures.
    """

    title: str
    reading: str
    words: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
