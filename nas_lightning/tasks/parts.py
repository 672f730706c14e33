"""Parts of a batch: their description, their types, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nas_lightning.errors import UsageError

VECTOR = "it needs outputs for each image: leave out head: dense in the supernet or network"
"""Advice if a network has outputs at each pixel, but the task needs them for each image."""
FLOATING = (
    "scale them to floating-point numbers, such as by torchvision's v2.ToDtype(torch.float32, "
    "scale=True), and normalise them"
)


def parts(batch: Any) -> list[Any] | None:
    """Return the parts of a batch, one for a single tensor, or `None` if it is no sequence."""
    if isinstance(batch, Tensor):
        return [batch]
    return list(batch) if isinstance(batch, tuple | list) else None


def describe_part(value: object) -> str:
    """Return a few words about a batch or a part of it, such as `uint8 (8, 3, 32, 32)`."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a dict with the keys {', '.join(map(str, value)):.60}"
    if isinstance(value, tuple | list):
        inner = ", ".join(describe_part(item) for item in value[:3])
        return f"a {type(value).__name__} of {len(value)} ({inner})"[:120]
    return "nothing" if value is None else f"a {type(value).__name__}"


def wrong_pair(batch: Any, first: str, second: str, *, targets: bool) -> str | None:
    """Return what is wrong with a batch that should be a pair of tensors, or `None`.

    Args:
        batch: The batch.
        first: Name of its first part, such as `images`.
        second: Name of its second part.
        targets: False if the second part may be missing, as in a prediction.
    """
    found = parts(batch)
    wanted = f"a batch must be a pair ({first}, {second})"
    if found is None or (targets and len(found) < 2) or not found:
        return f"{wanted}, found {describe_part(batch)}"
    for name, part in zip((first, second), found[: 2 if targets else 1], strict=False):
        if not isinstance(part, Tensor):
            return f"{name} must be a tensor, found {describe_part(part)}"
    if targets and len(found[0]) != len(found[1]):
        return f"{first} and {second} must be as many, found {len(found[0])} and {len(found[1])}"
    return None


def wrong_numbers(value: Tensor, name: str, hint: str = FLOATING) -> str | None:
    """Return what is wrong with a part that should have finite floating-point numbers."""
    if not value.is_floating_point():
        return f"{name} must be floating-point numbers, found {describe_part(value)}: {hint}"
    if not bool(torch.isfinite(value).all()):
        kind = "NaN" if bool(value.isnan().any()) else "infinite numbers"
        return f"{name} must be finite, found {kind}: look at the data and their normalisation"
    return None


def wrong_shape(value: Tensor, name: str, shape: Sequence[int | None]) -> str | None:
    """Return what is wrong with the shape of a part, or `None`.

    Args:
        value: The part (B, …).
        name: Its name.
        shape: Expected shape without B; `None` means any size.
    """
    found = tuple(value.shape[1:])
    if len(found) == len(shape) and all(
        one in (None, two) for one, two in zip(shape, found, strict=True)
    ):
        return None
    wanted = ", ".join(["B", *("…" if size is None else str(size) for size in shape)])
    text = f"{name} must have the shape ({wanted}) of data_spec, found {tuple(value.shape)}"
    if len(found) == len(shape) > 1 and found[-1] == shape[0] != found[0]:
        order = ", ".join(map(str, (0, len(shape), *range(1, len(shape)))))
        return f"{text}: channels come first, as after permute({order})"
    if len(found) == len(shape) - 1 and shape[0] == 1:
        return f"{text}: add the channel, as by unsqueeze(1)"
    return f"{text}: mend data_spec or the batches"


def wrong_images(
    batch: Any, targets_name: str, data_spec: Mapping[str, Any], *, targets: bool
) -> str | None:
    """Return what is wrong with the images (B, C, H, W) of a batch, or `None`.

    Args:
        batch: A pair of images and targets.
        targets_name: Name of the targets, such as `labels`.
        data_spec: Sizes of the data, of which `in_channels` and `image_size` are compared.
        targets: False if the targets may be missing, as in a prediction.
    """
    if wrong := wrong_pair(batch, "images", targets_name, targets=targets):
        return wrong
    images, *_ = parts(batch) or [batch]
    size = data_spec.get("image_size")
    shape = (data_spec.get("in_channels"), size, size)
    return wrong_shape(images, "images", shape) or wrong_numbers(images, "images")


def check_output(task: object, output: Any, shape: Sequence[int | str], hint: str = "") -> None:
    """Check the shape of a network's output.

    Args:
        task: The task, which the message names.
        output: The output.
        shape: Its shape without the first dimension B.
        hint: What to do if the output has another number of dimensions.

    Raises:
        UsageError: It has another shape.
    """
    if isinstance(output, Tensor) and tuple(output.shape[1:]) == tuple(shape):
        return
    other = not isinstance(output, Tensor) or output.dim() != len(shape) + 1
    advice = hint if other and hint else "mend the network or data_spec"
    wanted = ", ".join(["B", *map(str, shape)])
    raise UsageError(
        f"{type(task).__name__} needs a network's output ({wanted}), found "
        f"{describe_part(output)}: {advice}"
    )


def wrong_range(value: Tensor, name: str, count: int, key: str | None = None) -> str | None:
    """Return what is wrong with whole numbers that should be below a count, or `None`.

    Args:
        value: The numbers.
        name: What they are, in the plural.
        count: The count.
        key: Entry of `data_spec` that is the count; by default it is that of the network's outputs.
    """
    if value.is_floating_point() or value.is_complex():
        return (
            f"{name} must be whole numbers, found {describe_part(value)}: convert them by .long()"
        )
    if not value.numel():
        return None
    low, high = int(value.min()), int(value.max())
    if low >= 0 and high < count:
        return None
    source = f"data_spec has {key} {count}" if key else f"the network has {count} outputs"
    mended = key or "the outputs of the network"
    return (
        f"{name} must be from 0 to {count - 1} ({source}), found {low} to {high}: number them from "
        f"0, or mend {mended}"
    )


def as_type(value: Any, dtype: torch.dtype) -> Any:
    """Return a floating-point tensor in a type; other values as they are."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(dtype)
    return value


def as_index(value: Any) -> Any:
    """Return whole numbers as 64-bit integers; other values as they are."""
    if isinstance(value, Tensor) and not value.is_floating_point() and not value.is_complex():
        return value.long()
    return value
