"""The words for a position in a run."""

import pytest

from nas_lightning.training.epochs import place, reached


@pytest.mark.parametrize(
    ("position", "words"),
    [
        ((0, 0, 50), "the start"),
        ((0, 17, 50), "epoch 1 of 50, batch 17"),
        ((2, 17, 50), "epoch 3 of 50, batch 17"),
        ((3, 0, 50), "epoch 3 of 50"),
        ((3, 0, None), "epoch 3"),
        ((2, 1, -1), "epoch 3, batch 1"),
    ],
)
def test_what_is_done_counts_from_one(position: tuple[int, int, int | None], words: str) -> None:
    assert reached(*position) == words


def test_the_first_batch_of_the_first_epoch() -> None:
    assert place(0, 0) == "epoch 1, batch 1"
