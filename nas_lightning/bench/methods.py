"""The methods that presets measure, as lists of strategies."""

from __future__ import annotations

from collections.abc import Callable

from nas_lightning.search import SearchStrategy
from nas_lightning.strategies import (
    A2M,
    CDARTS,
    GDAS,
    OLES,
    SGAS,
    SNAS,
    AmendedGradient,
    AuxiliarySkip,
    Backtracking,
    BetaDecay,
    BinaryGates,
    DrNAS,
    EdgeNormalization,
    ExponentiatedGradient,
    FairDARTS,
    LambdaDARTS,
    Neumann,
    PartialChannels,
    SingleLevel,
    SkipCap,
    SkipDropout,
    SmoothDARTS,
    Unrolled,
)


def _pcdarts() -> list[SearchStrategy]:
    return [PartialChannels(4), EdgeNormalization()]


METHODS: dict[str, Callable[[], list[SearchStrategy]]] = {
    "darts": list,
    "pcdarts": _pcdarts,
    "idarts": lambda: [*_pcdarts(), Backtracking(0, 0.05, 0.04, 0.1)],
    "gaea": lambda: [ExponentiatedGradient(lr=1.0)],
    "gaea_single_level": lambda: [ExponentiatedGradient(lr=1.0)],
    "amended": lambda: [AmendedGradient(coefficient=0.1, clip=1.0)],
    "second_order": lambda: [Unrolled()],
    "neumann": lambda: [Neumann(terms=1, rate=None, clip=1.0)],
    "gdas": lambda: [GDAS(tau=10.0, tau_end=0.1)],
    "snas": lambda: [SNAS(tau=1.0, tau_end=0.03), SingleLevel()],
    "fairdarts": lambda: [FairDARTS(threshold=0.0)],
    "binary_gates": lambda: [BinaryGates()],
    "beta_darts": lambda: [BetaDecay(weight=50.0)],
    "a2m": lambda: [A2M(rho=0.01, epsilon=0.01)],
    "sdarts_rs": lambda: [SmoothDARTS("random")],
    "sdarts_adv": lambda: [SmoothDARTS("adversarial")],
    "darts_minus": lambda: [AuxiliarySkip()],
    "lambda_darts": lambda: [LambdaDARTS(weight=0.125)],
    "drnas": lambda: [DrNAS()],
    "oles": lambda: [OLES()],
    "sgas": lambda: [SGAS(1, first_epoch=1, every=1)],
    "pdarts": lambda: [SkipDropout(rate=0.1, frozen=0)],
    "skip_cap": lambda: [SkipCap(most=2)],
    "cdarts": lambda: [CDARTS(layers=6, pretrain_epochs=2)],
}
"""The strategies of each method. A name is that of the overlay in `configs/methods`, if there is
one. Methods have no warm-up here, so a full search with warm-up costs fewer architecture steps."""

SINGLE_LEVEL = ("gaea_single_level", "snas")
"""Methods whose weight and architecture steps both draw from the whole training set."""
