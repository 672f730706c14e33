"""Types of the names that the package imports at their first use."""

from nas_lightning.deploy.trained import load as load
from nas_lightning.layers.choice import Choice as Choice
from nas_lightning.layers.own import register_primitive as register_primitive
from nas_lightning.runs.session import Run as Run
from nas_lightning.runs.session import fit as fit
from nas_lightning.spaces.choice import freeze as freeze
from nas_lightning.spaces.registry import register_space as register_space

NAMES: dict[str, str]
__version__: str
