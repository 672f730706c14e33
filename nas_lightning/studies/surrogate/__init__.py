"""Predicted validation accuracies of DARTS cells, by the NAS-Bench-301 surrogates of YAHPO Gym."""

from nas_lightning.studies.surrogate.answers import (
    PROTOCOL,
    RULE,
    WHAT,
    SurrogateLookup,
    describe_error,
    is_flagged,
)
from nas_lightning.studies.surrogate.encoding import Encoding
from nas_lightning.studies.surrogate.models import SUFFIXES, Surrogate
from nas_lightning.studies.surrogate.trained import TrainedCells

__all__ = [
    "PROTOCOL",
    "RULE",
    "SUFFIXES",
    "WHAT",
    "Encoding",
    "Surrogate",
    "SurrogateLookup",
    "TrainedCells",
    "describe_error",
    "is_flagged",
]
