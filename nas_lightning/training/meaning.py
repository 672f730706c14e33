"""The meaning of a network's inputs and outputs, recorded and compared.

A network's outputs mean nothing without the names of its classes or words, and its inputs must be
normalised and measured as in training. A data module gives this meaning by up to three attributes:

- `data_spec`: its sizes and, for an inverse problem, the operator.
- `class_names`: the name of each class, in the order of the labels.
- `meaning`: a mapping with more, such as `{"mean": …, "std": …}` of images or the `words` of a
  text, joined by blanks.

Checkpoints record it. Whatever loads one compares it with the present data.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from nas_lightning.errors import CheckpointMismatchError, UsageError
from nas_lightning.text import few
from nas_lightning.training.checkpoints import KEY, recorded_meaning
from nas_lightning.training.spec import checked_spec, plain

CONDITIONS = ("image_size", "noise")
"""Parts that may differ: a network can be evaluated at other sizes and other noise."""
WORDS, CLASSES = "words", "class_names"


def meaning(data: object) -> dict[str, Any]:
    """Return what a data module's inputs and labels mean, as plain data.

    Args:
        data: A data module, or `None`.

    Returns:
        The entries of `data_spec` and `meaning`, and `class_names`, as far as the module has them.

    Raises:
        UsageError: They are malformed.
    """
    owner = type(data).__name__
    spec = getattr(data, "data_spec", None)
    found: dict[str, Any] = {} if spec is None else dict(checked_spec(spec, owner))
    more = getattr(data, "meaning", None)
    if isinstance(more, Mapping):
        found.update(plain(more))
    if (names := class_names(data)) is not None:
        found[CLASSES] = list(names)
    return found


def class_names(data: object) -> tuple[str, ...] | None:
    """Return the class names of a data module, or `None` if it has none yet.

    Raises:
        UsageError: A name stands twice, or there are not as many as classes.
    """
    given = getattr(data, CLASSES, None)
    if given is None:
        return None
    owner = type(data).__name__
    if isinstance(given, str):
        raise UsageError(f"{owner}: class_names must be a list of names, found {given!r:.60}")
    names = tuple(str(name) for name in given)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"{owner}: class_names has {_named(twice)} more than once")
    spec = getattr(data, "data_spec", None)
    classes = spec.get("num_classes") if isinstance(spec, Mapping) else None
    if classes is not None and classes != len(names):
        raise UsageError(
            f"{owner}: class_names has {len(names)} names, but data_spec has num_classes {classes}"
        )
    return names


def preprocessing(data: object) -> dict[str, Any] | None:
    """Return the steps from an image file to an input as plain data, if a data module has any.

    Args:
        data: A data module, or `None`. Its attribute `preprocessing` is a
            `nas_lightning.data.Preprocessing`, or missing.

    Raises:
        UsageError: The attribute is something else.
    """
    found = getattr(data, "preprocessing", None)
    if found is None:
        return None
    if not hasattr(found, "to_dict"):
        raise UsageError(
            f"{type(data).__name__}: preprocessing must be a nas_lightning.data.Preprocessing, "
            f"found {found!r:.60}"
        )
    steps = plain(found.to_dict())
    return dict(steps)


def in_short(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a meaning without its words, of which the number and a hash remain."""
    short = dict(found)
    if isinstance(words := short.pop(WORDS, None), str):
        short["words_sha256"] = hashlib.sha256(words.encode()).hexdigest()
    return short


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the parts that two meanings both have and that differ, by dotted key."""
    one, two = _flat(before), _flat(now)
    return {key: (one[key], two[key]) for key in one if key in two and one[key] != two[key]}


def compare(recorded: Mapping[str, Any], data: object) -> list[str]:
    """Compare the meaning that a checkpoint records with the present data.

    Args:
        recorded: The record.
        data: The data module.

    Returns:
        Differences that are allowed, one line each.

    Raises:
        CheckpointMismatchError: Labels or inputs mean something else now.
    """
    owner = type(data).__name__
    found = differences(recorded, meaning(data))
    if CLASSES in found:  # say so rather than that their number differs
        found = {CLASSES: found[CLASSES]}
    elif WORDS in found:
        found = {WORDS: found[WORDS]}
    lines = []
    for key, (before, now) in found.items():
        if key in CONDITIONS:
            lines.append(f"{key} is {now} in {owner}, but {before} in the checkpoint's training")
            continue
        if key == CLASSES:
            raise CheckpointMismatchError(_classes(before, now, owner))
        if key == WORDS:
            raise CheckpointMismatchError(_words(before, now, owner))
        raise CheckpointMismatchError(
            f"{key} is {now!s:.60} in {owner}, but {before!s:.60} in the data of the checkpoint: "
            f"set it as it was, or train a new network"
        )
    return lines


def check_meaning(checkpoint: Mapping[str, Any], data: object) -> None:
    """Compare the meaning that a checkpoint records with the present data; warn of what may differ.

    Raises:
        CheckpointMismatchError: Labels or inputs mean something else now.
    """
    if KEY not in checkpoint:  # of another program
        return
    recorded = recorded_meaning(checkpoint)
    if not recorded:
        rank_zero_warn(
            "the checkpoint is of an earlier release, which recorded no class names and no "
            "settings of the data: they are not compared"
        )
    for line in compare(recorded, data):
        rank_zero_warn(line)


def _classes(before: Sequence[str], now: Sequence[str], owner: str) -> str:
    if sorted(before) == sorted(now):
        place = next(i for i, (one, two) in enumerate(zip(before, now, strict=True)) if one != two)
        return (
            f"the classes of {owner} are in another order than in the checkpoint: class {place} is "
            f"{now[place]!r:.60}, but was {before[place]!r:.60}: number the labels in the order "
            f"{_named(before)}"
        )
    gone = [name for name in before if name not in set(now)]
    new = [name for name in now if name not in set(before)]
    parts = (("only in the checkpoint", gone), ("only in the data", new))
    listed = "; ".join(f"{where}: {_named(names)}" for where, names in parts if names)
    return (
        f"the classes of {owner} ({len(now)}) are not those of the checkpoint ({len(before)}); "
        f"{listed}: name them as they were, or train a new network on these data"
    )


def _words(before: str, now: str, owner: str) -> str:
    one, two = before.split(), now.split()
    place = next(
        (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
        min(len(one), len(two)),
    )
    texts = [f"{words[place]!r:.40}" if place < len(words) else "missing" for words in (two, one)]
    return (
        f"the vocabulary of {owner} ({len(two):,} words) is not that of the checkpoint "
        f"({len(one):,} words): word {place} is {texts[0]}, but was {texts[1]}: use the texts that "
        f"it was trained on, all three files"
    )


def _named(names: Sequence[str]) -> str:
    return few([f"{name!r:.60}" for name in names])


def _flat(found: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the entries by dotted key, the names of an object's arguments without `init_args`."""
    flat: dict[str, Any] = {}
    for key, value in found.items():
        if isinstance(value, Mapping):
            inner = prefix if key == "init_args" else f"{prefix}{key}."
            flat.update(_flat(value, inner))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
