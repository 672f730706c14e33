"""Print baselines for inverse problems: reconstructions without learning.

    python docs/examples/unlearned_baselines.py [CONFIG…]

For each configuration, your own or shipped (default: all shipped searches on inverse problems), the
script prints the PSNR in dB on the test part: of the adjoint A'y, and of Tikhonov's reconstruction,
the minimiser of |A u - y|² + strength · |u|², with the strength that is best on the training part.
"""

import sys
from typing import Any

import jsonargparse
import torch
import yaml
from torch import Tensor

from nas_lightning.data import InverseData, Measurements
from nas_lightning.errors import UsageError
from nas_lightning.operators import tikhonov
from nas_lightning.runs.configs import find_config, shipped

STRENGTHS = [10 ** (power / 2) for power in range(-8, 3)]  # 0.0001 … 10


def data_section(name: str) -> dict[str, Any]:
    """Return the data section of a configuration."""
    content = yaml.safe_load(find_config(name).read_text(encoding="utf-8"))
    section: dict[str, Any] = content.get("data", {})
    return section


def inverse_problem(name: str) -> InverseData:
    """Return the data module of a configuration.

    Raises:
        UsageError: The configuration is not for an inverse problem.
    """
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(InverseData, "data")
    try:
        config = parser.parse_object({"data": data_section(name)})
    except jsonargparse.ArgumentError as error:
        raise UsageError(f"{name} is not of an inverse problem: {error}") from error
    data: InverseData = parser.instantiate(config).data
    return data


def searches() -> list[str]:
    """Return the names of the shipped searches on inverse problems."""
    kinds = {kind.__name__ for kind in InverseData.__subclasses__()}
    sections = {name: data_section(name) for name in shipped()}
    return [
        name
        for name, section in sections.items()
        if section.get("class_path") in kinds and section["init_args"]["mode"] == "search"
    ]


def psnr(data: InverseData, found: Tensor, truth: Tensor) -> float:
    """Return 10 · log10(peak² / mean squared error), in dB."""
    return float(10 * torch.log10(data.peak**2 / (found - truth).square().mean()))


def reconstructed(data: InverseData, pairs: Measurements, strength: float) -> float:
    """Return the PSNR of Tikhonov's reconstructions."""
    return psnr(data, tikhonov(data.operator, pairs.y, strength), pairs.x)


@torch.no_grad()
def line(name: str, data: InverseData) -> str:
    """Format a row of the table."""
    train, test = data.load("train"), data.load("test")
    plain = psnr(data, data.operator.adjoint(test.y), test.x)
    best = max(STRENGTHS, key=lambda strength: reconstructed(data, train, strength))
    return f"{name:<24} {plain:>8.2f} {reconstructed(data, test, best):>9.2f} {best:>9.2g}"


def main(names: list[str]) -> None:
    """Print the table."""
    print(f"{'configuration':<24} {'adjoint':>8} {'Tikhonov':>9} {'strength':>9}")
    for name in names or searches():
        print(line(name.removesuffix(".yaml"), inverse_problem(name)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
