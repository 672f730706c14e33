"""Curves of the values that searches logged in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from nas_lightning.runs.metrics import Row
from nas_lightning.studies.results import Run

LAMBDA = "search/lambda"
"""Name of Λ in the logs, the agreement of the cells that share α."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A value over the epochs.

    Attributes:
        epochs: Epochs (T,), counted from 1 as in all pictures.
        values: Values (T,).
    """

    epochs: Values
    values: Values


def curve(run: Run, key: str) -> Curve | None:
    """Return the values that a search logged under a name; `None` if there are none."""
    rows = [row for row in run.history if key in row]
    if not rows:
        return None
    return Curve(_epochs(rows), _column(rows, key))


def final_lambda(run: Run) -> float | None:
    """Return Λ in the last epoch that has it; `None` if no epoch has, or if it is not finite.

    Searches of earlier releases and random cells have none, nor has a network with a single cell of
    each kind.
    """
    found = curve(run, LAMBDA)
    return float(found.values[-1]) if found and np.isfinite(found.values[-1]) else None


def mean_curve(run: Run, keys: Sequence[str]) -> Curve | None:
    """Return the mean of the values under several names; `None` if none of them was logged."""
    curves = [found for key in keys if (found := curve(run, key)) is not None]
    if not curves:
        return None
    return Curve(curves[0].epochs, np.mean([each.values for each in curves], axis=0))


def kinds(runs: Sequence[Run], prefix: str) -> list[str]:
    """Return the suffixes after a prefix in the names of logged values, such as kinds of cells."""
    names = (name for run in runs for row in run.history for name in row)
    return list(dict.fromkeys(n.removeprefix(prefix) for n in names if n.startswith(prefix)))


def operation_weights(run: Run, kind: str) -> dict[str, Curve]:
    """Return the mean weight of each primitive over the edges of a cell.

    α on the simplex is the weights themselves. Otherwise the weights are the softmax of α, or its
    sigmoid if the final weights in the genotype do not sum to one on each edge.

    Args:
        run: A search.
        kind: Kind of the cell.

    Returns:
        A curve for each primitive; empty if the search did not log α.
    """
    prefix = f"alpha/{kind}/"
    names = [name.removeprefix(prefix) for name in _names(run) if name.startswith(prefix)]
    rows = [row for row in run.history if all(prefix + name in row for name in names)]
    if not names or not rows:
        return {}
    edges = list(dict.fromkeys(name.split("/")[0] for name in names))
    primitives = list(dict.fromkeys(name.split("/")[1] for name in names))
    alpha = np.asarray(
        [[[row[f"{prefix}{edge}/{name}"] for name in primitives] for edge in edges] for row in rows]
    )  # (T, E, O)
    weights = _relax(alpha, _sums_to_one(run, kind)).mean(1)
    epochs = _epochs(rows)
    return {name: Curve(epochs, weights[:, index]) for index, name in enumerate(primitives)}


def candidate_weights(run: Run) -> dict[str, Curve]:
    """Return the mean weight of each candidate over the choices of a network that have it."""
    found: dict[str, list[Curve]] = {}
    for kind in run.genotype.cells if run.genotype is not None else ():
        for name, each in operation_weights(run, kind).items():
            found.setdefault(name, []).append(each)
    return {
        name: Curve(curves[0].epochs, np.mean([each.values for each in curves], axis=0))
        for name, curves in found.items()
    }


def _names(run: Run) -> list[str]:
    return sorted({name for row in run.history for name in row})


def _epochs(rows: Sequence[Row]) -> Values:
    """Return the epochs of rows (T,), which the logs count from 0."""
    return _column(rows, "epoch") + 1


def _column(rows: Sequence[Row], key: str) -> Values:
    return np.asarray([row[key] for row in rows], dtype=np.float64)


def _relax(alpha: Values, shares: bool) -> Values:
    """Relax α (T, E, O) to weights (T, E, O)."""
    if (alpha >= 0).all() and np.allclose(alpha.sum(-1), 1, atol=1e-4):
        return alpha
    relaxed: Any = softmax(alpha, axis=-1) if shares else expit(alpha)
    return np.asarray(relaxed, dtype=np.float64)


def _sums_to_one(run: Run, kind: str) -> bool:
    """Return True if the weights of each edge sum to one, or if the genotype has no weights."""
    mixing = {} if run.genotype is None else run.genotype.mixing.get(kind, {})
    if not mixing.get("ops"):
        return True
    return bool(np.allclose(np.asarray(mixing["ops"]).sum(-1), 1, atol=1e-3))
