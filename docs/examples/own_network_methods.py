"""Search own_network.py by five methods, retrain what they find, and run it without this package.

    PYTHONPATH=docs/examples python docs/examples/own_network_methods.py [OPTION…]

Each method is a search, a retraining and a test of `nas`, and an export to .pt2 and ONNX. Another
process, which does not import this package, runs the files on the test images. The script prints a
row for each method: the candidate of each choice, the parameters, the test accuracy of the
retrained network, and the largest differences of the files' logits from its own. Runs are kept in
`runs/own_network_methods`. Options go to every search and retraining, such as
`--trainer.max_epochs 1`.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch

import nas_lightning
from nas_lightning.cli import main
from nas_lightning.data import Digits
from nas_lightning.spaces import load_genotype

HERE = Path(__file__).parent
RUNS = Path("runs/own_network_methods")
METHODS = ("darts", "second_order", "gdas", "snas", "gaea_single_level")
ELSEWHERE = """
import json, sys
import onnxruntime, torch
content = torch.load(sys.argv[1], weights_only=True)
images, labels, logits = content["images"], content["labels"], content["logits"]
with torch.no_grad():
    exported = torch.export.load(sys.argv[2]).module()(images)
session = onnxruntime.InferenceSession(sys.argv[3])
(onnx,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
onnx = torch.from_numpy(onnx)
assert "nas_lightning" not in sys.modules
print(json.dumps({
    "accuracies": [float((x.argmax(1) == labels).float().mean()) for x in (exported, onnx)],
    "differences": [float((x - logits).abs().max()) for x in (exported, onnx)],
}))
"""
"""Program of the other process: compares the files with what the network gave."""


def nas(*arguments: object) -> None:
    """Run a command.

    Raises:
        SystemExit: It fails.
    """
    if code := main([str(argument) for argument in arguments]):
        raise SystemExit(code)


def run(method: str, options: list[str]) -> str:
    """Search by a method, retrain, test, export; return the row of the table."""
    search, retrain = RUNS / method, RUNS / f"{method}_retrain"
    config = HERE / "own_network.yaml"
    nas("fit", "--config", config, "--config", f"methods/{method}", "--run_dir", search, *options)
    genotype = search / "genotype.json"
    given = ("--config", HERE / "own_network_retrain.yaml", "--model.genotype", genotype)
    nas("fit", *given, "--run_dir", retrain, *options)
    nas("test", "--config", retrain / "config.yaml")
    files = [retrain / name for name in ("net.pt2", "net.onnx")]
    for file in files:
        nas("export", retrain, "-o", file)
    trained = nas_lightning.load(retrain)
    images, labels = test_images()
    with torch.no_grad():
        logits = trained.network(images)[0]
    given_images = retrain / "test.pt"
    torch.save({"images": images, "labels": labels, "logits": logits}, given_images)
    accuracy = float((logits.argmax(1) == labels).float().mean())
    command = [sys.executable, "-c", ELSEWHERE, *map(str, (given_images, *files))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    cells = load_genotype(genotype).cells.values()
    chosen = " ".join(cell.nodes[0][0].primitive for cell in cells)
    size = sum(parameter.numel() for parameter in trained.network.parameters())
    both = "  ".join(f"{100 * each:6.2f} %" for each in (accuracy, *found["accuracies"]))
    worst = "  ".join(f"{each:.1e}" for each in found["differences"])
    return f"{method:<18} {chosen:<32} {size:>10,}  {both}  {worst}"


def test_images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the test images as the network takes them (B, 1, 8, 8), and their labels (B,)."""
    data = Digits(mode="retrain", num_workers=0)
    data.setup("test")
    batches = list(data.test_dataloader())
    return torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])


def everything(options: list[str]) -> None:
    """Run all methods, and print the table."""
    rows = [run(method, options) for method in METHODS]
    head = f"{'method':<18} {'choices':<32} {'parameters':>10}"
    print(f"\n{head}    network       .pt2      .onnx     .pt2    .onnx", *rows, sep="\n")


if __name__ == "__main__":
    everything(sys.argv[1:])
