"""Text in columns, and the sequences of rows that are read of it one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nas_lightning.data.loaders import Loader, TrainLoader
from nas_lightning.randomness import mix_seed

Span = tuple[int, int]
"""First row, and the one behind the last."""

SHORTEST = 5
"""No shorter sequence is drawn, in words (released code of AWD-LSTM and DARTS)."""


def columns_of(tokens: Tensor, columns: int, first: int, count: int) -> Tensor:
    """Lay a text out in columns, as contiguous parts side by side; the rest at the end is left out.

    Args:
        tokens: The text (N,).
        columns: How many columns it is cut into, all processes together.
        first: The first column wanted.
        count: How many.

    Returns:
        Tokens (N // columns, count).
    """
    rows = len(tokens) // columns
    parts = tokens[: rows * columns].view(columns, rows)
    return parts[first : first + count].t().contiguous()


def equal_spans(rows: int, length: int) -> list[Span]:
    """Cut rows into sequences of one length; the last may be shorter."""
    return [(start, min(start + length, rows)) for start in range(0, rows, length)]


def drawn_spans(
    rows: int, bptt: int, jitter: float, half_probability: float, max_extra: int, seed: int
) -> list[Span]:
    """Cut rows into sequences of random lengths, a pure function of the arguments.

    Each length is drawn as in the released code of AWD-LSTM (Merity et al., ICLR 2018) and DARTS:
    normal around `bptt`, or with a probability around `bptt / 2`, not below 5 and not above
    `bptt + max_extra`. Unlike there, the number of sequences is that of the mean length, whatever
    is drawn, and all are stretched by one factor to fill the rows: about one per cent on the Penn
    Treebank. So every epoch has the same number of batches and reads all of the text.

    Args:
        rows: How many there are; at least 1.
        bptt: Mean length, in words.
        jitter: Standard deviation of the length, in words.
        half_probability: How often the mean is `bptt / 2`.
        max_extra: How much longer than `bptt` a sequence may be.
        seed: Seed of the draws.
    """
    count = round(rows / (bptt * (1 - half_probability / 2)))
    count = min(max(1, count), rows)
    generator = torch.Generator().manual_seed(seed)
    half = torch.rand(count, generator=generator, dtype=torch.float64) < half_probability
    noise = torch.randn(count, generator=generator, dtype=torch.float64)
    means = torch.where(half, bptt / 2, float(bptt))
    lengths = (means + jitter * noise).clamp(min(SHORTEST, bptt / 2), bptt + max_extra)
    # a row for each, the others in proportion: so none is empty, however short the text
    share = (lengths - 1).clamp(min=1e-6).cumsum(0)
    ends = torch.arange(1, count + 1) + (share / share[-1] * (rows - count)).round().long()
    return list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True))


class SpanSampler(Sampler[Span]):
    """Yields the sequences of an epoch; no state is kept between epochs.

    Args:
        spans: Epoch → its sequences, as many in each.
    """

    def __init__(self, spans: Callable[[int], list[Span]]) -> None:
        self.spans = spans
        self.epoch = 0
        self._size = len(spans(0))
        self._start_epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration belongs to; Lightning calls this."""
        self.epoch = epoch

    def resume(self, epoch: int, start: int) -> None:
        """Go on in `epoch` behind its first `start` sequences.

        The offset belongs to that epoch: Lightning may create an iterator more than once.
        """
        self.epoch = self._start_epoch = epoch
        self._start = start

    def __len__(self) -> int:
        """Sequences in a whole epoch, whatever `resume` said."""
        return self._size

    def __iter__(self) -> Iterator[Span]:
        """Iterate over the epoch that was set last."""
        start = self._start if self.epoch == self._start_epoch else 0
        return iter(self.spans(self.epoch)[start:])


class TextColumns(Dataset[tuple[Tensor, Tensor]]):
    """Sequences of a text that is laid out in columns.

    Args:
        tokens: The text (rows + 1, columns).
    """

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens

    @property
    def rows(self) -> int:
        """Rows that have a following one."""
        return len(self.tokens) - 1

    def __getitem__(self, span: Span) -> tuple[Tensor, Tensor]:
        """Words (T, columns) and the words that follow each (T, columns)."""
        start, stop = span
        return self.tokens[start:stop], self.tokens[start + 1 : stop + 1]


def text_loader(columns: TextColumns, sampler: SpanSampler, *, training: bool) -> Loader:
    """A loader of whole sequences; it draws nothing from the global random state."""
    kind = TrainLoader if training else DataLoader
    return kind(
        columns,
        batch_size=None,  # a sequence is a batch already
        sampler=sampler,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(mix_seed(0)),
    )
