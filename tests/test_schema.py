"""Plain data is read by type hints, and the place of what does not fit is named."""

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import pytest

from nas_lightning.errors import ContentError, UsageError
from nas_lightning.schema import is_readable, read_value


@dataclass(frozen=True)
class Part:
    name: str
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("a part needs a name")


class Whole(TypedDict, total=False):
    parts: list[Part]
    rate: float | None
    kind: Literal["a", "b"]
    more: dict[str, bool]


WHOLE = {"parts": [{"name": "x", "sizes": [1, 2]}], "rate": 1, "kind": "a", "more": {"y": True}}


def test_what_fits_is_read() -> None:
    found = read_value(Whole, {**WHOLE, "later": 3})
    assert found["parts"] == [Part("x", (1, 2))]
    assert type(found["rate"]) is float
    assert found["later"] == 3  # of a later release
    assert read_value(Whole, {"rate": None}) == {"rate": None}


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"parts": 3}, "$.parts", "an array, found 3"),
        ({"parts": [3]}, "$.parts[0]", "an object, found 3"),
        ({"parts": [{}]}, "$.parts[0]", "the key 'name' is missing"),
        ({"parts": [{"name": "x", "size": 1}]}, "$.parts[0]", "unknown key 'size'"),
        ({"parts": [{"name": "x", "sizes": [1, 2.5]}]}, "$.parts[0].sizes[1]", "a whole number"),
        ({"parts": [{"name": "x", "sizes": [True]}]}, "$.parts[0].sizes[0]", "found True"),
        ({"parts": [{"name": ""}]}, "$.parts[0]", "a part needs a name"),
        ({"rate": "1"}, "$.rate", "a number, found '1'"),
        ({"rate": 10**400}, "$.rate", "a number"),
        ({"kind": "c"}, "$.kind", "'a' or 'b', found 'c'"),
        ({"more": {"y": 1}}, "$.more.y", "true or false, found 1"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(ContentError) as raised:
        read_value(Whole, {**WHOLE, **change})
    assert raised.value.path == path
    assert reason in raised.value.reason


def test_hints_that_are_not_read() -> None:
    assert is_readable(dict[str, tuple[int, ...] | None])
    assert not is_readable(list[object])
    assert not is_readable(int | UsageError)
