"""Budgets: how they are written, refused and reported."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nas_lightning.architecture import Genotype
from nas_lightning.architecture.budgets import amount, quantity, verdict
from nas_lightning.architecture.cost import network_cost
from nas_lightning.architecture.resources import MultiplyAdds, Parameters
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsNetwork, RecurrentNetwork, RecurrentSupernet
from nas_lightning.strategies import FairDARTS, ResourcePenalty
from nas_lightning.tasks import LanguageModeling
from nas_lightning.training.schedules import ConstantSchedule
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.strategies.test_resource_penalty import NETWORK, penalised


def test_the_file_of_the_genotype_records_budget_and_cost(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    module = make_search([ResourcePenalty("macs", "60k", network=NETWORK)])
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    genotype = Genotype.load(tmp_path / "genotype.json")
    cost = network_cost(NETWORK, genotype, SPEC).multiply_adds
    assert genotype.provenance["budget"] == {
        "resource": "macs",
        "budget": 60_000,
        "cost": cost,
        "network": repr(NETWORK),
    }
    said = verdict(genotype)
    assert said is not None
    assert said.startswith("kept: " if cost <= 60_000 else "exceeded by ")


def test_sizes_are_those_of_the_retraining(make_search: SearchFactory) -> None:
    strategy = ResourcePenalty("macs", 1e6, network=NETWORK, sizes={"image_size": 16})
    module = make_search([strategy])
    larger = network_cost(NETWORK, module.genotype(), {**SPEC, "image_size": 16})
    assert strategy.prices.of(module.genotype()) == larger.multiply_adds
    # by default the network of a retraining
    default = ResourcePenalty("parameters", "3.2M")
    genotype = make_search([default]).genotype()
    assert default.prices.of(genotype) == network_cost(DartsNetwork(), genotype, SPEC).parameters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": "5 ms"}, "budget must be a number of multiply-adds, alone or with k, K, M, G"),
        ({"budget": "many"}, "budget must be a number of multiply-adds, .* found 'many'"),
        ({"budget": "0 M"}, "budget must be above 0, found '0 M'"),
        ({"budget": "-3M"}, "budget must be a number of multiply-adds"),
        ({"budget": 0}, "budget must be above 0, found 0"),
        ({"budget": -2.0}, "budget must be above 0, found -2.0"),
        ({"growth": 0.5}, "growth must be at least 1"),
    ],
)
def test_arguments_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"ResourcePenalty: {message}") as caught:
        ResourcePenalty(**{"resource": "macs", "budget": 1e6, **arguments})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (1000, r"no network of DartsNetwork\(.*\) keeps the budget of 1k parameters: they have "
         r"1.232k parameters to 6.384k parameters$"),
        (1231.9, "no network of"),
    ],
)  # fmt: skip
def test_a_budget_that_no_network_keeps_is_refused_at_the_start(
    budget: float,
    message: str,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    with pytest.raises(UsageError, match=message):
        make_trainer().fit(make_search([penalised(budget=budget)]), datamodule=search_data)


def test_a_budget_that_every_network_keeps_is_warned_about(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    with pytest.warns(UserWarning, match="every network of .* keeps the budget of 9k"):
        trainer.fit(make_search([penalised(budget=9000)]), datamodule=search_data)


def test_a_space_of_equal_networks_has_nothing_to_choose(
    make_trainer: TrainerFactory,
) -> None:
    strategy = ResourcePenalty("parameters", "1M", network=RecurrentNetwork(hidden=4))
    module = SearchModule(
        {"num_tokens": 20}, RecurrentSupernet(hidden=4, steps=2), LanguageModeling(), [strategy]
    )
    message = r"every network of RecurrentNetwork\(hidden=4, .* there is nothing to choose"
    with pytest.raises(UsageError, match=message):
        strategy.setup(make_trainer(), module, "fit")


def test_a_checkpoint_rebuilds_network_sizes_and_weight(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    strategy = ResourcePenalty("macs", "200k", network=NETWORK, sizes={"image_size": 16})
    module = make_search([strategy])
    trainer = make_trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    strategy._weight = 8.0
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = SearchModule.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    (found,) = again.strategies
    assert isinstance(found, ResourcePenalty)
    assert repr(found) == repr(strategy)
    assert found._weight == 8.0
    assert again.genotype().provenance["budget"] == module.genotype().provenance["budget"]


def test_a_weight_that_grows_is_resumed_exactly_from_the_end_of_an_epoch(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    """The contract of every method resumes in the middle of one."""
    settings: dict[str, Any] = {"limit_train_batches": 2, "limit_val_batches": 0}

    def make() -> SearchModule:
        strategy = penalised(budget=1300, weight=0.5)
        return make_search([strategy], weight_schedule=ConstantSchedule())

    whole, first, again = make(), make(), make()
    make_trainer(max_epochs=5, **settings).fit(whole, datamodule=search_data)
    trainer = make_trainer(max_epochs=3, **settings)
    trainer.fit(first, datamodule=search_data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    make_trainer(max_epochs=5, **settings).fit(
        again, datamodule=search_data, ckpt_path=tmp_path / "a.ckpt", weights_only=True
    )
    states = [module.strategies[0].state_dict() for module in (first, whole, again)]
    assert states == [{"weight": 2.0}, {"weight": 8.0}, {"weight": 8.0}]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_other_rules_of_discretisation_are_refused(make_search: SearchFactory) -> None:
    for strategies in ([FairDARTS(), penalised()], [penalised(), FairDARTS()]):
        with pytest.raises(UsageError, match=r"ResourcePenalty counts .*, FairDARTS derives"):
            make_search(strategies)


@pytest.mark.parametrize(
    ("text", "number"), [("3.2M", 3.2e6), (" 600 M", 6e8), ("1e3k", 1e6), ("1.5G", 1.5e9), (7, 7.0)]
)
def test_budgets_are_read(text: str | float, number: float) -> None:
    assert amount("A", text, MultiplyAdds) == pytest.approx(number, rel=1e-15)


def test_amounts_are_written() -> None:
    assert quantity(3_349_342, Parameters) == "3.349M parameters"
    assert quantity(528_359_040, MultiplyAdds) == "528.4M multiply-adds"
    assert quantity(12, Parameters) == "12 parameters"
