"""Random genotypes, the baseline for every search."""

import random

from nas_lightning.architecture.genotype import Genotype
from nas_lightning.architecture.genotype_cells import CellGenotype, NodeInput
from nas_lightning.architecture.space import Cell, SearchSpace


def random_genotype(space: SearchSpace, seed: int) -> Genotype:
    """Draw a genotype in which the edges of each node and their operations are uniform.

    Args:
        space: Search space. Nodes keep as many edges as after a search, and the operations that
            a search excludes are not drawn.
        seed: Seed of the draw; equal seeds return equal genotypes.
    """
    generator = random.Random(seed)
    cells = {cell.kind: _draw(cell, space, generator) for cell in space.cells}
    return Genotype(space, cells, provenance={"source": "random", "seed": seed})


def _draw(cell: Cell, space: SearchSpace, generator: random.Random) -> CellGenotype:
    primitives = [name for name in cell.primitives if name not in space.excluded]
    nodes = []
    for node in cell.nodes:
        kept = cell.incoming(node)
        if space.inputs_per_node is not None:
            kept = generator.sample(kept, space.inputs_per_node)
        nodes.append(
            tuple(NodeInput(generator.choice(primitives), cell.edges[i].source) for i in kept)
        )
    return CellGenotype(tuple(nodes), cell.concat, cell.inputs)
