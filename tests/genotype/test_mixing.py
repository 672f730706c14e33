"""Mixing weights of a genotype file."""

import json
from pathlib import Path

import pytest

from nas_lightning.architecture import Genotype
from nas_lightning.errors import GenotypeError
from nas_lightning.spaces import PUBLISHED


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_mixing_weights_that_are_not_finite_are_refused(value: str, tmp_path: Path) -> None:
    plain = PUBLISHED["DARTS_V2"].to_dict()
    plain["mixing"] = {"normal": {"ops": [[0.5, float(value)]], "edges": [1.0]}}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(plain))
    with pytest.raises(GenotypeError, match=r"x\.json is not valid: at \$\.mixing\.normal\.ops\[0"):
        Genotype.load(path)
