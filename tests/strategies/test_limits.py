"""Limits of arguments: the first value that is refused, and the last that is not."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from nas_lightning.callbacks import AverageWeights, RollBackOnNaN
from nas_lightning.errors import UsageError
from nas_lightning.strategies import (
    A2M,
    GDAS,
    OLES,
    SNAS,
    AmendedGradient,
    AuxiliarySkip,
    Backtracking,
    BetaDecay,
    BinaryGates,
    DartsPlus,
    DrNAS,
    ExponentiatedGradient,
    FairDARTS,
    Neumann,
    PartialChannels,
    RobustDARTS,
    SmoothDARTS,
    TwoStage,
    Unrolled,
)

SMALL = 1e-9
LIMITS: list[tuple[Callable[..., object], str, Any, Any]] = [
    (A2M, "rho", -SMALL, 0.0),
    (A2M, "epsilon", 0.0, SMALL),
    (AuxiliarySkip, "beta", -SMALL, 0.0),
    (BetaDecay, "weight", -SMALL, 0.0),
    (SmoothDARTS, "epsilon", -SMALL, 0.0),
    (SmoothDARTS, "epsilon_start", -SMALL, 0.0),
    (SmoothDARTS, "steps", 0, 1),
    (DrNAS, "kl", -SMALL, 0.0),
    (OLES, "threshold", -1 - SMALL, -1.0),
    (OLES, "threshold", 1 + SMALL, 1.0),
    (OLES, "count", 0, 1),
    (AmendedGradient, "coefficient", 0.0, SMALL),
    (AmendedGradient, "clip", 0.0, SMALL),
    (AmendedGradient, "epsilon", 0.0, SMALL),
    (Neumann, "terms", -1, 0),
    (Neumann, "rate", 0.0, SMALL),
    (Neumann, "clip", 0.0, SMALL),
    (Neumann, "epsilon", 0.0, SMALL),
    (Unrolled, "epsilon", 0.0, SMALL),
    (RobustDARTS, "every", 0, 1),
    (RobustDARTS, "window", 0, 1),
    (RobustDARTS, "back", 0, 1),
    (RobustDARTS, "factor", 0.0, SMALL),
    (RobustDARTS, "first_epoch", -1, 0),
    (Backtracking, "rate", -SMALL, 0.0),
    (Backtracking, "clip", 0.0, SMALL),
    (BinaryGates, "every", 0, 1),
    (DartsPlus, "skips", 0, 1),
    (DartsPlus, "stable_epochs", 0, 1),
    (TwoStage, "edge_epochs", 0, 1),
    (PartialChannels, "k", 1, 2),
    (ExponentiatedGradient, "lr", -SMALL, 0.0),
    (ExponentiatedGradient, "edge_lr", -SMALL, 0.0),
    (ExponentiatedGradient, "entropy", -SMALL, 0.0),
    (FairDARTS, "threshold", -SMALL, 0.0),
    (FairDARTS, "threshold", 1 + SMALL, 1.0),
    (FairDARTS, "weight", -SMALL, 0.0),
    (SNAS, "tau", 0.0, SMALL),
    (SNAS, "tau_end", 0.0, SMALL),
    (GDAS, "tau", 0.0, SMALL),
    (GDAS, "tau_end", 0.0, SMALL),
    (AverageWeights, "nonmono", -1, 0),
    (RollBackOnNaN, "patience", -1, 0),
    (RollBackOnNaN, "rate_factor", 0.0, SMALL),
    (RollBackOnNaN, "rate_factor", 1 + SMALL, 1.0),
]


@pytest.mark.parametrize(("kind", "name", "refused", "accepted"), LIMITS)
def test_the_limit_of_an_argument(
    kind: Callable[..., object], name: str, refused: Any, accepted: Any
) -> None:
    made = partial(kind, edges=True) if kind is ExponentiatedGradient else kind
    made(**{name: accepted})
    with pytest.raises(UsageError):
        made(**{name: refused})
