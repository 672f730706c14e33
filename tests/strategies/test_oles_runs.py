"""OLES in runs: off, warm-up, resume in the middle of a window, two processes, and refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsSupernet, RecurrentSupernet
from nas_lightning.strategies import OLES, SingleLevel, WarmUp
from nas_lightning.tasks import LanguageModeling
from tests.conftest import SPEC, SearchFactory, quiet_trainer
from tests.ddp.cases import CASES
from tests.recorded import EXACT, Save, run, same, search


def test_off_it_is_darts_bit_for_bit(tmp_path: Path) -> None:
    short = {"max_epochs": 1, "limit_train_batches": 2}
    runs = [run(strategies, tmp_path, **short) for strategies in ([], [OLES(threshold=-1)])]
    assert same(runs[0].trace, runs[1].trace)
    for one, other in zip(*(each.module.parameters() for each in runs), strict=True):
        assert torch.equal(one, other)


def test_a_warm_up_is_not_compared(tmp_path: Path) -> None:
    oles = OLES(threshold=1, count=1)
    found = run([WarmUp(1), oles], tmp_path, max_epochs=1, limit_train_batches=2)
    assert oles._tally is None
    assert not oles._frozen
    assert found.trainer.callback_metrics["oles/frozen"] == 0


def test_a_run_goes_on_in_the_middle_of_a_window(tmp_path: Path) -> None:
    """Four of six batches are before the stop, and a mean is taken after three."""
    saver = Save(tmp_path / "middle.ckpt")
    single: dict[str, Any] = {"precision": "32-true"}
    whole = run([OLES(threshold=0.78, count=3)], tmp_path, saver, **single)
    again = search([OLES(threshold=0.78, count=3)], seed=99)
    trainer = quiet_trainer(default_root_dir=tmp_path, **{**EXACT, **single})
    trainer.fit(again, datamodule=whole.data, ckpt_path=saver.path, weights_only=True)
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    states = [strategy.state_dict() for m in (whole.module, again) for strategy in m.strategies]
    kept = torch.load(saver.path, weights_only=True)["callbacks"]["OLES"]
    assert kept["tally"][1].tolist() == [1] * (15 - len(kept["frozen"]))
    assert 0 < len(kept["frozen"]) < len(states[0]["frozen"]) < 15
    assert states[0]["frozen"] == states[1]["frozen"]
    assert torch.equal(states[0]["tally"], states[1]["tally"])
    said = again.genotype().provenance["oles"]
    assert said == whole.module.genotype().provenance["oles"]
    assert said["operations"] == 15
    oles = again.strategies[0]
    assert isinstance(oles, OLES)
    for found, (index, epoch) in zip(said["frozen"], oles._frozen.items(), strict=True):
        name = oles._operations[index].names[0]
        cell, edge = (int(name.split(f"{word}.")[1].split(".")[0]) for word in ("cells", "edges"))
        assert found == {
            "epoch": epoch,
            "cell": "normal" if cell == 0 else "reduce",
            "number": max(0, cell - 1),
            "edge": str(again.space.cells[0].edges[edge]),
            "operation": "sep_conv_3x3",
        }


def test_the_search_on_two_processes_freezes_something(tmp_path: Path) -> None:
    """So `tests/ddp` compares decisions."""
    case = CASES["oles"]
    module, data = case.build(tmp_path)
    trainer = quiet_trainer(default_root_dir=tmp_path, **case.settings)
    trainer.fit(module, datamodule=data)
    assert isinstance(module, SearchModule)
    found = module.genotype().provenance["oles"]
    assert 0 < len(found["frozen"]) < found["operations"]


def test_refusals(make_search: SearchFactory) -> None:
    pools = DartsSupernet(8, 3, nodes=1, primitives=("none", "skip_connect", "max_pool_3x3"))
    with pytest.raises(UsageError, match="no operation of the space darts has any: remove it"):
        SearchModule(SPEC, pools, strategies=[OLES()])
    with pytest.raises(UsageError, match="no operation of the space darts_recurrent has any: "):
        SearchModule({"num_tokens": 9}, RecurrentSupernet(8), LanguageModeling(), [OLES()])
    with pytest.raises(UsageError, match=r"OLES compares .*, SingleLevel takes both of one; keep"):
        make_search([SingleLevel(), OLES()])
    make_search([SingleLevel(), OLES(threshold=-1)])
