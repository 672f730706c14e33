"""Methods and strategies that the tests run over; new strategy classes are found by themselves."""

import copy
import inspect
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

import nas_lightning.strategies
from nas_lightning.search import SearchStrategy
from nas_lightning.spaces import DartsNetwork
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
    DartsPlus,
    DrNAS,
    EdgeNormalization,
    ExponentiatedGradient,
    FairDARTS,
    KeepOperations,
    LambdaDARTS,
    LaterEdges,
    Neumann,
    PartialChannels,
    PerturbationSelection,
    ProgressiveChannels,
    ResourcePenalty,
    RobustDARTS,
    SingleLevel,
    SkipCap,
    SkipDropout,
    SmoothDARTS,
    TwoStage,
    Unrolled,
    WeightsFirst,
)

SETS: dict[str, Any] = {
    "normal": {"0-2": ["none", "skip_connect"], "1-3": ["skip_connect"]},
    "reduce": {"0-3": ["skip_connect"], "2-3": ["none", "skip_connect"]},
}
"""Operations that differ from edge to edge, for `KeepOperations`."""

# arguments under which a strategy acts within three epochs of two batches, and what it needs
ARGUMENTS: dict[str, dict[str, Any]] = {
    "WarmUp": {"epochs": 1},
    "PartialChannels": {"k": 2},
    "PerturbationSelection": {"tuning_epochs": 0},
    "ProgressiveChannels": {"first_epochs": 1, "keep": 2, "k": 4, "wide_k": 2, "warmup": 0},
    "TwoStage": {"edge_epochs": 1},
    "SGAS": {"criterion": 2, "first_epoch": 0, "every": 1},
    "Backtracking": {"start": -10, "rate": 0.1, "coefficient": 0.04},
    "ResourcePenalty": {"resource": "parameters", "budget": 7.5e5},
    "ExponentiatedGradient": {"edges": True, "entropy": 0.01},
    "KeepOperations": {"candidates": SETS},
    "SkipDropout": {"frozen": 1},
    "OLES": {"threshold": 0.81, "count": 2},
    "CDARTS": {"layers": 3, "pretrain_epochs": 1},
    # they change a run by ending it before its third epoch
    "DartsPlus": {"criterion": "skips", "skips": 1},
    "RobustDARTS": {"every": 1, "window": 1, "back": 1, "first_epoch": 0, "factor": 1e-3},
}
NEEDS: dict[str, Sequence[SearchStrategy]] = {
    "Backtracking": (EdgeNormalization(),),
    "TwoStage": (EdgeNormalization(),),
}
# they compute the same bits in another way, or only derive another genotype from them
CHANGES_NOTHING = {"CheckpointCells", "LaterEdges", "SkipCap"}
CLASSES = [
    kind
    for _, kind in inspect.getmembers(nas_lightning.strategies, inspect.isclass)
    if issubclass(kind, SearchStrategy)
]
METHODS: dict[str, tuple[SearchStrategy, ...]] = {
    "darts": (),
    "pcdarts": (PartialChannels(2), EdgeNormalization()),
    "idarts": (
        PartialChannels(2),
        EdgeNormalization(),
        Backtracking(start=-10, rate=0.1, coefficient=0.04),
    ),
    "pdarts": (
        SkipDropout(0.5, frozen=1),
        LaterEdges(),
        SkipCap(1),
        KeepOperations(candidates=SETS),
    ),
    "amended": (AmendedGradient(),),
    "darts_second_order": (Unrolled(),),
    "neumann": (Neumann(terms=2),),
    "gaea_darts": (ExponentiatedGradient(),),
    "snas": (SNAS(), SingleLevel()),
    "gdas": (GDAS(),),
    "gaea_gdas": (GDAS(), ExponentiatedGradient()),
    "gdas_second_order": (GDAS(), Unrolled()),
    "gdas_amended": (GDAS(), AmendedGradient(exact=True)),
    "binary_gates": (BinaryGates(),),
    "binary_gates_second_order": (BinaryGates(), Unrolled()),
    "fair_darts": (FairDARTS(),),
    "beta_decay": (BetaDecay(),),
    "lambda_darts": (LambdaDARTS(weight=1.0),),
    "cdarts": (CDARTS(3, pretrain_epochs=0, distance="kl", learn_heads=True),),
    "a2m": (A2M(rho=0.1),),
    "oles": (OLES(threshold=0.81, count=2),),
    "sdarts_rs": (SmoothDARTS(),),
    "sdarts_adv": (
        PartialChannels(2),
        EdgeNormalization(),
        SmoothDARTS("adversarial", steps=2),
    ),
    "darts_minus": (AuxiliarySkip(),),
    "sgas": (SGAS(first_epoch=0, every=1),),
    "sgas_second_order": (SGAS(2, first_epoch=0, every=1), Unrolled()),
    "darts_pt": (PerturbationSelection(tuning_epochs=0),),
    "drnas": (DrNAS(kl=0.1),),
    "progressive": (
        ProgressiveChannels(first_epochs=1, keep=2, k=4, wide_k=2, warmup=0),
        EdgeNormalization(),
        DrNAS(),
    ),
    "two_stage": (EdgeNormalization(), TwoStage(1)),
    "weights_first": (WeightsFirst(),),
    "budget": (
        EdgeNormalization(),
        ResourcePenalty("parameters", 2500, weight=0.5, network=DartsNetwork(4, 3)),
    ),
    "amended_gaea_two_stage": (
        ExponentiatedGradient(edges=True),
        AmendedGradient(),
        TwoStage(1),
    ),
    "gaea_pcdarts": (PartialChannels(2), ExponentiatedGradient(edges=True)),
    "amended_gaea_idarts": (
        PartialChannels(2),
        ExponentiatedGradient(edges=True, entropy=0.01),
        AmendedGradient(),
        Backtracking(start=-10, rate=0.1, coefficient=0.04),
    ),
}
MONITORS: dict[str, tuple[SearchStrategy, ...]] = {  # they stop a search and steer nothing
    "darts_plus": (DartsPlus(criterion="ranking"),),
    "robust_darts": (RobustDARTS(every=1, first_epoch=0),),
}
METHODS_AND_MONITORS = {**METHODS, **MONITORS}
WITHOUT_BETA = {
    *("darts", "amended", "darts_second_order", "neumann", "gaea_darts"),
    *("snas", "gdas", "gaea_gdas", "gdas_second_order", "gdas_amended", "fair_darts"),
    *(
        "pdarts",
        "binary_gates",
        "binary_gates_second_order",
        "beta_decay",
        "lambda_darts",
        "a2m",
        "weights_first",
    ),
    *("sdarts_rs", "darts_minus"),
    *("sgas", "sgas_second_order"),
    "cdarts",
    *("pdarts", "binary_gates", "binary_gates_second_order", "beta_decay", "a2m", "darts_pt"),
    "drnas",
    "oles",
    *MONITORS,
}


def build(kind: type[SearchStrategy]) -> list[SearchStrategy]:
    """Return the strategy with what it needs before it."""
    name = kind.__name__
    return [*copy.deepcopy(NEEDS.get(name, ())), kind(**ARGUMENTS.get(name, {}))]


def fresh(name: str) -> list[SearchStrategy]:
    """Return fresh strategies of a method or monitor, which no other test has used."""
    return copy.deepcopy(list(METHODS_AND_MONITORS[name]))


def rest_long(values: Iterable[Any], keep: Collection[Any]) -> list[ParameterSet]:
    """Return parameters of which `make test` runs a few and `make test-all` runs all."""
    return [
        pytest.param(value, marks=[] if value in keep else pytest.mark.long) for value in values
    ]
