"""SGAS: scores against numpy, decisions against a plain simulation, spaces, refusals."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchPlan, SearchStrategy
from nas_lightning.spaces import ChoiceSupernet, DartsSpace, DartsSupernet, NasBench201Supernet
from nas_lightning.strategies import (
    SGAS,
    BinaryGates,
    EdgeNormalization,
    ExponentiatedGradient,
    FairDARTS,
    SkipCap,
    TwoStage,
)
from nas_lightning.strategies.edge_scores import edge_scores, normalised, stability
from tests.conftest import SPEC
from tests.recorded import search

Array = NDArray[np.float64]
SPACE = DartsSpace()
CELL = SPACE.cells[0]
EVERYTHING = torch.ones(14, 8, dtype=torch.bool)
NOT_NONE = list(range(1, 8))
IMPORTANCE, CERTAINTY, HISTORY = 0, 1, 2


def softmax(alpha: Array) -> Array:
    shifted = np.exp(alpha - alpha.max(1, keepdims=True))
    found: Array = shifted / shifted.sum(1, keepdims=True)
    return found


def plain_scores(alpha: Array, earlier: list[Array]) -> tuple[Array, Array]:
    """Importance, certainty and history (3, E) of 8 operations, the first of which is none; q."""
    p = softmax(alpha)
    q = p[:, 1:] / p[:, 1:].sum(1, keepdims=True)
    certainty = 1 + (q * np.log(q)).sum(1) / np.log(7)
    shared = [np.minimum(q, one).sum(1) for one in earlier]
    history = np.mean(shared, 0) if shared else np.zeros(len(q))
    return np.stack([1 - p[:, 0], certainty, history]), q


@pytest.mark.parametrize("scale", [1e-3, 1.0, 5.0])
def test_scores_are_those_of_numpy(scale: float) -> None:
    draw = np.random.default_rng(0)
    alphas = [scale * draw.normal(size=(14, 8)) for _ in range(4)]
    earlier = [plain_scores(alpha, [])[1] for alpha in alphas[:-1]]
    wanted, q = plain_scores(alphas[-1], earlier)
    found = edge_scores(torch.from_numpy(alphas[-1]), EVERYTHING, NOT_NONE)
    np.testing.assert_allclose(found.importance, wanted[IMPORTANCE], rtol=1e-12)
    np.testing.assert_allclose(found.certainty, wanted[CERTAINTY], rtol=1e-7, atol=1e-15)
    np.testing.assert_allclose(found.shares, q, rtol=1e-12)
    history = stability(found.shares, [torch.from_numpy(one) for one in earlier])
    np.testing.assert_allclose(history, wanted[HISTORY], rtol=1e-12)
    scaled = normalised(found.importance).numpy()
    low, high = wanted[IMPORTANCE].min(), wanted[IMPORTANCE].max()
    np.testing.assert_allclose(scaled, (wanted[IMPORTANCE] - low) / (high - low), atol=1e-9)
    assert (scaled.min(), scaled.max()) == (0, 1)


def test_a_history_worked_by_hand() -> None:
    now = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]], dtype=torch.float64)
    one = torch.tensor([[0.2, 0.2, 0.6], [0.0, 0.5, 0.5]], dtype=torch.float64)
    two = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.3, 0.3]], dtype=torch.float64)
    assert stability(now, []).tolist() == [0, 0]
    # the first edge shares 0.2 + 0.2 + 0.2 with one and everything with two
    torch.testing.assert_close(stability(now, [one]), torch.tensor([0.6, 0.0]).double())
    torch.testing.assert_close(stability(now, [one, two]), torch.tensor([0.8, 0.2]).double())


def test_removed_operations_have_no_share_and_a_single_one_is_certain() -> None:
    alpha = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [1, 0, 0, 1]]).bool()
    found = edge_scores(alpha, kept, [1, 2, 3])
    p = alpha[1, [0, 2, 3]].double().softmax(0)
    q = p[1:] / p[1:].sum()
    torch.testing.assert_close(found.importance[1], 1 - p[0])
    torch.testing.assert_close(found.shares[1], torch.tensor([0.0, *q.tolist()]).double())
    torch.testing.assert_close(found.certainty[1], 1 + (q * q.log()).sum() / np.log(2))
    assert found.certainty[2].item() == 1
    assert found.shares[2].tolist() == [0, 0, 1]


@pytest.mark.parametrize("value", [0.0, 0.125, 1e9])
def test_equal_scores_count_as_one(value: float) -> None:
    assert normalised(torch.full((5,), value).double()).tolist() == [1] * 5
    alpha = torch.zeros(14, 8)
    found = edge_scores(alpha, EVERYTHING, NOT_NONE)
    assert normalised(found.importance).tolist() == normalised(found.certainty).tolist() == [1] * 14
    # nothing is excluded: no rounding of sums may decide
    scores = edge_scores(torch.randn(14, 8), EVERYTHING, list(range(8)))
    assert normalised(scores.importance).tolist() == [1] * 14


class Plain:
    """The published algorithm for one kind of cell, in plain Python."""

    def __init__(self, criterion: int) -> None:
        self.criterion = criterion
        self.selected = [-1] * 14
        self.candidate = [True] * 14
        self.stored: list[Array] = []

    def end(self, epoch: int, alpha: Array) -> None:
        scores, q = plain_scores(alpha, self.stored)
        self.stored = [*self.stored, q][-4:]
        if not any(self.candidate) or epoch < 9 or (epoch - 9) % 5:
            return
        low, high = scores.min(1, keepdims=True), scores.max(1, keepdims=True)
        with np.errstate(invalid="ignore"):
            factors = (scores - low) / (high - low)
        score = factors[: self.criterion + 1].prod(0)
        best = int(np.where(self.candidate, score, -np.inf).argmax())
        self.selected[best] = 1 + int(q[best].argmax())
        self.candidate[best] = False
        for node in range(2, 6):
            rows = [i for i, edge in enumerate(CELL.edges) if edge.target == node]
            if sum(not self.candidate[i] and self.selected[i] > 0 for i in rows) >= 2:
                for i in rows:
                    if self.candidate[i]:
                        self.candidate[i], self.selected[i] = False, 0

    def cell(self, alpha: Array) -> list[set[tuple[str, int]]]:
        """The inputs of each node if the search ended now."""
        p = softmax(alpha)
        found = []
        for node in range(2, 6):
            rows = [i for i, edge in enumerate(CELL.edges) if edge.target == node]
            kept = [i for i in rows if self.selected[i] > 0]
            others = [i for i in rows if self.selected[i] == -1]
            kept += sorted(others, key=lambda i: p[i, 0])[: 2 - len(kept)]
            best = {i: 1 + int(alpha[i, 1:].argmax()) for i in kept}
            operations = {i: self.selected[i] if self.selected[i] > 0 else best[i] for i in kept}
            names = {(CELL.primitives[m], CELL.edges[i].source) for i, m in operations.items()}
            found.append(names)
        return found


@pytest.mark.parametrize("criterion", [1, 2])
def test_decisions_of_fifty_epochs_are_those_of_the_published_algorithm(criterion: Any) -> None:
    strategy = SGAS(criterion)
    module = SearchModule(SPEC, DartsSupernet(channels=4, layers=3), strategies=[strategy])
    plain = {kind: Plain(criterion) for kind in SPACE.kinds}
    draw = np.random.default_rng(3)
    alphas = {kind: 1e-3 * draw.normal(size=(14, 8)) for kind in SPACE.kinds}
    for epoch in range(50):
        for kind, alpha in alphas.items():
            # decided and removed edges no longer move
            alpha[plain[kind].candidate] += 0.1 * draw.normal(size=(sum(plain[kind].candidate), 8))
            module.arch.alpha[kind].data = torch.from_numpy(alpha.copy())
        strategy._close(module, epoch)
        for kind, alpha in alphas.items():
            plain[kind].end(epoch, alpha)
            running = module.arch.survivors.running(kind)  # type: ignore[union-attr]
            wanted = [(s,) if s > 0 else () if s == 0 else tuple(range(8))
                      for s in plain[kind].selected]  # fmt: skip
            assert running == (None if epoch < 9 else tuple(wanted))
            nodes = module.genotype().cells[kind].nodes
            found = [{(i.primitive, i.source) for i in node} for node in nodes]
            assert found == plain[kind].cell(alpha), (epoch, kind)
            assert all(list(node) == sorted(node, key=lambda i: i.source) for node in nodes)
    ends = [d.epoch for d in strategy._decisions if d.kind == "normal"]
    assert ends == [9, 14, 19, 24, 29, 34, 39, 44]
    assert all(sum(s > 0 for s in one.selected) == 8 for one in plain.values())


def tiny(*others: SearchStrategy, **settings: Any) -> tuple[SGAS, SearchModule]:
    strategy = SGAS(**{"first_epoch": 0, "every": 1, **settings})
    return strategy, search([strategy, *others])


def test_ties_go_to_the_first_edge_and_operation() -> None:
    strategy, module = tiny()
    for alpha in module.arch.alpha.values():
        alpha.data.zero_()
    for epoch in range(5):
        strategy._close(module, epoch)
    normal = [(d.edge, d.operation) for d in strategy._decisions if d.kind == "normal"]
    assert normal == [(0, 1), (1, 1), (2, 1), (3, 1)]  # none is column 0


def test_decisions_that_were_missed_are_made_up_for() -> None:
    strategy, module = tiny(first_epoch=1, every=2)
    strategy._close(module, 0)
    assert not strategy._decisions
    strategy._close(module, 5)
    assert [d.epoch for d in strategy._decisions] == [5] * 6  # 1, 3 and 5, of two kinds


def test_a_space_that_keeps_all_edges_removes_none() -> None:
    supernet = NasBench201Supernet(channels=4, cells=1)
    strategy = SGAS(first_epoch=0, every=1)
    module = SearchModule(SPEC, supernet, strategies=[strategy])
    for epoch in range(6):
        strategy._close(module, epoch)
        assert len(strategy._decisions) == epoch + 1
    running = module.arch.survivors.running("cell")  # type: ignore[union-attr]
    assert [len(row) for row in running or ()] == [1] * 6
    assert module.arch().ops["cell"].sum(1).tolist() == [1] * 6


def test_choices_are_decided_one_after_the_other() -> None:
    strategy = SGAS(first_epoch=0, every=1)
    module = SearchModule(
        SPEC, ChoiceSupernet("tests.spaces.choice.networks.Chain"), strategies=[strategy]
    )
    for epoch in range(4):
        strategy._close(module, epoch)
        assert len(strategy._decisions) == min(epoch + 1, 3)
    assert {d.kind for d in strategy._decisions} == set(module.space.kinds)
    assert module.genotype().cells


@pytest.mark.parametrize(
    ("others", "names"),
    [
        ([EdgeNormalization()], "EdgeNormalization"),
        ([EdgeNormalization(), TwoStage(1)], "EdgeNormalization"),
        ([ExponentiatedGradient()], "ExponentiatedGradient"),
        ([FairDARTS()], "FairDARTS"),
        ([BinaryGates()], "BinaryGates"),
        ([SkipCap()], "SkipCap"),
    ],
    ids=str,
)
def test_what_cannot_be_combined_is_refused(others: list[SearchStrategy], names: str) -> None:
    for strategies in ([SGAS(), *others], [*others, SGAS()]):
        with pytest.raises(UsageError, match=r"conflicting strategies: .*; keep one of") as raised:
            SearchPlan(SPACE, strategies)
        assert "SGAS" in str(raised.value)
        assert names in str(raised.value)
        assert "\n" not in str(raised.value)
