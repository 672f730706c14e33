"""A retraining can be tested and resumed without the file of its genotype."""

from pathlib import Path

from nas_lightning.architecture import Genotype
from nas_lightning.spaces import PUBLISHED
from nas_lightning.training.checkpoints import read_checkpoint
from tests.cli.conftest import Nas

TEST = "test --config runs/retrain/config.yaml"


def accuracy(out: str) -> str:
    return next(line for line in out.splitlines() if "test_accuracy" in line)


def test_a_file_that_is_gone_or_rewritten(nas: Nas, retrained: Path, work: Path) -> None:
    before = nas(TEST)
    assert before.code == 0
    assert "warning" not in before.err
    config = (retrained / "config.yaml").read_text()
    (work / "genotype.json").unlink()
    gone = nas(TEST)
    assert "nas: warning: model.genotype genotype.json cannot be read: the genotype of" in gone.err
    PUBLISHED["DARTS_V1"].save(work / "genotype.json")
    changed = nas(TEST)
    assert "genotype.json has changed since the run began: the genotype of the" in changed.err
    for result in (gone, changed):
        assert result.code == 0
        assert accuracy(result.out) == accuracy(before.out)
    line = "fit --config runs/retrain/config.yaml --ckpt_path last --trainer.max_epochs 2"
    resumed = nas(line)
    assert resumed.code == 0, resumed.err
    assert "has changed since the run began" in resumed.err
    kept = read_checkpoint(retrained / "checkpoints/last.ckpt")["hyper_parameters"]["genotype"]
    assert Genotype.from_dict(kept) == PUBLISHED["DARTS_V2"]
    assert (retrained / "config.yaml").read_text() == config.replace(
        "max_epochs: 1", "max_epochs: 2"
    )


def test_another_genotype_that_is_named_is_refused(nas: Nas, retrained: Path) -> None:
    result = nas(f"{TEST} --model.genotype DARTS_V1")
    assert result.code == 1
    assert "the checkpoint belongs to another genotype" in result.err
