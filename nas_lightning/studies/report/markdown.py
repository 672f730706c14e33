"""The report in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from nas_lightning.studies.report.page import Entry, Link, Section, Table

PICTURES = "report"
"""Folder of the pictures, next to the report."""


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Return the whole document."""
    return "\n\n".join([f"# {_escape(title)}", *map(_section, sections)]) + "\n"


def _section(section: Section) -> str:
    parts = [f"## {_escape(section.title)}", f"*{_escape(section.reading)}*"]
    parts += [_escape(words) for words in section.words]
    parts += [
        f"![{_escape(picture.title)}]({PICTURES}/{picture.name}.svg)"
        for picture in section.pictures
    ]
    parts += map(_table, section.tables)
    return "\n\n".join(parts)


def _table(table: Table) -> str:
    rules = ["---" if i < table.labels else "---:" for i in range(len(table.head))]
    rows = [[_entry(entry) for entry in row] for row in table.rows]
    lines = [_line(map(_escape, table.head)), _line(rules), *map(_line, rows)]
    parts = [f"**{_escape(table.title)}**", "\n".join(lines)]
    return "\n\n".join(parts + ([_escape(table.note)] if table.note else []))


def _line(entries: Iterable[str]) -> str:
    return f"| {' | '.join(entries)} |"


def _entry(entry: Entry) -> str:
    if isinstance(entry, str):
        return _escape(entry)
    return " ".join(map(_link, entry))


def _link(link: Link) -> str:
    return f"[{_escape(link.text)}]({link.target})" if link.target else _escape(link.text)


def _escape(text: str) -> str:
    """Escape text, so that Markdown shows it unchanged."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", one_line)
