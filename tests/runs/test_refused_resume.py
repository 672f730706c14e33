"""A resume that is refused changes no file of the run directory, and says what differs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nas_lightning.data import Synthetic
from tests.cli.conftest import LONG, Nas
from tests.runs.test_runs import hashes


class Renamed(Synthetic):
    """The same data under another class."""


SEARCH = "fit --config search --ckpt_path last --trainer.max_epochs 2"
RETRAIN = (
    "fit --config retrain --ckpt_path last --trainer.max_epochs 2 --model.genotype genotype.json"
)
SGD = "torch.optim.SGD --model.arch_optimizer.lr 0.1"
POOLED = "[none,avg_pool_3x3,skip_connect,sep_conv_3x3]"

SEARCHES = [
    (f"--model.arch_optimizer {SGD}", ["model.arch_optimizer is Adam", "and SGD now"]),
    ("--model.weight_optimizer torch.optim.Adam", ["model.weight_optimizer is SGD", "Adam now"]),
    ("--model.strategies+=Neumann", ["model.strategies is WarmUp", "Neumann now"]),
    ("--model.strategies [WarmUp]", ["model.strategies is WarmUp, PartialChannels"]),
    (f"--model.supernet.primitives {POOLED}", ["primitives is none, max_pool_3x3", "now"]),
    ("--model.supernet.nodes 3", ["model.supernet.nodes is 2 in the checkpoint and 3 now"]),
    ("--model.supernet.channels 16", ["model.supernet.channels is 8", "16 now"]),
    ("--model.task LanguageModeling", ["model.task is Classification", "LanguageModeling now"]),
    ("--data.num_classes 5", ["num_classes is 5"]),
    ("--data tests.runs.test_refused_resume.Renamed", ["data is Synthetic", "Renamed now"]),
]
RETRAININGS = [
    ("--model.genotype DARTS_V1", ["another genotype", "model.genotype"]),
    ("--model.optimizer torch.optim.AdamW", ["model.optimizer is SGD", "AdamW now"]),
    ("--model.network.channels 8", ["model.network.channels is 4", "8 now"]),
]


@pytest.mark.parametrize(("options", "fragments"), SEARCHES, ids=[line for line, _ in SEARCHES])
def test_another_search_is_refused(
    options: str, fragments: list[str], nas: Nas, searched: Path
) -> None:
    refused(nas, f"{SEARCH} {options}", searched, fragments)


@pytest.mark.parametrize(
    ("options", "fragments"), RETRAININGS, ids=[line for line, _ in RETRAININGS]
)
def test_another_retraining_is_refused(
    options: str, fragments: list[str], nas: Nas, retrained: Path
) -> None:
    refused(nas, f"{RETRAIN} {options}", retrained, fragments)


def refused(nas: Nas, line: str, run_dir: Path, fragments: list[str]) -> None:
    """Check that a start is refused in one line, and that nothing in a folder has changed."""
    before = hashes(run_dir)
    result = nas(line)
    assert result.code in (1, 2)
    assert hashes(run_dir) == before
    assert len(result.err.splitlines()) == 1, result.err
    assert all(fragment in result.err for fragment in fragments), result.err
    assert not any(word in result.err for word in ("Traceback", "NAS_DEBUG")), result.err


def _drop_optimizers(checkpoint: dict[str, object]) -> None:
    del checkpoint["optimizer_states"]


def _without_record(checkpoint: dict[str, object]) -> None:
    checkpoint["nas_lightning"] = {"kind": "search", "space": "darts", "version": "0.1.0"}


@pytest.mark.filterwarnings("ignore:the checkpoint is of an earlier release")
@pytest.mark.parametrize(
    ("change", "options", "fragments"),
    [
        (_drop_optimizers, "", ["only weights"]),
        (_without_record, f"--model.arch_optimizer {SGD}", ["the state of another optimizer"]),
        (_without_record, "--model.strategies [WarmUp]", ["model.strategies is WarmUp, Partial"]),
        (_without_record, f"--model.supernet.primitives {POOLED}", ["primitives is none, max"]),
    ],
)
def test_checkpoints_of_other_kinds_and_earlier_releases(
    change: Callable[[dict[str, object]], None],
    options: str,
    fragments: list[str],
    nas: Nas,
    searched: Path,
) -> None:
    path = searched / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    refused(nas, f"{SEARCH} {options}", searched, fragments)


@pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning")
def test_a_damaged_checkpoint_is_set_aside_only_by_a_run_that_starts(nas: Nas, whole: Path) -> None:
    last = whole / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    before = hashes(whole)
    line = f"{LONG} --run_dir whole --ckpt_path last"
    assert nas(f"{line} --model.arch_optimizer {SGD}").code == 1
    assert hashes(whole) == before
    assert nas(line).code == 0
    assert (whole / "checkpoints/last.damaged").stat().st_size == 1000


@pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning")
def test_what_may_change_on_a_resume_is_taken(nas: Nas, retrained: Path) -> None:
    shutil.copy("genotype.json", "moved.json")
    line = RETRAIN.replace("genotype.json", "moved.json")
    more = (
        "--model.optimizer.class_path=torch.optim.SGD --model.optimizer.init_args.lr=0.01 "
        "--model.drop_path 0.1 --data.batch_size 4 --model.schedule LinearSchedule"
    )
    result = nas(f"{line} {more}")
    assert result.code == 0, result.err
    assert "data.init_args.batch_size: 8 before, 4 now" in result.out


@pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning")
def test_the_saved_configuration_holds_nothing_of_a_single_start(nas: Nas, retrained: Path) -> None:
    """A test of it takes the best checkpoint, and a repeat of the run trains from the beginning."""
    assert nas(RETRAIN).code == 0
    saved = retrained / "config.yaml"
    assert "\nckpt_path: null\n" in saved.read_text("utf-8")
    # releases before stored the checkpoint of the last start, and ended without an epoch
    text = saved.read_text("utf-8")
    assert text.startswith("# nas-lightning")
    last = f"ckpt_path: {retrained}/checkpoints/last.ckpt"
    saved.write_text(text.replace("ckpt_path: null", last), "utf-8")
    again = nas(f"fit --config {saved} --run_dir runs/again")
    assert "epoch 1/2" in again.out
    assert json.loads(Path("runs/again/run.json").read_text())["starts"][0]["checkpoint"] is None
