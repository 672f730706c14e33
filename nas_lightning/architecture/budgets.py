"""Budgets: amounts of a resource in configurations and messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from nas_lightning.architecture import Genotype
from nas_lightning.architecture.latency import Latency, LatencyTable
from nas_lightning.architecture.resources import MultiplyAdds, Parameters, Resource
from nas_lightning.errors import UsageError
from nas_lightning.ranges import LARGEST, POSITIVE
from nas_lightning.text import few, shown
from nas_lightning.text_files import user_path

RESOURCES: Mapping[str, type[Resource]] = {
    resource.name: resource for resource in (MultiplyAdds, Parameters, Latency)
}
"""Resources by name."""
ResourceName = Literal["macs", "parameters", "latency"]
"""Names of resources in configurations."""
FORM = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*")


def amount(owner: str, budget: object, resource: type[Resource]) -> float:
    """Return the number of a budget such as `3.2M`, in the unit of its resource.

    Args:
        owner: Name of the class whose argument it is, for the message.
        budget: A number, or a text of a number and a suffix.
        resource: The resource.

    Raises:
        UsageError: It is not positive, or has another unit.
    """
    if not isinstance(budget, str):
        if budget in POSITIVE:
            return float(budget)  # type: ignore[arg-type] # the range has real numbers only
        raise UsageError(f"{owner}: budget {POSITIVE.why_not(budget)}")
    found = FORM.fullmatch(budget)
    units = resource.units
    if found is None or found[2] not in units:
        known = few([unit for unit in units if unit])
        raise UsageError(
            f"{owner}: budget must be a number of {resource.unit}, alone or with {known}, found "
            f"{shown(budget)}"
        )
    number = float(found[1]) * units[found[2]]
    if not 0 < number <= LARGEST:
        raise UsageError(f"{owner}: budget must be above 0, found {shown(budget)}")
    return number


def resource_of(name: ResourceName, table: str | None) -> Resource:
    """Return a resource.

    Args:
        name: Its name.
        table: File of latencies, for `latency`.

    Raises:
        NASError: The table cannot be read, or has other content; names the place.
    """
    if name == "latency":
        assert table is not None
        return Latency(LatencyTable.load(user_path(table, "table")), table)
    return MultiplyAdds() if name == "macs" else Parameters()


def quantity(number: float, resource: type[Resource]) -> str:
    """Return an amount of a resource with its unit, such as `3.35M parameters`."""
    return f"{shortened(number, resource)} {resource.unit}"


def shortened(number: float, resource: type[Resource]) -> str:
    """Return an amount of a resource without its unit, such as `3.35M`."""
    for suffix in ("G", "M", "k"):
        if suffix in resource.units and number >= resource.units[suffix]:
            return f"{number / resource.units[suffix]:.4g}{suffix}"
    return f"{number:.4g}"


def recorded(genotype: Genotype) -> Mapping[str, Any] | None:
    """Return what a genotype records of its budget, with `resource`, `cost` and `budget`.

    It is the entry `budget` of the provenance, which `ResourcePenalty` writes; `None` if there is
    none, or if it is not as it should be.
    """
    found = genotype.provenance.get("budget")
    if not isinstance(found, Mapping) or found.get("resource") not in RESOURCES:
        return None
    numbers = found.get("cost"), found.get("budget")
    return found if all(isinstance(number, int | float) for number in numbers) else None


def verdict(genotype: Genotype) -> str | None:
    """Return whether a genotype keeps the budget of its search; `None` if it had none."""
    found = recorded(genotype)
    if found is None:
        return None
    resource, cost, budget = RESOURCES[found["resource"]], found["cost"], found["budget"]
    said = "kept" if cost <= budget else f"exceeded by {100 * (cost / budget - 1):.2g} %"
    return f"{said}: {quantity(cost, resource)}, of at most {quantity(budget, resource)}"
