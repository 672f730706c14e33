"""Edge normalisation: learn how much each edge counts at its node."""

from typing import final

from nas_lightning.search import EDGE_RELAXATION, SearchPlan, SearchStrategy
from nas_lightning.supernet import NodewiseSoftmax


@final
class EdgeNormalization(SearchStrategy):
    """Weight the edges into a node by a softmax over β (PC-DARTS, equation 4).

    x_j = sum over i < j of softmax_i(β_{i,j}) · f_{i,j}(x_i). β takes part in the derivation: the
    strength of an edge is its weight times that of its best operation, so β can change which
    edges are kept, never the operation on an edge. Fills: edge relaxation. Cost: none.
    """

    replayable = True

    def configure(self, plan: SearchPlan) -> None:
        """Give each cell kind a β (E,)."""
        plan.fill(EDGE_RELAXATION, NodewiseSoftmax(), by=self)
