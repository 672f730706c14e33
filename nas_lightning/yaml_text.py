"""YAML from outside, within limits: what exceeds them would never answer, or fail in odd ways."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nas_lightning.errors import NASError, UsageError
from nas_lightning.text import shown
from nas_lightning.text_files import read_text

LARGEST = 2**20
"""Bytes of a file."""
DEEPEST = 100
"""Levels of nesting."""
MOST = 20_000
"""Values, with those that aliases repeat."""
DIGITS = 100
"""Characters of a number."""

TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")
)
"""Tags that a value may name."""
WORDS = {
    "but found another document": "it holds more than one document",
    "found undefined alias": "an alias of nothing (put a text that begins with * in quotes)",
    "did not find expected alphabetic or numeric character": "a text that begins with * or & is "
    "put in quotes",
    "second occurrence": "an anchor stands twice",
    "found unhashable key": "a key is a list or a mapping",
}
"""Reasons of PyYAML that say too little → ours."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # C or Python
    """PyYAML's safe loader; a date is a text, as in JSON."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in rules if not tag.endswith(":timestamp")]
    for first, rules in Loader.yaml_implicit_resolvers.items()
}


class LimitError(yaml.YAMLError):
    """A text exceeds a limit, or a key stands twice.

    Args:
        reason: What is wrong.
        line: The line, from 1.
    """

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass
class _Open:
    """A list or mapping whose end has not been read yet.

    Attributes:
        anchor: Its anchor, if it has one.
        mapping: True for a mapping.
        keys: The keys so far, with their lines.
        parts: Number of keys and values so far.
        size: Number of values in it so far, with those that aliases repeat.
    """

    anchor: str | None
    mapping: bool
    keys: dict[str, int] = field(default_factory=dict)
    parts: int = 0
    size: int = 1


def check_text(text: str) -> None:
    """Check a text against the limits, before anything is built from it.

    Raises:
        LimitError: It exceeds one, or a key of a mapping stands twice.
        yaml.YAMLError: It is not YAML.
    """
    if len(text) > LARGEST:
        raise LimitError(f"larger than {LARGEST / 2**20:.0f} MiB", 1)
    check = _Check()
    for event in yaml.parse(text, Loader=Loader):
        check(event)


class _Check:
    """The check of one text, event by event."""

    def __init__(self) -> None:
        self.levels = [_Open(None, False)]
        self.sizes: dict[str | None, int] = {}

    def __call__(self, event: yaml.Event) -> None:
        """Take one event."""
        line = 0 if event.start_mark is None else event.start_mark.line + 1
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", *TAGS):
            raise LimitError(f"the tag {shown(tag)} is not allowed", line)
        if isinstance(event, yaml.CollectionStartEvent):
            self._part(None, line)
            self.levels.append(_Open(event.anchor, isinstance(event, yaml.MappingStartEvent)))
            if len(self.levels) > DEEPEST:
                raise LimitError(f"nested more than {DEEPEST} levels deep", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._count(self.levels.pop(), line)
        elif isinstance(event, yaml.AliasEvent):
            if any(level.anchor == event.anchor for level in self.levels):
                raise LimitError(f"the alias *{event.anchor} contains itself", line)
            self._part(None, line)
            self._count(_Open(None, False, size=self.sizes.get(event.anchor, 1)), line)
        elif isinstance(event, yaml.ScalarEvent):
            _check_number(event, line)
            self._part(event.value, line)
            self._count(_Open(event.anchor, False), line)

    def _part(self, value: str | None, line: int) -> None:
        """Note a key or a value of a mapping; `None` stands for a list, a mapping or an alias."""
        level = self.levels[-1]
        level.parts += 1
        if not level.mapping or level.parts % 2 == 0 or value is None or value == "<<":
            return
        if value in level.keys:
            raise LimitError(
                f"the key {shown(value)} stands twice, first in line {level.keys[value]}: the "
                f"first would be lost",
                line,
            )
        level.keys[value] = line

    def _count(self, closed: _Open, line: int) -> None:
        """Count the values of what has ended, with those that aliases repeat."""
        self.levels[-1].size += closed.size
        if self.levels[-1].size > MOST:
            raise LimitError(f"more than {MOST:,} values, counting what aliases repeat", line)
        if closed.anchor is not None:
            self.sizes[closed.anchor] = closed.size


def _check_number(event: yaml.ScalarEvent, line: int) -> None:
    # quoted, it is a text, unless a tag says otherwise
    if (event.style and event.tag is None) or len(event.value) <= DIGITS:
        return
    if re.fullmatch(r"[-+.]?[0-9][-+0-9a-fA-FoxX_:.]*", event.value):
        raise LimitError(f"a number of {len(event.value):,} digits", line)


def load_yaml(text: str) -> Any:
    """Read a text within the limits.

    Raises:
        yaml.YAMLError: It is not YAML, or exceeds a limit.
    """
    check_text(text)
    return yaml.load(text, Loader=Loader)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping with text keys at its top.

    Raises:
        UsageError: It cannot be read, is not YAML or holds something else; names file and line.
    """
    text = read_text(path, LARGEST, UsageError)
    return parse_mapping(text, str(path))


def parse_mapping(text: str, source: str) -> dict[str, Any]:
    """Read a YAML text that holds a mapping with text keys at its top.

    Args:
        text: The text.
        source: Its file or option, for messages.

    Raises:
        UsageError: It is not YAML, or holds something else; names source and line.
    """
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        raise _wrong(error, source) from error
    except (ValueError, LookupError, AttributeError) as error:  # PyYAML checks no value of a tag
        raise UsageError(f"{source}: not valid YAML: a value does not fit its tag") from error
    if not isinstance(content, dict):
        raise UsageError(f"{source}: not a configuration: it has no `key: value` lines")
    for key in content:
        if not isinstance(key, str):
            raise UsageError(f"{source}: the key {shown(key)} is not a text: put it in quotes")
    return content


def _wrong(error: yaml.YAMLError, source: str) -> NASError:
    """Return the error for a text that cannot be read."""
    if isinstance(error, LimitError):
        return UsageError(f"{source}, line {error.line}: not valid YAML: {error.reason}")
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        reason = error.problem or error.context or ""
        if mark and reason.endswith("cannot start any token"):
            reason = "a character that no value begins with; indent by blanks, not by tabs"
        reason = WORDS.get(reason, reason)
        return UsageError(f"{source}{line}: not valid YAML: {reason}")
    if isinstance(error, yaml.reader.ReaderError):
        return UsageError(f"{source}: not valid YAML: it holds a control character")
    return UsageError(f"{source}: not valid YAML: {error}")
