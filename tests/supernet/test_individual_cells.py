"""Cells that are searched one by one: each has α of its own, and a retraining has as many."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.data import Synthetic
from nas_lightning.errors import GenotypeError, UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule, SearchStrategy, one_hot
from nas_lightning.spaces import (
    DARTS_PRIMITIVES,
    CellNetwork,
    DartsNetwork,
    DartsSupernet,
    get_space,
)
from nas_lightning.strategies import (
    Backtracking,
    EdgeNormalization,
    ExponentiatedGradient,
    PartialChannels,
)
from nas_lightning.supernet import Mixing
from tests.conftest import PRIMITIVES, SPEC, TrainerFactory
from tests.supernet.test_supernet import inherit

IDARTS = (
    PartialChannels(2),
    EdgeNormalization(),
    Backtracking(start=-10, rate=0.1, coefficient=0.04),
)
GAEA = (
    PartialChannels(2),
    ExponentiatedGradient(edges=True),
    Backtracking(start=-10, rate=0.1, coefficient=0.04),
)


def supernet(layers: int = 3) -> DartsSupernet:
    return DartsSupernet(channels=8, layers=layers, nodes=2, primitives=PRIMITIVES, individual=True)


def test_eight_layers_have_eight_times_the_alpha_of_a_cell() -> None:
    module = SearchModule({**SPEC, "image_size": 16}, DartsSupernet(4, 8, individual=True))
    assert sum(alpha.numel() for alpha in module.arch.alpha.values()) == 8 * 14 * 8
    assert list(module.arch.alpha) == [
        "layer_00_normal",
        "layer_01_normal",
        "layer_02_reduce",
        "layer_03_normal",
        "layer_04_normal",
        "layer_05_reduce",
        "layer_06_normal",
        "layer_07_normal",
    ]
    # no weight depends on how the cells are searched
    shared = SearchModule({**SPEC, "image_size": 16}, DartsSupernet(4, 8))
    mine, theirs = (
        {name: value.shape for name, value in m.supernet.state_dict().items()}
        for m in (module, shared)
    )
    assert mine == theirs


def test_the_same_mixing_in_every_layer_is_the_shared_supernet() -> None:
    torch.manual_seed(0)
    shared = DartsSupernet(channels=4, layers=4, nodes=2).build(SPEC, 1)
    individual = DartsSupernet(channels=4, layers=4, nodes=2, individual=True).build(SPEC, 1)
    individual.load_state_dict(shared.state_dict())
    kinds = ("normal", "reduce")
    ops = {kind: torch.rand(5, 8) for kind in kinds}
    edges = {kind: torch.rand(5) for kind in kinds}
    of_layers = Mixing(
        {kind: ops[kind.split("_")[2]] for kind in individual.kinds},
        {kind: edges[kind.split("_")[2]] for kind in individual.kinds},
    )
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(individual(x, of_layers), shared(x, Mixing(ops, edges)))


def test_each_layer_follows_its_own_mixing() -> None:
    """Changing the weights of one layer changes what comes out of it and nothing before it."""
    torch.manual_seed(0)
    built = supernet(4).build(SPEC, 1)
    x = torch.randn(2, 3, 8, 8)
    outputs: list[Tensor] = []
    for cell in built.cells:
        cell.register_forward_hook(lambda module, inputs, output: outputs.append(output))

    def run(changed: str | None) -> list[Tensor]:
        outputs.clear()
        ops = {kind: torch.full((5, 4), 0.25) for kind in built.kinds}
        if changed is not None:
            ops[changed] = torch.tensor([0.7, 0.1, 0.1, 0.1]).expand(5, 4)
        built(x, Mixing(ops, {kind: torch.ones(5) for kind in built.kinds}))
        return list(outputs)

    before = run(None)
    for index, kind in enumerate(built.kinds):
        same = [torch.equal(a, b) for a, b in zip(before, run(kind), strict=True)]
        assert same == [i < index for i in range(len(built.kinds))]


@pytest.mark.parametrize("strategies", [(), IDARTS, GAEA], ids=["darts", "idarts", "gaea"])
def test_it_searches_learns_every_cell_and_resumes_bit_for_bit(
    strategies: tuple[SearchStrategy, ...],
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    def make(seed: int) -> SearchModule:
        torch.manual_seed(seed)
        return SearchModule(SPEC, supernet(), strategies=copy.deepcopy(list(strategies)))

    module = make(0)
    before = {name: value.detach().clone() for name, value in module.arch.named().items()}
    trainer = make_trainer(max_epochs=2, limit_train_batches=2)
    trainer.fit(module, datamodule=search_data)
    moved = [
        name for name, value in module.arch.named().items() if not torch.equal(value, before[name])
    ]
    assert moved == list(before)
    half = make(0)
    first = make_trainer(max_epochs=2, limit_train_batches=2)
    first.fit_loop.epoch_loop.max_steps = 4  # two batches of two optimizers each
    first.fit(half, datamodule=search_data)
    first.save_checkpoint(tmp_path / "half.ckpt")
    again = make(99)
    make_trainer(max_epochs=2, limit_train_batches=2).fit(
        again, datamodule=search_data, ckpt_path=tmp_path / "half.ckpt", weights_only=True
    )
    for name, value in module.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert again.genotype().space.name == "darts_individual_3"


def test_the_genotype_goes_through_a_file_to_a_retraining(tmp_path: Path) -> None:
    module = SearchModule(SPEC, supernet())
    found = module.genotype()
    found.save(tmp_path / "genotype.json")
    again = Genotype.load(tmp_path / "genotype.json")
    assert again == found
    assert list(again.cells) == ["layer_00_normal", "layer_01_reduce", "layer_02_reduce"]
    retrain = RetrainModule(
        SPEC, str(tmp_path / "genotype.json"), DartsNetwork(4, 3), auxiliary_weight=0.0
    )
    assert isinstance(retrain.network, CellNetwork)
    cells = [cell.genotype for cell in retrain.network.cells]
    assert cells == list(found.cells.values())


@pytest.mark.parametrize("seed", range(2))
def test_one_hot_mixing_computes_the_network_of_the_genotype(seed: int) -> None:
    torch.manual_seed(seed)
    primitives = [p for p in DARTS_PRIMITIVES if "pool" not in p]  # a batch norm in search only
    factory = DartsSupernet(channels=4, layers=4, primitives=primitives, individual=True)
    built = factory.build(SPEC, 1).double()
    genotype = random_genotype(factory.space, seed)
    assert len({str(cell.nodes) for cell in genotype.cells.values()}) > 2  # drawn one by one
    network = CellNetwork(genotype, 3, 4, 8, channels=4, layers=4).double()
    inherit(built, network, genotype, primitives)
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    mixing = one_hot(factory.space, genotype, torch.device("cpu"))
    torch.testing.assert_close(built(x, mixing), network.train()(x)[0])


def test_the_default_network_has_as_many_layers_as_were_searched() -> None:
    genotype = random_genotype(get_space("darts_individual_3"), 0).to_dict()
    retrain = RetrainModule(SPEC, genotype, auxiliary_weight=0.0)
    assert isinstance(retrain.network, CellNetwork)
    assert len(retrain.network.cells) == 3


def test_another_number_of_layers_is_refused() -> None:
    genotype = random_genotype(get_space("darts_individual_3"), 0).to_dict()
    with pytest.raises(UsageError, match=r"3 cells .* individually: set layers to 3, found 20"):
        RetrainModule(SPEC, genotype, DartsNetwork())
    with pytest.raises(UsageError, match="at most 99"):
        DartsSupernet(layers=100, individual=True)


@pytest.mark.parametrize(
    "name", ["darts_individual_0", "darts_individual_", "darts_individual_1e9"]
)
def test_a_name_without_a_number_of_layers_is_refused(name: str) -> None:
    data = random_genotype(get_space("darts_individual_1"), 0).to_dict()
    data |= {"version": 1, "space": name}
    with pytest.raises(GenotypeError, match="darts_individual_LAYERS"):
        Genotype.from_dict(data)
    with pytest.raises(UsageError, match="unknown search space"):
        get_space(name)
