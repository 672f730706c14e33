"""Exported networks of every space run without this package, and give the same outputs."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.data import Digits
from nas_lightning.deploy import export
from nas_lightning.layers.text import TextInput
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import DartsNetwork, DartsSpace, freeze
from nas_lightning.tasks import Classification
from tests.deploy import elsewhere
from tests.deploy.saved import CASES, Case, train
from tests.spaces.choice.networks import Chain

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
FILES = [
    *(f"darts.{suffix}" for suffix in ("pt2", "onnx", "pt")),
    *("recurrent.pt2", "recurrent.onnx", "signals.pt2", "nas_bench_201.pt2", "auxiliary.pt2"),
    *("own.pt2", "choice.onnx", "choice.pt"),
]
LONG = [
    *(f"{name}.{end}" for name in ("imagenet", "photographs") for end in ("pt2", "onnx", "pt")),
    *(
        f"{name}.{end}"
        for name in ("nas_bench_201", "auxiliary", "own", "signals")
        for end in ("onnx", "pt")
    ),
    *("recurrent.pt", "choice.pt2"),
]


class Made(NamedTuple):
    """A file with its inputs, the outputs of the trained module, and what the process gave."""

    path: Path
    inputs: list[Tensor]
    wanted: list[Tensor]
    found: dict[str, Any]

    @property
    def description(self) -> dict[str, Any]:
        description: dict[str, Any] = json.loads(self.found["description"])
        return description


def own() -> Case:
    """A cell with an operation from outside the package."""
    space = DartsSpace(nodes=2, primitives=["none", "skip_connect", "own_operation.SEConv"])
    found = random_genotype(space, 0)
    assert "se_conv_3x3" in {edge.primitive for edge in found.cells["normal"].nodes[0]}
    return Case((Digits, {}), found, DartsNetwork(channels=4, layers=3), Classification())


@torch.no_grad()
def by_hand(module: RetrainModule) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs of a batch of three, and the outputs that the trained module has for them."""
    generator = torch.Generator().manual_seed(1)
    spec: Mapping[str, Any] = module.data_spec
    if "num_tokens" in spec:
        words = torch.randint(spec["num_tokens"], (3,), generator=generator)
        state = torch.randn(3, module.factory.hidden, generator=generator)  # type: ignore[attr-defined] # of RecurrentNetwork
        output = module(TextInput(words[None], state))
        return [words, state], [output.logits[0], output.hidden]
    size = [spec["image_size"]] * int(spec.get("dims", 2))
    if "operator" in spec and spec["dims"] == 1:
        size = [spec["image_size"] // 4]  # of the measurements
    x = torch.randn(3, spec["in_channels"], *size, generator=generator)
    return [x], [module(x)]


def make(folder: Path, files: list[str]) -> dict[str, Made]:
    """Train each case, export it, and run all files in one process."""
    inputs, wanted = {}, {}
    for name in dict.fromkeys(file.partition(".")[0] for file in files):
        module, _ = train(CASES[name] if name in CASES else own(), folder / f"{name}.ckpt")
        for file in files:
            if file.startswith(f"{name}."):
                export(folder / f"{name}.ckpt", folder / file)
                inputs[str(folder / file)], wanted[file] = by_hand(module)
    torch.save(inputs, folder / "inputs")
    arguments = [elsewhere.__file__, str(folder / "inputs"), str(folder / "outputs"), *inputs]
    subprocess.run([sys.executable, "-I", *arguments], check=True, cwd=folder)
    found = torch.load(folder / "outputs", weights_only=True)
    return {
        file: Made(
            folder / file, inputs[str(folder / file)], wanted[file], found[str(folder / file)]
        )
        for file in files
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        return make(tmp_path_factory.mktemp("files"), FILES)


def check(file: Made) -> None:
    """The outputs are equal, and the description says what goes in and out."""
    outputs = file.found["outputs"]
    assert len(outputs) == len(file.wanted)
    for one, other in zip(outputs, file.wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert other.std() > 1e-3
    for side, tensors in (("inputs", file.inputs), ("outputs", file.wanted)):
        for item, tensor in zip(file.description[side], tensors, strict=True):
            assert item["shape"] == ["batch", *tensor.shape[1:]]
            assert getattr(torch, item["dtype"]) == tensor.dtype


@pytest.mark.parametrize("name", FILES)
def test_files_give_the_outputs_of_the_trained_module(name: str, made: dict[str, Made]) -> None:
    check(made[name])


@pytest.mark.long
def test_every_space_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for file in make(tmp_path, LONG).values():
        check(file)


@pytest.mark.parametrize("suffix", ["pt2", "onnx", "pt"])
def test_a_file_says_all_that_it_needs(suffix: str, made: dict[str, Made]) -> None:
    found = made[f"darts.{suffix}"].description
    steps = found["preprocessing"]
    assert (steps["size"], steps["resize"], steps["order"]) == (8, 8, "L")
    assert steps["mean"] == [0.3053]
    assert found["classes"] == [str(digit) for digit in range(10)]
    assert Genotype.from_dict(found["genotype"]) == CASES["darts"].genotype
    assert found["task"] == "Classification"


@pytest.mark.parametrize("suffix", ["pt2", "onnx", "pt"])
def test_a_file_holds_no_paths_of_this_machine(suffix: str, made: dict[str, Made]) -> None:
    def parts(content: bytes) -> list[bytes]:
        if not zipfile.is_zipfile(io.BytesIO(content)):
            return [content]
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [archive.read(name) for name in archive.namelist()]

    path = made[f"darts.{suffix}"].path
    for part in parts(path.read_bytes()):
        start = part.find(b"PK\x03\x04")  # the program inside a `.pt` file
        for inner in (part, *parts(part[start:] if start >= 0 else b"")):
            for folder in (Path(torch.__file__).parents[1], EXAMPLES.parents[1], path.parent):
                assert str(folder).encode() not in inner


def test_a_file_holds_its_weights_once_and_no_samples(made: dict[str, Made]) -> None:
    program = torch.export.load(made["darts.pt2"].path)
    assert program.example_inputs is None
    content = torch.load(made["darts.pt"].path, weights_only=True)
    inner = torch.export.load(io.BytesIO(content["program"].numpy().tobytes()))
    assert inner.example_inputs is None
    assert not inner.state_dict
    assert not inner.constants


def test_the_auxiliary_head_is_left_out(made: dict[str, Made]) -> None:
    path = made["auxiliary.pt2"].path
    names = torch.export.load(path).state_dict
    assert names
    assert not [name for name in names if "auxiliary" in name]
    trained = torch.load(path.with_suffix(".ckpt"), weights_only=True)["state_dict"]
    assert [name for name in trained if "auxiliary" in name]


def test_weights_of_a_network_with_choices_have_its_own_names(made: dict[str, Made]) -> None:
    content = torch.load(made["choice.pt"].path, weights_only=True)
    chosen = content["nas_lightning"]["genotype"]["choices"]
    assert content["state_dict"].keys() == freeze(Chain(3, 3), chosen).state_dict().keys()


def test_weights_of_a_file_can_be_trained(made: dict[str, Made]) -> None:
    """The program of a `.pt` file takes the weights as an argument, so it has their gradient."""
    file = made["darts.pt"]
    content = torch.load(file.path, weights_only=True)
    program = torch.export.load(io.BytesIO(content["program"].numpy().tobytes())).module()
    trained = torch.load(file.path.with_suffix(".ckpt"), weights_only=True)["state_dict"]
    for name, value in content["state_dict"].items():
        assert torch.equal(trained[f"network.{name}"], value), name
    bias = content["state_dict"]["head.bias"].requires_grad_()
    program(content["state_dict"], (file.inputs[0],)).sum().backward()
    # each of three samples adds the bias to the sum once
    assert torch.equal(bias.grad, torch.full((10,), 3.0))
