"""Names and families of operations in drawings."""

import subprocess
import sys

import pytest

from nas_lightning.drawing.cells import FAMILIES, family
from nas_lightning.drawing.layout import short_name


@pytest.mark.parametrize(
    ("primitive", "name", "kind"),
    [
        ("sep_conv_3x3", "sep conv 3×3", "separable convolution"),
        ("dil_conv_5x5", "dil conv 5×5", "dilated convolution"),
        ("max_pool_3x3", "max pool 3×3", "pooling"),
        ("skip_connect", "skip", "skip connection"),
        ("conv_7x1_1x7", "conv 7×1 1×7", "other operation"),
        ("nor_conv_3x3", "conv 3×3", "convolution"),
        ("identity", "identity", "activation"),
        ("none", "none", "no operation"),
    ],
)
def test_names_and_families(primitive: str, name: str, kind: str) -> None:
    assert short_name(primitive) == name
    assert family(primitive) == kind
    assert kind in FAMILIES


def test_pyplot_is_never_imported() -> None:
    code = (
        "import sys; from nas_lightning.drawing import cells, heatmap; "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
