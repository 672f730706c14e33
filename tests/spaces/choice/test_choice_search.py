"""Every strategy searches a network with choices, or is refused in one line."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam

from nas_lightning.architecture import Genotype
from nas_lightning.data import Synthetic
from nas_lightning.errors import CheckpointMismatchError, UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import BilevelProblem, SearchModule, SearchStrategy
from nas_lightning.search.bilevel import first_order
from nas_lightning.spaces import ChoiceSpace, ChoiceSupernet, default_network
from nas_lightning.strategies import (
    A2M,
    CDARTS,
    GDAS,
    OLES,
    SGAS,
    SNAS,
    AmendedGradient,
    AuxiliarySkip,
    Backtracking,
    BetaDecay,
    BinaryGates,
    CheckpointCells,
    DartsPlus,
    DrNAS,
    EdgeNormalization,
    ExponentiatedGradient,
    FairDARTS,
    KeepOperations,
    LambdaDARTS,
    LaterEdges,
    Neumann,
    PartialChannels,
    PerturbationSelection,
    ProgressiveChannels,
    ReferenceCell,
    ResourcePenalty,
    RobustDARTS,
    SingleLevel,
    SkipCap,
    SkipDropout,
    SmoothDARTS,
    TwoStage,
    Unrolled,
    WarmUp,
    WeightsFirst,
)
from nas_lightning.strategies.unrolled import unrolled_gradient
from tests.conftest import SPEC, quiet_trainer
from tests.methods import CLASSES
from tests.spaces.choice.networks import Wide

HERE = "tests.spaces.choice.networks"
SEARCHES: dict[str, tuple[SearchStrategy, ...]] = {
    "first order": (),
    "second order": (Unrolled(),),
    "amended": (AmendedGradient(exact=True),),
    "neumann": (Neumann(terms=2),),
    "gaea": (ExponentiatedGradient(entropy=0.01),),
    "gaea, single level": (ExponentiatedGradient(), SingleLevel()),
    "snas": (SNAS(), SingleLevel()),
    "gdas": (GDAS(),),
    "drnas": (DrNAS(kl=0.1),),
    "progressive, all channels": (ProgressiveChannels(1, keep=2, k=1, wide_k=1, warmup=0),),
    "gdas, second order": (GDAS(), Unrolled()),
    "fair": (FairDARTS(threshold=1.0),),
    "fair, edge": (FairDARTS(threshold=1.0, keep="edge"),),
    "darts+": (DartsPlus(skips=9),),
    "darts+, ranking": (DartsPlus(criterion="ranking"),),
    "robust": (RobustDARTS(every=1, window=1, back=1, first_epoch=0),),
    "warm-up": (WarmUp(epochs=1),),
    "weights first": (WeightsFirst(),),
    "binary gates": (BinaryGates(),),
    "a2m": (A2M(),),
    "beta": (BetaDecay(),),
    "overfitting": (OLES(threshold=0.8, count=2),),
    "sets": (KeepOperations(candidates={"kernel": ["k1", "k3"]}), LaterEdges()),
    "sgas": (SGAS(),),
    "smooth": (SmoothDARTS(),),
    "agreement": (LambdaDARTS(),),
    "selection": (PerturbationSelection(tuning_epochs=0),),
    "budget": (ResourcePenalty("parameters", 300.0),),
}
REFUSED: dict[str, tuple[list[SearchStrategy], str]] = {
    "edge normalisation": ([EdgeNormalization()], "EdgeNormalization weighs the edges into a node"),
    "backtracking": ([Backtracking()], "Backtracking weighs the edges"),
    "two stages": ([TwoStage(1)], "TwoStage chooses edges, but the space .* keeps all of them"),
    "edges": ([ExponentiatedGradient(edges=True)], "ExponentiatedGradient weighs the edges"),
    "second network": ([CDARTS()], "CDARTS weighs the edges into a node"),
    "channels": ([PartialChannels(2)], "PartialChannels: the candidates of .* all channels; remo"),
    "reference": ([ReferenceCell()], "Chain is computed in one way only: remove ReferenceCell"),
    "checkpoints": ([CheckpointCells()], "is computed in one way only: remove CheckpointCells"),
    "both": (
        [ReferenceCell(), CheckpointCells()],
        "in one way only: remove ReferenceCell and CheckpointCells",
    ),
    "cap": ([SkipCap()], "SkipCap counts the skip connections of a cell, but each choice of"),
    "dropout": ([SkipDropout()], "SkipDropout drops values after skip connections of stride 1"),
    "auxiliary": ([AuxiliarySkip()], "AuxiliarySkip adds an identity to the mixed edges of cells"),
    "kind": ([DartsPlus(kind="reduce")], "DartsPlus counts over all choices of .*: leave kind out"),
}


def search(strategies: Any = (), network: str = "Chain", **kwargs: Any) -> SearchModule:
    lightning.seed_everything(0, verbose=False)
    if not any(isinstance(strategy, ExponentiatedGradient) for strategy in strategies):
        kwargs["arch_optimizer"] = partial(Adam, lr=0.05)
    factory = ChoiceSupernet(f"{HERE}.{network}")
    return SearchModule(SPEC, factory, strategies=list(strategies), **kwargs)


def data(mode: Any = "search") -> Synthetic:
    return Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=32, test_size=8, batch_size=8,
        mode=mode,
    )  # fmt: skip


def fit(module: Any, **kwargs: Any) -> None:
    mode = "search" if isinstance(module, SearchModule) else "retrain"
    settings = {"max_epochs": 2, "limit_val_batches": 1, **kwargs}
    quiet_trainer(**settings).fit(module, datamodule=data(mode))


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_moves_alpha_and_its_genotype_is_retrained(name: str, tmp_path: Path) -> None:
    module = search(SEARCHES[name])
    before = {name: alpha.detach().clone() for name, alpha in module.arch.named().items()}
    assert len(before) == 3
    fit(module, default_root_dir=tmp_path)
    for key, alpha in module.arch.named().items():
        assert torch.isfinite(alpha).all()
        assert not torch.equal(alpha, before[key]), key
    found = module.genotype()
    for kind, ops in module.arch().ops.items():
        (node,) = found.cells[kind].nodes
        best = module.space.cell(kind).primitives[int(ops[0].argmax())]
        assert [kept.primitive for kept in node] == [best]
    found.save(tmp_path / "g.json")
    assert Genotype.load(tmp_path / "g.json") == found
    if name in ("first order", "gdas", "fair"):
        network = default_network(found.space)
        retrained = RetrainModule(SPEC, str(tmp_path / "g.json"), network, auxiliary_weight=0.0)
        fit(retrained, default_root_dir=tmp_path, max_epochs=1)
        assert all(torch.isfinite(parameter).all() for parameter in retrained.parameters())


@pytest.mark.parametrize("name", REFUSED)
def test_strategies_that_mean_nothing_for_choices(name: str) -> None:
    strategies, message = REFUSED[name]
    with pytest.raises(UsageError, match=message) as caught:
        search(strategies)
    assert "\n" not in str(caught.value)


def test_every_strategy_is_searched_or_refused() -> None:
    used = {type(strategy) for group in SEARCHES.values() for strategy in group}
    used |= {type(strategy) for group, _ in REFUSED.values() for strategy in group}
    assert used == set(CLASSES)


def test_a_choice_of_one_candidate_that_is_kept_is_decided(tmp_path: Path) -> None:
    module = search([KeepOperations(candidates={"last": ["skip"]})])
    before = module.arch.alpha["last"].detach().clone()
    fit(module, default_root_dir=tmp_path)
    assert torch.equal(module.arch.alpha["last"].detach(), before)
    assert module.arch().ops["last"].tolist() == [[1.0, 0.0]]
    assert module.genotype().count("skip", "last") == 1


def test_darts_plus_counts_identities_over_all_choices(tmp_path: Path) -> None:
    module = search([DartsPlus(skips=1)])
    assert isinstance(module.space, ChoiceSpace)
    assert module.space.skips == {"last": ["skip"]}
    with torch.no_grad():
        module.arch.alpha["last"].copy_(torch.tensor([[9.0, -9.0]]))
    assert module.genotype().skips("last") == 1
    assert module.genotype().skips("kernel") == 0
    fit(module, default_root_dir=tmp_path)
    assert module.trainer.current_epoch == 1  # it stopped after the first of two epochs
    with pytest.raises(UsageError, match=r"nn\.Identity, but .*NoSkip has none: set criterion: ra"):
        search([DartsPlus()], "NoSkip")


def test_one_candidate_and_running_statistics(tmp_path: Path) -> None:
    lightning.seed_everything(0, verbose=False)
    factory = ChoiceSupernet(f"{HERE}.OneCandidate", running_stats=True)
    module = SearchModule(SPEC, factory)
    fit(module, default_root_dir=tmp_path, precision="bf16-mixed")
    assert str(module.genotype()) == "only  conv"
    assert module.arch().ops["only"].tolist() == [[1.0]]
    moved = module.supernet.get_buffer("network.only.candidates.conv.1.running_var")
    assert not torch.equal(moved, torch.ones_like(moved))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((("a", "b"), ("a", "c")), r"choices\.two is a, b in the checkpoint and a, c now"),
        ((("a", "b"),) * 3, r"choices\.three is absent in the checkpoint and a, b now"),
    ],
)
def test_a_checkpoint_of_other_choices_is_refused_by_name(
    names: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = quiet_trainer(max_epochs=1, limit_train_batches=1, default_root_dir=tmp_path)
    trainer.fit(search(network="Wide"), datamodule=data())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    monkeypatch.setattr(Wide, "names", names)
    again = quiet_trainer(max_epochs=2, default_root_dir=tmp_path)
    with pytest.raises(CheckpointMismatchError, match=message):
        again.fit(
            search(network="Wide"), datamodule=data(), ckpt_path=tmp_path / "a.ckpt",
            weights_only=True,
        )  # fmt: skip


class Save(Callback):
    """Saves a checkpoint in the middle of the first epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        if trainer.current_epoch == 0 and not self.path.exists():
            trainer.save_checkpoint(self.path)


def test_a_resumed_search_ends_with_the_same_bits(tmp_path: Path) -> None:
    """With sampled candidates, running statistics and the moments of both optimizers."""

    def run(name: str, **kwargs: Any) -> SearchModule:
        lightning.seed_everything(0, verbose=False)
        factory = ChoiceSupernet(f"{HERE}.Chain", running_stats=True)
        module = SearchModule(SPEC, factory, strategies=[GDAS()])
        settings: dict[str, Any] = {"max_epochs": 2, "default_root_dir": tmp_path}
        trainer = quiet_trainer(callbacks=[Save(tmp_path / name)], **settings)
        trainer.fit(module, datamodule=data(), weights_only=True, **kwargs)
        return module

    straight = run("a.ckpt")
    resumed = run("b.ckpt", ckpt_path=tmp_path / "a.ckpt")
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_gradients_are_exact() -> None:
    """First order, and through an unrolled weight step, against autograd in float64."""
    module = search().double()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 8, 3, 8, 8, dtype=torch.float64, generator=generator)
    labels = torch.randint(4, (2, 8), generator=generator)
    weights = dict(module.supernet.named_parameters())
    arch = list(module.arch.named().values())

    def loss(half: int, moved: dict[str, Tensor] | None = None) -> Tensor:
        given = (images[half], module.arch())
        return cross_entropy(functional_call(module.supernet, moved or {}, given), labels[half])

    slopes = torch.autograd.grad(loss(0), list(weights.values()), create_graph=True)
    steps = zip(weights.items(), slopes, strict=True)
    moved = {name: weight - 0.05 * slope for (name, weight), slope in steps}
    optimizer = SGD(weights.values(), lr=0.05)
    problem = BilevelProblem(
        lambda: loss(0), lambda: loss(1), weights, module.arch.named(), optimizer
    )
    direct, ahead = (torch.autograd.grad(loss(1, at), arch) for at in (None, moved))
    torch.testing.assert_close(first_order(problem), direct, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(unrolled_gradient(problem, 1e-5), ahead, rtol=1e-5, atol=1e-9)
    # the two differ by far more than that
    pairs = zip(direct, ahead, strict=True)
    assert max((one - other).norm() / other.norm() for one, other in pairs) > 0.01
