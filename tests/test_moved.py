"""Import paths of release 0.1.0 still lead to the same objects."""

import importlib

import pytest

from nas_lightning.moved import MODULES, NAMES

OLD = {
    "checkpoints": "read_checkpoint",
    "genotype": "Genotype",
    "genotype.types": "NodeInput",
    "optimizers": "fuse",
    "recovery": "advice",
    "reports.metrics": "read_metrics",
    "reports.monitor": "SearchMonitor",
    "retrain.base": "NetworkFactory",
    "retrain.cost": "network_cost",
    "retrain.nas_bench_201": "NasBench201Network",
    "retrain.network": "DartsNetwork",
    "retrain.reconstruction": "ReconstructionNetwork",
    "retrain.recurrent": "RecurrentNetwork",
    "schedules": "CosineSchedule",
    "spaces.primitives": "PRIMITIVES",
    "spaces.types": "SearchSpace",
    "stage": "Stage",
    "supernet.nas_bench_201": "NasBench201Supernet",
    "supernet.network": "SupernetFactory",
    "supernet.reconstruction": "ReconstructionSupernet",
    "supernet.recurrent": "RecurrentSupernet",
    "retrain": "DartsNetwork",
    "spaces": "SearchSpace",
    "supernet": "DartsSupernet",
}


def test_every_moved_path_is_tested() -> None:
    assert set(OLD) == {*MODULES, *NAMES}


@pytest.mark.parametrize("path", OLD)
def test_an_old_path_leads_to_the_object(path: str) -> None:
    found = getattr(importlib.import_module(f"nas_lightning.{path}"), OLD[path])
    places = MODULES.get(path) or NAMES[path]
    modules = [importlib.import_module(f"nas_lightning.{place}") for place in places]
    assert any(found is vars(module).get(OLD[path]) for module in modules)
    with pytest.raises(AttributeError):
        _ = importlib.import_module(f"nas_lightning.{path}").NothingOfTheKind
