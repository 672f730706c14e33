"""Which strategies work together: every pair is planned and trained.

`python -m tests.contract.composition` writes `docs/methods/composition.md`.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchPlan, SearchStrategy
from nas_lightning.spaces import DartsNetwork
from tests.conftest import SPEC, quiet_trainer, tiny_supernet
from tests.methods import ARGUMENTS, CLASSES, NEEDS
from tests.recorded import Save, run, search

PAGE = Path(__file__).parents[2] / "docs" / "methods" / "composition.md"
SETTINGS: dict[str, Any] = {
    "max_epochs": 2,
    "limit_train_batches": 2,
    "limit_val_batches": 1,
    "precision": "32-true",
}
# where the arguments of the other tests would end a run early, or leave α alone in two epochs
PAIRED: dict[str, dict[str, Any]] = {
    "CDARTS": {"layers": 3, "pretrain_epochs": 0},
    "DartsPlus": {"criterion": "ranking"},
    "ResourcePenalty": {"resource": "parameters", "budget": 2500, "network": DartsNetwork(4, 3)},
    "RobustDARTS": {"every": 1, "first_epoch": 0},
}
NAMES = sorted((kind.__name__ for kind in CLASSES), key=str.lower)
PAIRS = list(itertools.combinations(NAMES, 2))


@dataclass(frozen=True)
class Composition:
    """The result of building a search with a pair of strategies.

    Attributes:
        order: Names of the strategies of a search with both, in their order, with what they need;
            empty if the pair is refused.
        refusal: The line that refuses the pair, or its other order; empty if there is none.
    """

    order: tuple[str, ...]
    refusal: str


def build(names: Sequence[str]) -> list[SearchStrategy]:
    """Return fresh strategies."""
    kinds = {kind.__name__: kind for kind in CLASSES}
    return [kinds[name](**PAIRED.get(name, ARGUMENTS.get(name, {}))) for name in names]


def needs(pair: Sequence[str]) -> list[tuple[str, ...]]:
    """Return what comes before a pair: nothing or, if that is refused, what the two need."""
    needed = {type(need).__name__ for name in pair for need in NEEDS.get(name, ())} - {*pair}
    return [(), tuple(sorted(needed))][: 1 + bool(needed)]


@functools.cache
def composed(first: str, second: str) -> Composition:
    """Plan the searches of a pair in both orders, and return what comes of it."""
    pair = first, second
    refusals: list[str] = []
    for extra in needs(pair):
        tried = {(*extra, *order): refusal((*extra, *order)) for order in (pair, pair[::-1])}
        refusals += [text for text in tried.values() if text]
        if possible := [order for order, text in tried.items() if not text]:
            return Composition(possible[0], named(pair, tried.values()))
    return Composition((), named(pair, refusals) or refusals[0])


def refusal(order: Sequence[str]) -> str:
    """Return the line that refuses strategies in an order; empty if there is none."""
    factory = tiny_supernet()
    try:
        SearchPlan(factory.space, build(order), data_spec=SPEC)
    except UsageError as error:
        return str(error)
    return ""


def named(pair: Sequence[str], refusals: Iterable[str]) -> str:
    """Return the first refusal that names both strategies, or nothing.

    A strategy that another one needs stands for it.
    """
    for text in refusals:
        if all(name in text for name in pair):
            return text
        for name, other in (pair, pair[::-1]):
            for need in NEEDS.get(name, ()):
                if other in text and type(need).__name__ in text:
                    return f"{text} ({name} needs {type(need).__name__})"
    return ""


def train(order: Sequence[str], folder: Path) -> None:
    """Train a search, check that α or β moves and stays finite, and that a resume is bit-equal."""
    saver = Save(folder / "middle.ckpt")
    # a selection takes the last epoch
    settings = {**SETTINGS, "max_epochs": 3 if "PerturbationSelection" in order else 2}
    before = {name: value.clone() for name, value in search(build(order)).arch.named().items()}
    whole = run(build(order), folder, saver, **settings)
    after = whole.module.arch.named()
    assert all(bool(torch.isfinite(value).all()) for value in after.values())
    assert any(not torch.equal(value, before[name]) for name, value in after.items())
    again = search(build(order), seed=99)
    trainer = quiet_trainer(default_root_dir=folder, **settings)
    trainer.fit(again, datamodule=whole.data, ckpt_path=saver.path, weights_only=True)
    check_equal(whole.module, again)


def check_equal(one: SearchModule, other: SearchModule) -> None:
    """Check that two modules hold the same bits."""
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


# -- the page ----------------------------------------------------------------------------------

HEAD = """\
# Which strategies work together

`python -m tests.contract.composition` writes this page by building a search with each pair of \
strategies, and a test compares the two. `make test-all` also trains each pair: α or β moves and \
stays finite, and a run that is resumed in the middle of an epoch equals an uninterrupted one bit \
for bit. `make test` trains a sample of them.

A pair says nothing about three strategies at once, and nothing about the quality of what is found.

## The matrix

A dot stands for a pair that trains, ✗ for one that is refused at construction, and ↑ for \
one that trains in one order only. A column has the number of its strategy.

"""
REFUSED = """
## What the refusals say

A and B stand for the two strategies of a pair.

"""
ORDERED = """
## Pairs with an order

The order of `model.strategies` counts for these. The other order is refused:

"""
NEEDED = """
## What they were built with

All others have their defaults.

"""


def page() -> str:
    """Return the text of the page."""
    found = {pair: composed(*pair) for pair in PAIRS}
    refused = {pair: each.refusal for pair, each in found.items() if not each.order}
    text = HEAD + "\n".join(_matrix(found)) + "\n" + REFUSED + "\n".join(_reasons(refused)) + "\n"
    ordered = [each for each in found.values() if each.order and each.refusal]
    if ordered:
        text += ORDERED + "\n".join(f"- {each.refusal}" for each in ordered) + "\n"
    needed = [f"- `{name}` with {_list(map(repr, NEEDS[name]))}" for name in NAMES if name in NEEDS]
    given = {name: PAIRED.get(name, ARGUMENTS.get(name)) for name in NAMES}
    arguments = [f"- `{_call(name, each)}`" for name, each in given.items() if each]
    return text + NEEDED + "\n".join([*arguments, *needed]) + "\n"


def _matrix(found: dict[tuple[str, str], Composition]) -> Iterator[str]:
    columns = range(1, len(NAMES) + 1)
    yield f"| | | {' | '.join(map(str, columns))} |"
    yield f"| --- | --- {'| :-: ' * len(NAMES)}|"
    for row, name in enumerate(NAMES):
        marks = [
            "" if row == column else _mark(found[_pair(row, column)])
            for column in range(len(NAMES))
        ]
        yield f"| {row + 1} | `{name}` | {' | '.join(marks)} |"


def _pair(row: int, column: int) -> tuple[str, str]:
    return NAMES[min(row, column)], NAMES[max(row, column)]


def _mark(composition: Composition) -> str:
    if not composition.order:
        return "✗"
    return "↑" if composition.refusal else "·"


def _reasons(refused: dict[tuple[str, str], str]) -> Iterator[str]:
    """Yield the refusals, pairs with the same one together."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for pair, refusal in refused.items():
        first, second = sorted(pair, key=refusal.index)
        said = refusal.replace(first, "A").replace(second, "B")
        groups.setdefault(said, []).append((first, second))
    yield "| refusal | pairs A, B |"
    yield "| --- | --- |"
    for said, pairs in sorted(groups.items()):
        names = "; ".join(f"`{first}`, `{second}`" for first, second in pairs)
        yield f"| {said} | {names} |"


def _call(name: str, arguments: dict[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _list(words: Any) -> str:
    return ", ".join(f"`{word}`" for word in words)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
