"""The presets and their cases."""

import dataclasses
from typing import Any

import pytest
import torch
import yaml

from nas_lightning.bench import Options, measure, precision, settings
from nas_lightning.bench.case import STEPS, Step
from nas_lightning.bench.harness import quiet
from nas_lightning.bench.methods import METHODS, SINGLE_LEVEL
from nas_lightning.bench.plain import PlainDarts
from nas_lightning.bench.settings import DIGITS, K1, K4, PRESETS, QUICK, Wanted, groups
from nas_lightning.cli import bench
from nas_lightning.errors import UsageError
from nas_lightning.hparams import to_config
from nas_lightning.runs.configs import find_config, overlays
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import SearchModule

ONCE = Options(repeat=1, warm_up=0, accelerator="cpu", say=lambda _: None)


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_those_of_the_overlays(name: str) -> None:
    if f"methods/{name}.yaml" not in overlays():
        pytest.skip("no overlay of this method")
    content = yaml.safe_load(find_config(f"methods/{name}").read_text(encoding="utf-8"))
    found = [to_config(strategy) for strategy in METHODS[name]()]
    listed = content["model"]["init_args"]["strategies"]
    assert [one["class_path"].rpartition(".")[2] for one in found] == [
        one["class_path"] for one in listed
    ]
    for one, other in zip(found, listed, strict=True):
        assert one["init_args"].items() >= other.get("init_args", {}).items()
    assert (name in SINGLE_LEVEL) == content["data"]["init_args"]["single_level"]


def test_every_overlay_is_a_method() -> None:
    """Except those that are added to any method, and selections, which take epochs of their own."""
    names = {name.removesuffix(".yaml") for name in overlays() if name.startswith("methods/")}
    apart = {"methods/budget", "methods/darts_pt", "methods/darts_pt_blank"}
    assert names - apart <= {f"methods/{name}" for name in METHODS}


def test_digits_are_those_of_the_configuration() -> None:
    cli = PlanCLI(["fit", "--config", "digits_idarts"])
    config = cli.config[cli.config.subcommand]
    assert repr(DIGITS.supernet()) == repr(cli.model.factory)
    assert DIGITS.epochs == config.trainer.max_epochs
    assert (DIGITS.batch, DIGITS.threads) == (cli.datamodule.batch_size, config.threads)
    cli.datamodule.setup("fit")
    (group,) = groups(DIGITS, Wanted(cells=("fast",)))
    (case,) = group.cases
    assert case.batches == len(list(cli.datamodule.train_dataloader()))
    assert [type(s) for s in METHODS[DIGITS.method]()] == [
        type(s)
        for s in cli.model.strategies[1:]  # without the warm-up
    ]


def test_cifar_is_that_of_the_papers() -> None:
    for setting, k, batch in ((K4, 4, 64), (K1, 1, 16)):
        factory = setting.supernet()
        assert (factory.channels, factory.layers) == (16, 8)  # type: ignore[attr-defined]
        (group,) = groups(setting, Wanted())
        module, data = group.cases[0].make()
        assert isinstance(module, SearchModule)
        assert f"partial channels K       {k}" in module.plan.describe()
        assert (data.batch_size, data.data_spec["image_size"]) == (batch, 32)  # type: ignore[attr-defined]
        assert group.cases[0].batches == 25_000 // batch


def test_every_combination_is_a_case() -> None:
    wanted = Wanted(
        steps=STEPS, methods=("darts", "gdas"), precisions=("32-true", "bf16-mixed"), on_device=True
    )
    found = groups(QUICK, wanted)
    assert [group.steps for group in found] == [
        ("search", "arch", "weight", "fit"),
        ("retrain",),
        ("data",),
    ]
    names = [[case.name for case in group.cases] for group in found]
    assert len(names[0]) == len(set(names[0])) == 2 * 2 * 3
    assert "gdas reference bf16-mixed on device" in names[0]
    assert names[1:] == [
        ["retrain on device", "retrain bf16-mixed on device"],
        ["data", "data on device"],
    ]


def test_cells_are_computed_as_they_are_called() -> None:
    (group,) = groups(QUICK, Wanted())
    modules = [case.make().module for case in group.cases]
    fast, reference, plain = modules
    assert isinstance(plain, SearchModule)
    assert isinstance(plain.factory, PlainDarts)
    kinds = [
        {m.execution for m in module.modules() if hasattr(m, "execution")}
        for module in (fast, reference)
    ]
    assert all(len(kind) == 1 for kind in kinds)
    assert kinds[0] != kinds[1]
    (checkpointed,) = groups(QUICK, Wanted(cells=("fast",), checkpoint=True))
    module = checkpointed.cases[0].make().module
    execution: Any = next(m.execution for m in module.modules() if hasattr(m, "execution"))
    assert execution.checkpoint


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(cells=("plain",), checkpoint=True), "cannot be checkpointed"),
        (Wanted(cells=("plain",), compile="eager"), "cannot be compiled"),
    ],
)
def test_what_plain_cells_do_not_do(wanted: Wanted, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        groups(QUICK, wanted)
    (other,) = PRESETS["nas_bench_201"]
    with pytest.raises(UsageError, match="no plain cells"):
        groups(other, Wanted(cells=("plain",)))
    (group,) = groups(other, Wanted())
    assert [case.name for case in group.cases] == ["gaea fast", "gaea reference"]


def test_a_preset_is_measured() -> None:
    steps: tuple[Step, ...] = STEPS
    lines: list[str] = []
    with quiet():
        found = measure(
            groups(QUICK, Wanted(steps=steps, cells=("fast", "reference"))),
            Options(repeat=2, warm_up=0, accelerator="cpu", say=lines.append),
        )
    assert [(row.step, row.case) for row in found.rows] == [
        *((step, f"idarts {cells}") for step in ("search", "arch", "weight", "fit")
          for cells in ("fast", "reference")),
        ("retrain", "retrain"),
        ("data", "data"),
    ]  # fmt: skip
    assert "quick: idarts fast" in lines
    rows = {row.key[1:]: row for row in found.rows}
    for row in found.rows:
        assert len(row.seconds) == 2
        assert min(row.seconds) > 0
        assert (row.counts is None) == (row.step in ("data", "fit"))
    for step in ("search", "fit"):
        row = rows["idarts fast", step]
        assert row.ratio == 1
        # 2 epochs of 32 / 8 batches
        assert row.full_seconds == pytest.approx(2 * 4 * row.median)
    assert rows["idarts fast", "arch"].full_seconds is None
    # all counted: a search is an architecture step and a weight step
    for cells in ("fast", "reference"):
        counts = [rows[f"idarts {cells}", step].counts for step in ("search", "arch", "weight")]
        flops = [count.flops for count in counts if count is not None]
        assert flops[0] == flops[1] + flops[2]


@pytest.mark.long
def test_compiled_cells_are_timed_and_not_counted() -> None:
    wanted = Wanted(steps=("weight", "fit"), cells=("fast",), compile="eager")
    limit = torch._dynamo.config.recompile_limit
    with quiet():
        found = measure(groups(QUICK, wanted), ONCE)
    assert [(row.case, row.counts) for row in found.rows] == [("idarts fast compiled", None)] * 2
    assert torch._dynamo.config.recompile_limit == limit


def test_the_command_line_offers_what_there_is() -> None:
    """It lists names of its own, so that `nas bench --help` needs no torch."""
    assert set(bench.PRESETS) == set(PRESETS)
    assert bench.STEPS == STEPS
    assert bench.CELLS == settings.CELLS
    assert bench.PRECISIONS == precision.PRECISIONS


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    (group,) = groups(QUICK, Wanted(steps=("data",)))
    with quiet():
        found = measure(
            [dataclasses.replace(group, threads=2)], Options(1, 0, "cpu", say=lambda _: None)
        )
    assert found.rows[0].threads == 2
    assert torch.get_num_threads() == before
