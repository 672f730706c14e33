"""CDARTS: a search network and an evaluation network that train together."""

from nas_lightning.strategies.cdarts.strategy import CDARTS

__all__ = ["CDARTS"]
