"""`nas derive`: from a checkpoint to a genotype."""

from pathlib import Path

from nas_lightning.architecture import Genotype
from nas_lightning.errors import CheckpointError
from nas_lightning.search import SearchModule
from nas_lightning.training.checkpoints import KEY, read_checkpoint


def derive_genotype(path: Path | str) -> Genotype:
    """The genotype that the parameters in a search's checkpoint stand for.

    Raises:
        CheckpointError: It is not a readable checkpoint of a search.
    """
    checkpoint = read_checkpoint(path)
    kind = checkpoint[KEY]["kind"]
    if kind != "search":
        raise CheckpointError(f"{path} is a checkpoint of a {kind}; a search's is wanted")
    module = SearchModule.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    return module.genotype(epoch=checkpoint["epoch"], checkpoint=str(path))
