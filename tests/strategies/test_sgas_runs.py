"""Searches with SGAS: what is frozen does not move, nothing is left to discretise, exact resume."""

import copy
import csv
import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from nas_lightning.architecture import Genotype
from nas_lightning.search import SearchModule, SearchStrategy, one_hot
from nas_lightning.strategies import SGAS, ReferenceCell
from nas_lightning.supernet import Mixing
from tests.conftest import quiet_trainer
from tests.contract.test_methods import assert_equal
from tests.recorded import EXACT, Recorder, data, search

EPOCHS = 6
"""Four decisions of each kind, then two more epochs."""
SETTINGS: dict[str, Any] = {**EXACT, "max_epochs": EPOCHS}
CPU = torch.device("cpu")


class Watch(Callback):
    """Keeps after every batch what runs, the state of Adam and the weights of the supernet."""

    def __init__(self) -> None:
        self.active: list[dict[str, Any]] = []
        self.moments: list[dict[str, dict[str, Tensor]]] = []
        self.weights: list[dict[str, Tensor]] = []
        self.momentum: list[dict[str, Tensor]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        self.active.append(dict(pl_module.arch().active))
        weight, arch = trainer.optimizers
        copies = {}
        for name, value in pl_module.arch.named().items():
            state = arch.state[value]
            copies[name] = {key: state[key].clone() for key in ("exp_avg", "exp_avg_sq")}
        self.moments.append(copies)
        named = dict(pl_module.supernet.named_parameters())
        self.weights.append({name: value.detach().clone() for name, value in named.items()})
        buffers = {
            name: weight.state[value].get("momentum_buffer") for name, value in named.items()
        }
        self.momentum.append({name: b.clone() for name, b in buffers.items() if b is not None})


def fit(
    strategies: Sequence[SearchStrategy], folder: Path, *callbacks: Callback, **more: Any
) -> SearchModule:
    module = search(strategies)
    trainer = quiet_trainer(default_root_dir=folder, **{**SETTINGS, **more}, callbacks=[*callbacks])
    trainer.fit(module, datamodule=data())
    return module


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchModule, Recorder, Watch]:
    recorder, watch = Recorder(), Watch()
    folder = tmp_path_factory.mktemp("sgas")
    module = fit([SGAS(first_epoch=0, every=1)], folder, recorder, watch)
    return module, recorder, watch


Whole = tuple[SearchModule, Recorder, Watch]


def test_frozen_rows_do_not_move_and_the_others_do(whole: Whole) -> None:
    """DARTS' Adam, with momentum and weight decay; bit for bit, with its moments."""
    module, recorder, watch = whole
    frozen = 0
    for before, after in itertools.pairwise(range(len(recorder.trace))):
        for kind in module.space.kinds:
            name = f"alpha.{kind}"
            active = watch.active[after].get(kind, [range(4)] * 5)
            for row, runs in enumerate(active):
                same = torch.equal(*(recorder.trace[i][name][row] for i in (before, after)))
                assert same == (len(runs) < 2), (after, kind, row)
                if same:
                    frozen += 1
                    for key in ("exp_avg", "exp_avg_sq"):
                        one, two = (watch.moments[i][name][key][row] for i in (before, after))
                        assert torch.equal(one, two)
                        assert bool(one.any())  # they have moved before
    assert frozen > 50


def test_weights_of_removed_operations_stay_as_they_were(whole: Whole) -> None:
    """SGD with momentum and weight decay leaves them alone; the others move in every step."""
    module, _, watch = whole
    still = 0
    for before, after in itertools.pairwise(range(len(watch.weights))):
        for name, value in watch.weights[after].items():
            parts = name.split(".")
            moved = not torch.equal(value, watch.weights[before][name])
            if "edges" not in parts:
                assert moved, name
                continue
            cell, edge, operation = (
                int(parts[parts.index(w) + 1]) for w in ("cells", "edges", "ops")
            )
            kinds: Any = module.supernet.kinds
            active = watch.active[after].get(kinds[cell])
            assert moved == (active is None or operation in active[edge]), (after, name)
            if not moved:
                still += 1
                momenta = (watch.momentum[i][name] for i in (before, after))
                assert torch.equal(*momenta)
    assert still > 100


def test_nothing_is_left_to_discretise(whole: Whole) -> None:
    """The supernet computes exactly the network of its genotype, the decided operations alone."""
    module = whole[0]
    genotype, mixing = module.genotype(), module.arch()
    found = one_hot(module.space, genotype, CPU)
    for cell in module.space.cells:
        kind = cell.kind
        assert torch.equal(mixing.ops[kind], found.ops[kind].double())
        assert mixing.edges[kind].tolist() == [1] * 5
        rows = [tuple(row.nonzero()[:, 0].tolist()) for row in found.ops[kind]]
        assert mixing.active[kind] == tuple(rows)
        assert sorted(map(len, rows)) == [0, 1, 1, 1, 1]
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        module.supernet.eval()
        output = module.supernet(x, mixing)
        torch.testing.assert_close(output, module.supernet(x, found), rtol=1e-12, atol=1e-12)
        # with every operation of every edge computed, and weighed with 1 or 0
        everything = Mixing(mixing.ops, mixing.edges)
        torch.testing.assert_close(output, module.supernet(x, everything), rtol=1e-9, atol=1e-9)


def test_the_genotype_has_the_decisions_and_the_scores(whole: Whole) -> None:
    module = whole[0]
    genotype = Genotype.from_dict(module.genotype().to_dict(), module.space)
    found = genotype.provenance["sgas"]
    assert [d["epoch"] for d in found["decisions"]] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [d["cell"] for d in found["decisions"]] == ["normal", "reduce"] * 4
    for cell in module.space.cells:
        edges = {f"{i.source}-{node}": i.primitive
                 for node, inputs in zip(cell.nodes, genotype.cells[cell.kind].nodes, strict=True)
                 for i in inputs}  # fmt: skip
        said = {d["edge"]: d["operation"] for d in found["decisions"] if d["cell"] == cell.kind}
        assert said == edges
        scores = found["scores"][cell.kind]
        assert scores.keys() == {str(edge) for edge in cell.edges}
        assert all(one.keys() == {"importance", "certainty", "score"} for one in scores.values())
        assert max(one["score"] for one in scores.values()) <= 1


def test_the_reference_cell_finds_the_same(whole: Whole, tmp_path: Path) -> None:
    """While edges are decided, and after: the fast cell computes what still runs."""
    recorder = Recorder()
    module = fit([SGAS(first_epoch=0, every=1), ReferenceCell()], tmp_path, recorder)
    assert module.genotype().cells == whole[0].genotype().cells
    for one, other in zip(recorder.trace, whole[1].trace, strict=True):
        for name, value in one.items():
            torch.testing.assert_close(value, other[name], rtol=1e-6, atol=1e-9)


class SaveAt(Checkpoint):
    """Saves where a run may stop: within epochs, after validations, at ends of epochs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _save(self, trainer: Trainer, place: str) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch} {place}.ckpt")

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        self._save(trainer, f"batch {trainer.fit_loop.batch_idx}")

    def on_validation_end(self, trainer: Trainer, *_: object) -> None:
        if not trainer.sanity_checking:
            self._save(trainer, "validated")

    def on_train_epoch_end(self, trainer: Trainer, *_: object) -> None:
        self._save(trainer, "end")


PLACES = ["1 batch 1", "1 validated", "1 end", "2 batch 0", "3 end"]
"""Decisions are taken at the ends of epochs 1 and 3."""


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.long)])
def saved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SGAS, SearchModule, Path]:
    folder = tmp_path_factory.mktemp("resume")
    strategy = SGAS(request.param, first_epoch=1, every=2, history=2)
    module = fit(
        [copy.deepcopy(strategy)], folder, SaveAt(folder), max_epochs=5, enable_checkpointing=True
    )
    return strategy, module, folder


@pytest.mark.parametrize("place", PLACES)
def test_resume_before_at_and_after_a_decision(
    place: str, saved: tuple[SGAS, SearchModule, Path]
) -> None:
    strategy, whole, folder = saved
    again = resumed(strategy, folder, f"{place}.ckpt")
    assert_equal(whole, again)
    one, other = (module.genotype().to_dict() for module in (whole, again))
    assert one == other
    assert [d["epoch"] for d in one["provenance"]["sgas"]["decisions"]] == [1, 1, 3, 3]


def test_a_decision_whose_end_of_epoch_was_skipped_is_taken(
    saved: tuple[SGAS, SearchModule, Path],
) -> None:
    """Lightning skips the hooks at the end of an epoch that stopped after its last batch."""
    module = resumed(saved[0], saved[2], "1 batch 2.ckpt")
    found = module.genotype().provenance["sgas"]["decisions"]
    assert [d["epoch"] for d in found] == [1, 1, 3, 3]


def resumed(strategy: SGAS, folder: Path, name: str) -> SearchModule:
    lightning.seed_everything(0, verbose=False)  # orders follow the seed of the process
    samples = data()
    again = search([copy.deepcopy(strategy)], seed=99).double()
    trainer = quiet_trainer(default_root_dir=folder, **{**SETTINGS, "max_epochs": 5})
    trainer.fit(again, datamodule=samples, ckpt_path=folder / name, weights_only=True)
    return again


def test_a_checkpoint_has_the_decisions_of_its_moment(
    saved: tuple[SGAS, SearchModule, Path],
) -> None:
    """Also outside of a fit, as `nas test` loads it."""
    for place, decided in (("1 batch 1", 0), ("2 batch 0", 2), ("4 end", 4)):
        path = saved[2] / f"{place}.ckpt"
        module = SearchModule.load_from_checkpoint(path, weights_only=True)
        assert len(module.genotype().provenance["sgas"]["decisions"]) == decided
        running = [row for rows in module.arch().active.values() for row in rows]
        assert sum(len(row) == 1 for row in running) == decided


def test_scores_are_logged(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few batches
        fit([SGAS(2, first_epoch=1, every=1)], tmp_path, max_epochs=3, logger=logger)
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    decided = [float(row["sgas/decided"]) for row in rows if row["sgas/decided"]]
    assert decided == [0, 2, 4]
    names = [name for name in rows[0] if name.startswith("sgas/")]
    assert len(names) == 1 + 2 * 5 * 4
    assert "sgas/normal/0-2/stability" in names
