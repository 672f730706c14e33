"""Bad input: one message, the right exit code, no traceback."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningDataModule
from PIL import Image

from tests.cli.conftest import Nas, Result

# arguments, then a piece of configuration in YAML if any → what the message must say
USAGE = [
    ("fit", ["data", "--config", "nas configs"]),
    ("test", ["--config"]),
    ("fti", ["'fti'", "'fit'"]),
    ("--halp", ["--halp", "nas --help"]),
    ("fit --config", ["--config"]),
    ("fit --config serch.yaml", ["serch.yaml", "search.yaml"]),
    ("fit --config digits_idart", ["digits_idart", "digits_idarts.yaml"]),
    ("fit --config search --bogus 3", ["--bogus"]),
    ("fit --config search stray", ["stray"]),
    ("fit --config search --trainer.max_epoch 1", ["--trainer.max_epoch;", "trainer.max_epochs"]),
    ("fit --config search --trainer.max_epochs ten", ["trainer.max_epochs", "number", "'ten'"]),
    ("fit --config search --data.batch_size many", ["data.batch_size", "number", "'many'"]),
    ("fit --config search --data.mode serch", ["data.mode", "'search' or 'retrain'", "'serch'"]),
    ("fit --config search --model.supernet.channel 4", ["model.supernet.channel:", "'channels'"]),
    (
        "fit --config search --model.init_args.supernet.init_args.channel 4",
        ["model.supernet.channel:", "'channels'"],
    ),
    ("fit --config search --data.init_args.batchsize 4", ["data.batchsize", "'batch_size'"]),
    ("fit --config search --model SerchModule", ["model:", "SerchModule", "'SearchModule'"]),
    ("fit --config search --data Synthetics", ["data:", "'Synthetics'", "'Synthetic'"]),
    ("fit --config retrain", ["--model.genotype FILE_OR_NAME"]),
    ("fit --config digits_retrain", ["--model.genotype FILE_OR_NAME"]),
    ("fit --config search --trainer.callbacks WarmUp", ["WarmUp", "model.strategies"]),
    ("fit --config search --model.supernet.channels 6", ["K = 4", "6 channels"]),
    ("fit --config search --data.image_size 9", ["9x9", "odd"]),
    ("fit --config search --data.batch_size 64", ["batch of 64", "batch_size"]),
    ("fit --config search --data.mode retrain", ["mode", "search"]),
    ("fit --config retrain --model.genotype DARTS_V2 --data.mode search", ["mode", "retrain"]),
    ("fit --config retrain --model.genotype DARTS_V3", ["DARTS_V3", "did you mean DARTS_V2?"]),
    (
        "fit --config retrain --model.genotype DARTS_V2 --data.val_fraction 0",
        ["val_fraction", "--checkpoint.monitor null"],
    ),
    ("fit --config search --checkpoint.dirpath x", ["checkpoint.dirpath follows", "--run_dir"]),
    ("fit --config search --trainer.default_root_dir x", ["default_root_dir follows"]),
    ("fit --config search --trainer.max_epochs null", ["max_epochs is not set"]),
    ("fit --config search --trainer.val_check_interval 9", ["val_check_interval 9 is more than"]),
    ("fit --config search --trainer.limit_train_batches 0.01", ["limit_train_batches 0.01 of 2"]),
    ("fit --config search --checkpoint.save_top_k 2", ["checkpoint.save_top_k 2", "leave it out"]),
    ("fit --config search --ckpt_path last", ["--ckpt_path last", "runs/search"]),
    ("test --config search", ["runs/search", "checkpoint", "--ckpt_path"]),
    ("fit --config search --run_dir search.yaml", ["run directory search.yaml"]),
    ("fit --config search --data tests.cli.test_bad_input.Plain", ["Plain", "data_spec"]),
    ("info", ["genotype", "nas info --help"]),
    ("info DARTS_V2 --chanels 3", ["--chanels", "channels"]),
    ("info DARTS_V2 --layers 0", ["--layers", "'0'"]),
    ("info DARTS_V2 --channels wide", ["--channels", "'wide'"]),
    ("info DARTS_V2 --space nope", ["'nope'", "darts"]),
    ("info DARTS_V2 --image-size 31", ["31x31", "odd"]),
    ("info supernet --k 3", ["K = 3", "16 channels"]),
    ("info darts_v2", ["DARTS_V2?"]),
    ("draw DARTS_V2", ["--output"]),
    ("draw DARTS_V2 -o cells.gif", ["cells.gif", ".svg, .png or .pdf"]),
    ("derive", ["checkpoint"]),
    ("configs show digits_idart", ["digits_idarts.yaml"]),
    ("configs show search", ["'search'"]),  # a file of the user's is not a shipped one
    ("configs sohw digits_idarts", ["'sohw'", "show"]),
    ("configs copy digits_idarts", ["folder"]),
]
YAML = [
    ("{trainer: {max_epoch: 3}}", ["trainer.max_epoch:", "trainer.max_epochs"]),
    ("{trainr: {max_epochs: 3}}", ["trainr.max_epochs:", "trainer.max_epochs"]),
    ("{trainer: {max_epochs: ten}}", ["trainer.max_epochs", "whole number", "'ten'"]),
    ("{trainer: {gradient_clip_val: big}}", ["gradient_clip_val: expected a number, found 'big'"]),
    ("{trainer: {callbacks: [{class_path: WarmUpp}]}}", ["callbacks", "WarmUpp", "'WarmUp'"]),
    ("{model: {init_args: {strategy: []}}}", ["model.strategy:", "strategies"]),
    ("{model: {init_args: {supernet: {init_args: {channels: wide}}}}}",
     ["model.supernet.channels", "whole number", "'wide'"]),
    ("{model: {init_args: {supernet: {class_path: DartsSupernett}}}}",
     ["model.supernet", "'DartsSupernett'", "'DartsSupernet'"]),
    ("{model: {init_args: {strategies: [{class_path: PartialChanels}]}}}",
     ["model.strategies", "'PartialChanels'", "'PartialChannels'"]),
    ("{model: {init_args: {strategies: [{class_path: Synthetic}]}}}",
     ["model.strategies", "'Synthetic'", "no class", "--help lists all"]),
    ("{model: {init_args: {strategies: [{class: WarmUp}]}}}",
     ["model.strategies[0].class", "class_path"]),
    ("{model: {init_args: {strategies: {class_path: WarmUp}}}}", ["model.strategies", "a list"]),
    ("{model: {init_args: {strategies: [WarmUp, {class_path: WarmUp, init_args: {kk: 2}}]}}}",
     ["model.strategies[1].kk", "epochs"]),
    ("{model: {init_args: {strategies: [{class_path: PartialChannels, init_args: {k: two}}]}}}",
     ["model.strategies[0].k:", "whole number", "'two'"]),
    ("{model: {init_args: {strategies: [{class_path: Backtracking, init_args: {reading: x}}]}}}",
     ["model.strategies[0].reading", "'edge' or 'element'", "'x'"]),
    ("{model: {init_args: {strategies: [WarmUp, WarmUp]}}}", ["conflicting", "WarmUp"]),
    ("{model: {init_args: {strategies: [Backtracking]}}}", ["Backtracking", "EdgeNormalization"]),
    ("{model: {init_args: {weight_optimizer: {class_path: torch.optim.SDG}}}}",
     ["model.weight_optimizer", "'SDG'", "'SGD'"]),
    ("{model: {init_args: {arch_optimizer: {class_path: torch.optim.SGD, init_args: {rate: 1}}}}}",
     ["model.arch_optimizer.rate", "lr", "momentum"]),
]  # fmt: skip
FILES = [
    ("a: [1\nb: 2\n", ["bad.yaml, line 2", "not valid YAML"]),
    ("just text\n", ["bad.yaml", "key: value"]),
    ("", ["bad.yaml", "key: value"]),
    ("- 1\n", ["bad.yaml", "key: value"]),
    ("model: 3\n", ["bad.yaml: model", "SearchModule"]),
    ("\x00", ["bad.yaml"]),
]


class Plain(LightningDataModule):
    """A data module that says nothing of its sizes."""


def check(result: Result, code: int, fragments: list[str]) -> None:
    """One line that says all of it, and nothing of jsonargparse's or Python's own."""
    text = result.err.strip()
    assert result.code == code, text
    assert all(fragment in text for fragment in fragments), text
    assert len(text.splitlines()) == 1, text
    assert not any(word in text for word in ("Traceback", "subtypes", "<class", "NAS_DEBUG")), text


@pytest.mark.parametrize(("line", "fragments"), USAGE, ids=[line for line, _ in USAGE])
def test_command_line(nas: Nas, line: str, fragments: list[str]) -> None:
    check(nas(line), 2, fragments)


@pytest.mark.parametrize(("text", "fragments"), YAML, ids=[text for text, _ in YAML])
def test_configuration(nas: Nas, text: str, fragments: list[str]) -> None:
    check(nas("fit --config search --config", text), 2, fragments)


@pytest.mark.parametrize(("text", "fragments"), FILES, ids=[repr(text) for text, _ in FILES])
def test_configuration_file(nas: Nas, text: str, fragments: list[str]) -> None:
    Path("bad.yaml").write_text(text, encoding="utf-8")
    check(nas("fit --config bad.yaml"), 2, fragments)


def test_configuration_that_is_not_text(nas: Nas) -> None:
    Path("bad.yaml").write_bytes(b"\xff\xfe\x80")
    check(nas("fit --config bad.yaml"), 2, ["cannot read bad.yaml", "UTF-8"])


def images(root: str, empty: bool = False, broken: bool = False) -> None:
    for part in ("train", "test"):
        for name in ("ant", "bee"):
            folder = Path(root, part, name)
            folder.mkdir(parents=True)
            for index in range(0 if empty and name == "bee" else 8):
                path = folder / f"{index}.png"
                Image.new("RGB", (9, 9)).save(path)
                if broken:
                    path.write_bytes(b"nonsense")


FOLDER = (
    "fit --config search --data ImageFolder --data.image_size 8 --data.batch_size 4 --data.root x"
)


def test_no_data_folder(nas: Nas) -> None:
    check(nas(FOLDER), 1, ["'x/train'", "--data.root"])


def test_no_data_set(nas: Nas) -> None:
    line = "fit --config cifar_darts --data.root x --model.supernet.layers 3"
    check(nas(line), 1, ["CIFAR10", "'x/cifar-10-batches-py'", "--data.download true"])


def test_empty_class_folder(nas: Nas) -> None:
    images("x", empty=True)
    check(nas(FOLDER), 1, ["'x/train/bee'", "no images"])


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_image(nas: Nas, workers: int) -> None:
    images("x", broken=True)
    check(nas(f"{FOLDER} --data.num_workers {workers}"), 1, ["'x/train/", ".png'", "cannot be"])


def set_primitive(data: Any) -> None:
    data["cells"]["normal"]["nodes"][0][1]["primitive"] = "conv_9x9"


def set_source(data: Any) -> None:
    data["cells"]["reduce"]["nodes"][1][0]["source"] = 7


def set_space(data: Any) -> None:
    data["space"] = "nasbench"


def drop_cell(data: Any) -> None:
    del data["cells"]["reduce"]


@pytest.mark.parametrize("verb", ["fit --config retrain --model.genotype", "info", "draw -o a.svg"])
@pytest.mark.parametrize(
    ("spoil", "fragments"),
    [
        (set_primitive, ["$.cells.normal.nodes[0][1].primitive", "conv_9x9"]),
        (set_source, ["$.cells.reduce.nodes[1][0].source", "7"]),
        (set_space, ["$.space", "nasbench"]),
        (drop_cell, ["$.cells", "reduce"]),
    ],
)
def test_genotype(nas: Nas, verb: str, spoil: Callable[[Any], None], fragments: list[str]) -> None:
    data = json.loads(Path("genotype.json").read_text(encoding="utf-8"))
    spoil(data)
    Path("spoilt.json").write_text(json.dumps(data), encoding="utf-8")
    check(nas(f"{verb} spoilt.json"), 1, fragments)


def test_genotype_that_is_not_json(nas: Nas) -> None:
    Path("spoilt.json").write_text("{\noops}", encoding="utf-8")
    check(nas("info spoilt.json"), 1, ["spoilt.json", "line 2"])


@pytest.mark.parametrize("verb", ["derive", "fit --config search --ckpt_path"])
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 cut", b"text"], ids=["empty", "truncated", "text"]
)
def test_truncated_checkpoint(nas: Nas, verb: str, content: bytes) -> None:
    Path("bad.ckpt").write_bytes(content)
    check(nas(f"{verb} bad.ckpt"), 1, ["bad.ckpt"])
    check(nas(f"{verb} none.ckpt"), 1, ["none.ckpt"])


class Intruder:
    """Would run code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, ("was_run", "w")


def test_checkpoint_with_code_is_not_run(nas: Nas) -> None:
    torch.save({"nas_lightning": Intruder()}, "bad.ckpt")
    check(nas("derive bad.ckpt"), 1, ["bad.ckpt"])
    assert not Path("was_run").exists()


def test_checkpoint_of_another_program(nas: Nas) -> None:
    torch.save({"state_dict": {}}, "other.ckpt")
    check(nas("derive other.ckpt"), 1, ["other.ckpt is not a checkpoint of nas-lightning"])


def test_folder_that_cannot_be_written(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    # the tests may run as root, who may write everywhere
    refusing = SimpleNamespace(access=lambda *_: False, W_OK=os.W_OK)
    monkeypatch.setattr("nas_lightning.runs.directory.os", refusing)
    check(nas("fit --config search"), 2, ["cannot write to runs/search", "--run_dir"])


def test_output_that_cannot_be_written(nas: Nas) -> None:
    check(nas("draw DARTS_V2 -o genotype.json/cells.svg"), 1, ["genotype.json/cells.svg"])
    check(nas("configs copy digits_idarts search.yaml"), 1, ["search.yaml"])


def test_metric_that_is_not_logged(nas: Nas) -> None:
    line = "fit --config retrain --model.genotype genotype.json --checkpoint.monitor retrain/val_ac"
    check(nas(line), 2, ["checkpoint.monitor", "'retrain/val_ac'", "retrain/val_accuracy"])


def test_traceback_only_on_request(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in nas("fit --config search --trainer.max_epochs ten").err
    monkeypatch.setenv("NAS_DEBUG", "1")
    result = nas("fit --config search --trainer.max_epochs ten")
    assert result.code == 2
    assert "Traceback" in result.err
    assert result.err.strip().splitlines()[-1].startswith("nas: trainer.max_epochs: expected")


def test_failure_of_unknown_kind(nas: Nas) -> None:
    result = nas("fit --config search --trainer.accelerator gpuu")
    assert result.code == 1
    assert "gpuu" in result.err
    assert result.err.endswith("; NAS_DEBUG=1 before the command shows where\n")
    assert len(result.err.splitlines()) == 1


def test_start_that_failed_leaves_nothing(nas: Nas) -> None:
    before = sorted(Path().rglob("*"))
    check(nas("fit --config search --data.batch_size 64"), 2, ["batch of 64"])
    assert sorted(Path().rglob("*")) == before
