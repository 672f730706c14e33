"""Run exported files in a process in which this package cannot be imported.

    python -I elsewhere.py INPUTS.pt OUTPUTS.pt FILE…

`INPUTS.pt` holds the inputs of each file by its path; the outputs are saved likewise.
"""

import importlib.abc
import importlib.util
import io
import json
import sys
from typing import Any, NoReturn

import torch

OWN = ("nas_lightning", "lightning", "own_operation", "tests")


class Blocker(importlib.abc.MetaPathFinder):
    """Refuses to import this package and what it is built on."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] in OWN:
            self.refuse(name)

    def refuse(self, name: str) -> NoReturn:
        raise ImportError(f"{name} is not installed here")


def run_pt2(path: str, inputs: list[Any]) -> tuple[Any, str]:
    files = {"nas_lightning.json": ""}
    module = torch.export.load(path, extra_files=files).module()
    return module(*inputs), files["nas_lightning.json"]


def run_pt(path: str, inputs: list[Any]) -> tuple[Any, str]:
    content = torch.load(path, weights_only=True)
    program = torch.export.load(io.BytesIO(content["program"].numpy().tobytes())).module()
    outputs = program(content["state_dict"], tuple(inputs))
    return outputs, json.dumps(content["nas_lightning"])


def run_onnx(path: str, inputs: list[Any]) -> tuple[Any, str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    text = session.get_modelmeta().custom_metadata_map["nas_lightning"]
    names = [item["name"] for item in json.loads(text)["inputs"]]
    given = dict(zip(names, (x.numpy() for x in inputs), strict=True))
    return [torch.from_numpy(x) for x in session.run(None, given)], text


def main(inputs: str, outputs: str, *files: str) -> None:
    sys.meta_path.insert(0, Blocker())
    for name in OWN:
        try:
            importlib.util.find_spec(name)
        except ImportError:
            continue
        raise AssertionError(f"{name} can be imported")
    given = torch.load(inputs, weights_only=True)
    runs = {"pt2": run_pt2, "pt": run_pt, "onnx": run_onnx}
    found = {}
    with torch.no_grad():
        for path in files:
            results, text = runs[path.rpartition(".")[2]](path, given[path])
            listed = [results] if isinstance(results, torch.Tensor) else list(results)
            found[path] = {"outputs": listed, "description": text}
    assert not {name.partition(".")[0] for name in sys.modules} & set(OWN)
    torch.save(found, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
