"""Edge normalisation: learned weights of the edges into a node (PC-DARTS)."""

from typing import final

from nas_lightning.search import EDGE_RELAXATION, SearchPlan, SearchStrategy
from nas_lightning.supernet import NodewiseSoftmax


@final
class EdgeNormalization(SearchStrategy):
    """Weight the edges into a node by a softmax over β (PC-DARTS, equation 4).

    x_j = sum over i < j of softmax_i(β_{i,j}) · f_{i,j}(x_i). β also takes part in the
    discretisation. The strength of an edge is its weight times that of its best operation, so β
    can change which edges are kept, but not the operation on an edge. Fills: edge relaxation.
    Cost: none.
    """

    replayable = True

    def configure(self, plan: SearchPlan) -> None:
        """Fill the edge relaxation, which gives each cell kind a β (E,)."""
        plan.fill(EDGE_RELAXATION, NodewiseSoftmax(), by=self)
