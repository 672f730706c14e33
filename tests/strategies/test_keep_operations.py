"""A search among some of the operations: the sets, what runs, and what a checkpoint holds."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_lightning.architecture import Genotype
from nas_lightning.data import Synthetic
from nas_lightning.errors import CheckpointMismatchError, UsageError
from nas_lightning.search import SearchModule, SearchPlan
from nas_lightning.spaces import PUBLISHED, DartsSpace, NasBench201Space
from nas_lightning.strategies import GDAS, EdgeNormalization, KeepOperations, PartialChannels
from nas_lightning.strategies.keep_operations import best, given
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, TrainerFactory, tiny_supernet

SPACE = DartsSpace(2, PRIMITIVES)
NONE, POOL, SKIP, SEP = PRIMITIVES
EDGES = ("0-2", "1-2", "0-3", "1-3", "2-3")
NESTED: dict[str, Any] = {
    "normal": {"0-2": [NONE, SKIP, SEP], "2-3": [SKIP]},
    "reduce": [POOL, SEP],
}


def found(normal: list[list[float]], **provenance: Any) -> Genotype:
    """A genotype with mixing weights of the normal cell, and equal ones of the reduction cell."""
    mixing = {"normal": {"ops": normal}, "reduce": {"ops": [[0.25] * 4] * 5}}
    cells = Genotype.from_dict(json.loads(CELLS)).cells
    return Genotype(SPACE, cells, provenance, mixing)


CELLS = json.dumps(
    {
        "format": "nas-lightning genotype",
        "version": 2,
        "space": SPACE.to_config(),
        "cells": {
            kind: {
                "nodes": [[{"primitive": SEP, "source": 0}, {"primitive": SEP, "source": 1}]] * 2,
                "concat": [2, 3],
            }
            for kind in ("normal", "reduce")
        },
    }
)
WEIGHTS = [
    [0.4, 0.3, 0.2, 0.1],
    [0.1, 0.2, 0.3, 0.4],
    [0.3, 0.3, 0.3, 0.1],  # equal ones: the later are kept
    [0.25, 0.25, 0.25, 0.25],
    [0.1, 0.4, 0.1, 0.4],
]


# -- sets ------------------------------------------------------------------------------------------


def test_the_best_operations_of_each_edge_are_kept_and_the_later_of_equal_ones() -> None:
    sets = best(found(WEIGHTS), SPACE, 2)
    assert list(sets["normal"].values()) == [
        [NONE, POOL], [SKIP, SEP], [POOL, SKIP], [SKIP, SEP], [POOL, SEP]
    ]  # fmt: skip
    assert list(sets["normal"]) == list(EDGES)
    assert set(map(tuple, sets["reduce"].values())) == {(SKIP, SEP)}


def test_an_edge_does_not_keep_none_alone() -> None:
    rows = [[0.9, 0.02, 0.05, 0.03], *WEIGHTS[1:]]
    assert best(found(rows), SPACE, 1)["normal"]["0-2"] == [SKIP]
    assert best(found(rows), SPACE, 2)["normal"]["0-2"] == [NONE, SKIP]


def test_sets_of_a_chain_are_nested() -> None:
    """An operation that has not run is not taken, even if survivors have no weight either."""
    before = given(NESTED, SPACE)
    rows = [[0.0, 0.9, 1.0, 0.0], *WEIGHTS[1:4], [0.9, 0.9, 0.0, 0.9]]
    sets = best(found(rows, candidates=before), SPACE, 2)
    assert sets["normal"]["0-2"] == [SKIP, SEP]  # not the pool, which did not run
    assert sets["normal"]["2-3"] == [SKIP]
    assert all(
        set(names) <= set(before[kind][edge]) for kind in sets for edge, names in sets[kind].items()
    )


def test_given_sets_may_leave_out_edges_and_kinds() -> None:
    sets = given({"normal": {"1-3": [SEP, SKIP]}}, SPACE)
    assert sets["normal"].pop("1-3") == [SKIP, SEP]  # in the order of the space
    everything = [*sets["normal"].values(), *sets["reduce"].values()]
    assert everything == [list(PRIMITIVES)] * 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either genotype, the run directory of an earlier search, or candidates"),
        ({"genotype": "DARTS_V2", "keep": 1, "candidates": {}}, "give either genotype"),
        ({"genotype": "DARTS_V2"}, "give both or neither"),
        ({"candidates": {}, "keep": 1}, "give both or neither"),
        ({"genotype": "DARTS_V2", "keep": 2}, "other edges or operations than that of the search"),
        ({"candidates": {"norml": [SEP]}}, "unknown cell 'norml'; did you mean normal"),
        ({"candidates": {"normal": {"0-9": [SEP]}}}, "candidates.normal: unknown edge '0-9'"),
        ({"candidates": {"normal": ["sep_con"]}}, "unknown operation 'sep_con'; did you mean sep_"),
        ({"candidates": {"normal": {"0-2": []}}}, "candidates.normal.0-2 must be a list of oper"),
        (
            {"candidates": {"normal": 3}},
            "candidates.normal.0-2 must be a list of operations, found",
        ),
        ({"candidates": {"normal": SEP}}, "candidates.normal.0-2 must be a list of operations"),
        ({"candidates": {"normal": {"1-3": [NONE]}}}, "edge 1-3 of normal would have none only"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        SearchPlan(SPACE, [KeepOperations(**arguments)])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_genotype_without_weights_or_of_another_space_is_refused() -> None:
    with pytest.raises(UsageError, match="no mixing weights of the cell normal"):
        SearchPlan(DartsSpace(), [KeepOperations(PUBLISHED["DARTS_V2"].to_dict(), keep=2)])
    with pytest.raises(UsageError, match="has cells normal, reduce, the search cell: use the same"):
        SearchPlan(NasBench201Space(), [KeepOperations(found(WEIGHTS).to_dict(), keep=2)])
    ran = {"normal": {"0-2": [NONE]}}
    with pytest.raises(UsageError, match="edge 0-2 of normal would have none only"):
        SearchPlan(SPACE, [KeepOperations(found(WEIGHTS, candidates=ran).to_dict(), keep=2)])
    wrong = found([*WEIGHTS[:4], [0.1, 0.9]])
    with pytest.raises(UsageError, match=r"must be 4 numbers for each edge, found \[0.1, 0.9\]"):
        SearchPlan(SPACE, [KeepOperations(wrong.to_dict(), keep=2)])


# -- the search ------------------------------------------------------------------------------------


def masks(module: SearchModule) -> dict[str, list[list[bool]]]:
    """Which operations have a weight, by cell kind."""
    return {kind: (weights > 0).tolist() for kind, weights in module.arch().ops.items()}


def test_the_softmax_is_over_the_set(make_search: SearchFactory) -> None:
    module = make_search([KeepOperations(candidates=copy.deepcopy(NESTED))])
    mixing = module.arch()
    sets = given(NESTED, SPACE)
    for cell in SPACE.cells:
        alpha = module.arch.alpha[cell.kind]
        for i, edge in enumerate(cell.edges):
            kept = [m for m, name in enumerate(PRIMITIVES) if name in sets[cell.kind][str(edge)]]
            expected = torch.zeros(4)
            expected[kept] = alpha[i, kept].softmax(0)
            torch.testing.assert_close(mixing.ops[cell.kind][i], expected)
            assert mixing.active[cell.kind][i] == tuple(kept)
    assert mixing.ops["normal"][4, PRIMITIVES.index(SKIP)] == 1


@pytest.mark.parametrize(
    "others", [[], [GDAS()], [PartialChannels(2), EdgeNormalization()]], ids=["", "gdas", "partial"]
)
def test_what_does_not_run_stays_as_it_was_drawn(
    others: list[Any],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    """Weights, their momentum, α and its moments."""
    module = make_search([*others, KeepOperations(candidates=copy.deepcopy(NESTED))])
    before = copy.deepcopy(module.state_dict())
    make_trainer(max_epochs=1, limit_val_batches=1).fit(module, datamodule=search_data)
    assert len(masks(module)["normal"]) == 5
    sets = given(NESTED, SPACE)
    weight, arch = module.trainer.optimizers
    rows = {edge: i for i, edge in enumerate(EDGES)}
    kinds = {0: "normal", 1: "reduce", 2: "reduce"}
    gone = moved = 0
    for name, value in module.supernet.named_parameters():
        parts = name.split(".")
        if "ops" not in parts:
            continue
        cell, edge = int(parts[1]), int(parts[3])
        op = PRIMITIVES[int(parts[parts.index("ops") + 1])]
        edges = {i: sets[kinds[cell]][e] for e, i in rows.items()}
        same = torch.equal(value, before[f"supernet.{name}"])
        if op in edges[edge]:
            moved += not same
        else:
            gone += 1
            assert same, name
            assert not any(x.any() for x in weight.state[value].values()), name
    assert min(gone, moved) > 0
    for kind, alpha in module.arch.alpha.items():
        kept = module.arch.survivors.kept(kind)  # type: ignore[union-attr] # there are some
        free = kept & (kept.sum(1, keepdim=True) > 1)
        change = alpha.detach() != before[f"arch.alpha.{kind}"]
        assert not change[~free].any()
        assert change[free].any()
        for moment in ("exp_avg", "exp_avg_sq"):
            assert not arch.state[alpha][moment][~free].any()


def test_the_genotype_comes_from_the_sets_and_says_them(make_search: SearchFactory) -> None:
    strategy = KeepOperations(candidates={"normal": {"0-2": [NONE, POOL], "1-2": [SKIP]}})
    genotype = make_search([strategy]).genotype()
    first = genotype.cells["normal"].nodes[0]
    assert {(kept.primitive, kept.source) for kept in first} == {(POOL, 0), (SKIP, 1)}
    assert genotype.provenance["candidates"]["normal"]["0-2"] == [NONE, POOL]


# -- checkpoints -----------------------------------------------------------------------------------


def trained(strategy: KeepOperations, folder: Path, search: SearchFactory, trainer: TrainerFactory,
            data: Synthetic) -> Path:  # fmt: skip
    """A checkpoint of a short search."""
    running = trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=1)
    running.fit(search([strategy]), datamodule=data)
    running.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


def test_a_checkpoint_holds_the_genotype(
    tmp_path: Path,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    file = tmp_path / "genotype.json"
    found(WEIGHTS, run_dir="runs/first", strategies=["…"]).save(file)
    strategy = KeepOperations(str(file), keep=2)
    assert repr(strategy) == "KeepOperations(genotype='runs/first', keep=2)"
    path = trained(strategy, tmp_path, make_search, make_trainer, search_data)
    file.unlink()
    module = SearchModule.load_from_checkpoint(path, weights_only=True)
    assert masks(module)["normal"][0] == [True, True, False, False]
    assert module.genotype().provenance["candidates"] == best(found(WEIGHTS), SPACE, 2)


def test_a_run_with_other_sets_is_refused(
    tmp_path: Path,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    first = KeepOperations(candidates={"normal": {"0-2": [SKIP, SEP]}})
    path = trained(first, tmp_path, make_search, make_trainer, search_data)
    other = KeepOperations(candidates={"normal": {"0-2": [POOL, SEP]}})
    module = make_search([other])
    with pytest.raises(CheckpointMismatchError) as caught:
        make_trainer(max_epochs=2).fit(module, datamodule=search_data, ckpt_path=path)
    expected = f"KeepOperations keeps {SKIP}, {SEP} on edge 0-2 of normal in the checkpoint and "
    assert expected + f"{POOL}, {SEP} now" in str(caught.value)
    assert masks(module)["normal"][0] == [False, True, False, True]  # nothing was loaded


def test_the_space_and_the_supernet_are_those_of_the_tests() -> None:
    assert tiny_supernet().space_of(SPEC) == SPACE
