"""Search strategies, one idea per file."""

from nas_lightning.strategies.a2m import A2M
from nas_lightning.strategies.amended import AmendedGradient
from nas_lightning.strategies.auxiliary_skip import AuxiliarySkip
from nas_lightning.strategies.backtracking import Backtracking
from nas_lightning.strategies.beta_decay import BetaDecay
from nas_lightning.strategies.binary_gates import BinaryGates
from nas_lightning.strategies.cdarts import CDARTS
from nas_lightning.strategies.cell_execution import CheckpointCells, ReferenceCell
from nas_lightning.strategies.darts_plus import DartsPlus
from nas_lightning.strategies.drnas import DrNAS
from nas_lightning.strategies.edge_normalization import EdgeNormalization
from nas_lightning.strategies.exponentiated_gradient import (
    ExponentiatedGradient,
    ExponentiatedGradientOptimizer,
)
from nas_lightning.strategies.fair import FairDARTS
from nas_lightning.strategies.gumbel import GDAS, SNAS
from nas_lightning.strategies.keep_operations import KeepOperations
from nas_lightning.strategies.lambda_darts import LambdaDARTS
from nas_lightning.strategies.later_edges import LaterEdges
from nas_lightning.strategies.neumann import Neumann
from nas_lightning.strategies.oles import OLES
from nas_lightning.strategies.partial_channels import PartialChannels
from nas_lightning.strategies.perturbation_selection import PerturbationSelection
from nas_lightning.strategies.progressive import ProgressiveChannels
from nas_lightning.strategies.resource_penalty import ResourcePenalty
from nas_lightning.strategies.robust import RobustDARTS
from nas_lightning.strategies.sgas import SGAS
from nas_lightning.strategies.single_level import SingleLevel
from nas_lightning.strategies.skip_cap import SkipCap
from nas_lightning.strategies.skip_dropout import SkipDropout
from nas_lightning.strategies.smooth_darts import SmoothDARTS
from nas_lightning.strategies.two_stage import TwoStage
from nas_lightning.strategies.unrolled import Unrolled
from nas_lightning.strategies.warmup import WarmUp
from nas_lightning.strategies.weights_first import WeightsFirst

__all__ = [
    "A2M",
    "CDARTS",
    "GDAS",
    "OLES",
    "SGAS",
    "SNAS",
    "AmendedGradient",
    "AuxiliarySkip",
    "Backtracking",
    "BetaDecay",
    "BinaryGates",
    "CheckpointCells",
    "DartsPlus",
    "DrNAS",
    "EdgeNormalization",
    "ExponentiatedGradient",
    "ExponentiatedGradientOptimizer",
    "FairDARTS",
    "KeepOperations",
    "LambdaDARTS",
    "LaterEdges",
    "Neumann",
    "PartialChannels",
    "PerturbationSelection",
    "ProgressiveChannels",
    "ReferenceCell",
    "ResourcePenalty",
    "RobustDARTS",
    "SingleLevel",
    "SkipCap",
    "SkipDropout",
    "SmoothDARTS",
    "TwoStage",
    "Unrolled",
    "WarmUp",
    "WeightsFirst",
]
