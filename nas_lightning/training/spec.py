"""Sizes of the data, as a data module gives them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from nas_lightning.errors import UsageError

# with `Any` as value type, the command line would instantiate a value that has a `class_path`
DataSpec = Mapping[str, int | float | dict[str, Any]]
"""Sizes of the data and, for an inverse problem, its operator, as plain data in checkpoints."""

COUNTS = ("in_channels", "num_classes", "image_size", "num_tokens", "dims")
"""Sizes that are whole numbers of at least 1."""


class CheckedSpec(dict[str, Any]):
    """Sizes that name the missing one when it is asked for."""

    def __missing__(self, key: str) -> Any:
        """Refuse a size that is not there.

        Raises:
            UsageError: Always.
        """
        found = ", ".join(map(str, self)) or "nothing"
        raise UsageError(f"data_spec of the data has no {key} (it has {found}): add it")


def checked_spec(spec: object, owner: str = "the data") -> CheckedSpec:
    """Return the sizes of the data as plain numbers.

    Whole numbers of numpy and tensors become Python's, and a square size (n, n) becomes n.

    Args:
        spec: `data_spec` of a data module.
        owner: Name of the data module, for messages.

    Raises:
        UsageError: It is not a mapping, or a size is not a whole number of at least 1.
    """
    if not isinstance(spec, Mapping):
        raise UsageError(
            f"{owner}: data_spec must be a mapping of sizes such as "
            f'{{"in_channels": 3, "num_classes": 10, "image_size": 32}}, found {spec!r:.60}'
        )
    return CheckedSpec(
        {
            str(key): _count(str(key), value, owner) if key in COUNTS else plain(value)
            for key, value in spec.items()
        }
    )


def _count(key: str, value: object, owner: str) -> int:
    found = plain(value)
    if key == "image_size" and isinstance(found, list) and found and len(set(map(str, found))) == 1:
        found = found[0]
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        shape = "; images must be square" if isinstance(found, list) else ""
        raise UsageError(
            f"{owner}: data_spec[{key!r}] must be a whole number of at least 1, found "
            f"{value!r:.60}{shape}"
        )
    return found


def plain(value: Any) -> Any:
    """Convert a value to plain data, which a checkpoint can hold.

    Args:
        value: Numbers and arrays of Python, numpy or PyTorch, texts, sequences and mappings.

    Raises:
        UsageError: It is of another type.
    """
    if hasattr(value, "tolist"):  # tensors, arrays and scalars of numpy
        value = value.tolist()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise UsageError(f"expected numbers, texts, lists or mappings, found {value!r:.60}")
