"""YAML within limits: each text is read, or refused at once, with its line."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nas_lightning.errors import UsageError
from nas_lightning.runs.configs import config_folder
from nas_lightning.yaml_text import DEEPEST, MOST, load_yaml, parse_mapping, read_mapping


def aliases(levels: int, first: str, each: str) -> str:
    """`levels` keys, each of which repeats the one before it nine times."""
    names = [f"k{number}" for number in range(levels)]
    lines = [f"{names[0]}: &{names[0]} {first}"]
    for before, name in itertools.pairwise(names):
        lines.append(f"{name}: &{name} " + each.format(", ".join([f"*{before}"] * 9)))
    return "\n".join(lines)


REFUSED = {
    "exponential lists": (aliases(9, "[x]", "[{}]"), 6, "aliases repeat"),
    "exponential merges": (aliases(9, "{x: 1}", "{{<<: [{}]}}"), 5, "aliases repeat"),
    "a list in itself": ("a: 1\nb: &b [*b]", 2, "*b contains itself"),
    "a mapping in itself": ("a: &a {b: {c: *a}}", 1, "*a contains itself"),
    "nested lists": ("a: " + "[" * 1200 + "]" * 1200, 1, "levels deep"),
    "lists that never end": ("a: " + "[" * 100_000, 1, "levels deep"),
    "nested blocks": ("".join(" " * i + "a:\n" for i in range(1200)), DEEPEST, "levels deep"),
    "digits": ("a: 1\nb: " + "9" * 5000, 2, "5,000 digits"),
    "digits in a list": ("b: [1, -" + "9" * 5000 + "]", 1, "digits"),
    "digits of a key": ("9" * 5000 + ": 1", 1, "digits"),
    "digits by a tag": ("a: !!int '" + "9" * 5000 + "'", 1, "digits"),
    "hexadecimal digits": ("a: 0x" + "f" * 5000, 1, "digits"),
    "a number of base 60": ("a: 1" + ":10" * 2000, 1, "digits"),
    "a key twice": ("a: 1\nb: 2\na: 3", 3, "'a' stands twice, first in line 1"),
    "a nested key twice": ("m:\n  x: {c: 1,\n   c: 2}", 3, "'c' stands twice"),
    "a key twice, once in quotes": ("a: 1\n'a': 2", 2, "stands twice"),
    "code": ("a: !!python/object/apply:os.system ['true']", 1, "is not allowed"),
    "an own tag": ("a: !own 1", 1, "is not allowed"),
    "a wrong date by its tag": ("a: !!timestamp x", 1, "is not allowed"),
    "a tab": ("a:\n\tb: 1", 2, "not by tabs"),
    "two documents": ("a: 1\n---\nb: 2", 2, "more than one document"),
    "an alias of nothing": ("a: *png", 1, "in quotes"),
    "a pattern": ("a: 1\nb: *.png", 2, "in quotes"),
    "a list as key": ("a: 1\n[1]: 2", 2, "a key is a list"),
}  # fmt: skip
WITHOUT_LINE = {
    "a wrong value of a tag": ("a: !!bool x", "does not fit its tag"),
    "a control character": ("a: \x07", "control character"),
    "a key that is a number": ("1: 2", "the key 1 is not a text"),
    "a key that is a switch": ("on: 2", "the key True is not a text"),
    "nothing": ("", "key: value"),
    "a list": ("- 1", "key: value"),
    "too large": ("a: " + "x" * 2**20, "larger than 1 MiB"),
}


@pytest.mark.parametrize(("text", "line", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(text: str, line: int, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"^f\.yaml, line {line}: not valid YAML: ") as raised:
        parse_mapping(text, "f.yaml")
    assert reason in str(raised.value)


@pytest.mark.parametrize(("text", "reason"), WITHOUT_LINE.values(), ids=WITHOUT_LINE)
def test_what_is_refused_as_a_whole(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=r"^f\.yaml") as raised:
        parse_mapping(text, "f.yaml")
    assert reason in str(raised.value)


def test_limits_are_those_of_the_message() -> None:
    deepest = DEEPEST - 3  # the document, the mapping, the value
    assert parse_mapping("a: " + "[" * deepest + "]" * deepest, "")
    assert len(parse_mapping(f"a: [{'1, ' * (MOST - 10)}]", "")["a"]) == MOST - 10


def test_merge_keys_and_aliases_work() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]"
    found = parse_mapping(text, "")
    assert found["b"] == {"x": 1, "y": 3}
    assert found["c"] == [found["a"]] * 2


def test_a_date_is_a_text() -> None:
    """A run may be called by a date, also by one that the calendar lacks."""
    assert load_yaml("[2026-11-30, 2026-99-99]") == ["2026-11-30", "2026-99-99"]


# PyYAML does not read every control character back that it writes
texts = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_whatever_is_dumped_is_read_back(value: Any) -> None:
    assert load_yaml(yaml.safe_dump(value, allow_unicode=True)) == value


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_marks_of_editors(tmp_path: Path, coding: str) -> None:
    mark = "\ufeff" if coding.startswith("utf-16-") else ""
    (tmp_path / "a.yaml").write_bytes(f"{mark}name: τ\r\n".encode(coding))
    assert read_mapping(tmp_path / "a.yaml") == {"name": "τ"}


def test_every_shipped_configuration_is_within_the_limits() -> None:
    found = sorted(config_folder().rglob("*.yaml"))
    assert found
    for path in found:
        assert read_mapping(path)
