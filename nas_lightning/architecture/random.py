"""Randomly drawn genotypes: the baseline that every search must be compared with."""

import random

from nas_lightning.architecture.genotype import CellGenotype, Genotype, NodeInput
from nas_lightning.architecture.space import Cell, SearchSpace


def random_genotype(space: SearchSpace, seed: int) -> Genotype:
    """Each node keeps uniformly drawn edges, each with a uniformly drawn operation.

    Args:
        space: As many edges a node, and the same excluded operations, as a search in it has.
        seed: The same seed gives the same genotype.
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
