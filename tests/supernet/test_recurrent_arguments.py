"""Arguments of the recurrent supernet."""

from typing import Any

import pytest

from nas_lightning.errors import UsageError
from nas_lightning.spaces import (
    RecurrentSupernet,
)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"primitives": ["none", "gelu"]}, "unknown gelu"),
        ({"primitives": ["tanh"]}, "at least 2"),
        ({"hidden": 0}, "hidden must be at least 1"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"dropout_input": 1.0}, r"dropout_input must be at least 0 and below 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        RecurrentSupernet(**arguments)
