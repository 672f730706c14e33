"""The spaces S1 to S4 of RobustDARTS: their sets of operations, and noise as an operation."""

import copy
import math
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.layers.primitives import PRIMITIVES, RETRAIN_NORM
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import ReferenceCell
from tests.conftest import SPEC, TrainerFactory
from tests.recorded import Save

SKIP, SEP, DIL3, DIL5 = "skip_connect", "sep_conv_3x3", "dil_conv_3x3", "dil_conv_5x5"
MAX, AVG = "max_pool_3x3", "avg_pool_3x3"
SETS = {"s2": {SKIP, SEP}, "s3": {"none", SKIP, SEP}, "s4": {"noise", SEP}}


def built(*configs: str) -> SearchModule:
    """Build a search from configurations."""
    cli: Any = PlanCLI(["fit", *(part for config in configs for part in ("--config", config))])
    assert isinstance(cli.model, SearchModule)
    return cli.model


def running(module: SearchModule, kind: str) -> list[set[str]]:
    """The operations that run on each edge of a cell."""
    cell = module.space.cell(kind)
    everything = (tuple(range(len(cell.primitives))),) * len(cell.edges)
    return [{cell.primitives[m] for m in row} for row in module.arch().active.get(kind, everything)]


def cells(module: SearchModule) -> int:
    """The number of different pairs of cells, counted node by node."""
    count = 1
    for cell in module.space.cells:
        allowed = [len(row - module.space.excluded) for row in running(module, cell.kind)]
        for node in cell.nodes:
            edges = cell.incoming(node)
            count *= sum(
                allowed[i] * allowed[j] for n, i in enumerate(edges) for j in edges[n + 1 :]
            )
    return count


def test_s1_has_two_operations_an_edge_which_differ() -> None:
    """Also after a method, whose strategies stay; the released code's first and last sets."""
    module = built("cifar_darts", "methods/second_order", "spaces/s1")
    names = [type(strategy).__name__ for strategy in module.strategies]
    assert names == ["Unrolled", "KeepOperations"]
    normal, reduce = running(module, "normal"), running(module, "reduce")
    assert [len(row) for row in (*normal, *reduce)] == [2] * 28
    assert normal[:2] == [{SKIP, DIL3}, {SKIP, DIL5}]
    assert normal[-2:] == [{DIL3, DIL5}] * 2
    assert reduce[:3] == [{MAX, AVG}, {MAX, DIL3}, {MAX, AVG}]
    assert reduce[6] == {MAX, SEP}
    # how often each set occurs in both cells
    sets = [frozenset(row) for row in (*normal, *reduce)]
    assert {row: sets.count(row) for row in sets} == {
        frozenset({SKIP, SEP}): 4, frozenset({SKIP, DIL3}): 5, frozenset({SKIP, DIL5}): 7,
        frozenset({SKIP, MAX}): 2, frozenset({DIL3, DIL5}): 2, frozenset({MAX, AVG}): 6,
        frozenset({MAX, DIL3}): 1, frozenset({MAX, SEP}): 1,
    }  # fmt: skip
    assert module.arch().ops["normal"].sum(dim=1).tolist() == pytest.approx([1.0] * 14)
    # of each node: a pair of its edges, with one of two operations on each
    assert cells(module) == math.prod(math.comb(n, 2) * 4 for n in (2, 3, 4, 5)) ** 2


@pytest.mark.parametrize("name", SETS)
def test_the_others_have_the_same_set_on_all_edges(name: str) -> None:
    module = built("cifar_darts", "methods/gdas", f"spaces/{name}")
    assert [type(strategy).__name__ for strategy in module.strategies] == ["GDAS"]
    for kind in ("normal", "reduce"):
        assert running(module, kind) == [SETS[name]] * 14
    assert cells(module) == 46080**2  # `none` is in no genotype
    plain = built("cifar_darts")
    assert isinstance(module.factory, DartsSupernet)
    assert isinstance(plain.factory, DartsSupernet)
    assert module.factory.layers == plain.factory.layers == 8


# -- noise -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
def test_noise_is_standard_normal_and_ignores_the_input(stride: int) -> None:
    op = PRIMITIVES["noise"](16, stride, RETRAIN_NORM)
    assert not list(op.parameters())
    for x in (torch.full((8, 16, 31, 31), 7.0), torch.zeros(8, 16, 31, 31)):
        torch.manual_seed(0)
        out = op(x)
        assert out.shape == (8, 16, -(-31 // stride), -(-31 // stride))
        count = out.numel()
        assert abs(float(out.mean())) < 5 / math.sqrt(count)
        assert abs(float(out.var()) - 1) < 5 * math.sqrt(2 / count)
        again: Tensor = op.eval()(x)
        assert not torch.equal(out, again)
        torch.manual_seed(0)
        assert torch.equal(op(x), out)


def noisy(*strategies: Any, seed: int = 0) -> SearchModule:
    """A small search among noise and others."""
    lightning.seed_everything(seed, verbose=False)
    factory = DartsSupernet(8, 3, nodes=2, primitives=("noise", SKIP, SEP))
    return SearchModule(SPEC, factory, strategies=list(strategies))


def test_the_fast_cell_runs_noise_as_the_reference_cell_does() -> None:
    """With one edge of noise, since the two draw in different orders."""
    fast, reference = noisy().double(), noisy(ReferenceCell()).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    mixing = fast.arch().detach()
    ops = {kind: weights.clone() for kind, weights in mixing.ops.items()}
    for weights in ops.values():
        weights[:, 0] = 0
    ops["normal"][2, 0] = 0.7
    active = {
        kind: tuple(tuple(torch.nonzero(row)[:, 0].tolist()) for row in weights)
        for kind, weights in ops.items()
    }
    changed = type(mixing)(ops, mixing.edges, active)
    outputs = []
    for module in (fast, reference):
        torch.manual_seed(1)
        outputs.append(module.supernet(x, changed))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-9, atol=1e-9)
    torch.manual_seed(2)
    assert not torch.allclose(fast.supernet(x, changed), outputs[0])


def test_a_search_among_noise_resumes_bit_for_bit(
    make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    saver = Save(tmp_path / "middle.ckpt")
    settings: dict[str, Any] = {"max_epochs": 2, "limit_train_batches": 2, "limit_val_batches": 1}
    whole, again = noisy(), noisy(seed=99)
    make_trainer(callbacks=[saver], **settings).fit(whole, datamodule=copy.deepcopy(search_data))
    make_trainer(**settings).fit(again, datamodule=search_data, ckpt_path=saver.path)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
