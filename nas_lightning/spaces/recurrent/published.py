"""Published recurrent cells.

These are facts, not code: the (operation, predecessor) pairs that the authors released.
"""

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.spaces.recurrent.space import RecurrentSpace


def _recurrent(source: str, steps: str) -> Genotype:
    """Read `"sigmoid@0 relu@1 …"`: each step has one predecessor; the output is the mean of all."""
    pairs = [step.split("@") for step in steps.split()]
    nodes = tuple((NodeInput(activation, int(state)),) for activation, state in pairs)
    cell = CellGenotype(nodes, tuple(range(1, 1 + len(nodes))), inputs=1)
    return Genotype(RecurrentSpace(), {"recurrent": cell}, provenance={"source": source})


RECURRENT_PUBLISHED = {
    "DARTS_RNN_V1": _recurrent(
        "DARTS, recurrent cell, first order (Liu et al., ICLR 2019)",
        "relu@0 relu@1 tanh@2 relu@3 relu@4 identity@1 relu@5 relu@1",
    ),
    "DARTS_RNN_V2": _recurrent(
        "DARTS, recurrent cell, second order (Liu et al., ICLR 2019)",
        "sigmoid@0 relu@1 relu@1 identity@1 tanh@2 sigmoid@5 tanh@3 relu@5",
    ),
}
"""Published genotypes, by name."""
