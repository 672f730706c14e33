"""Text in columns, which is read in successive sequences of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nas_lightning.data.loaders import Loader, TrainLoader
from nas_lightning.randomness import mix_seed

Span = tuple[int, int]
"""First row of a sequence, and the row after its last."""

SHORTEST = 5
"""Length of the shortest drawn sequence, in words (released code of AWD-LSTM and DARTS)."""


def columns_of(tokens: Tensor, columns: int, first: int, count: int) -> Tensor:
    """Cut a text into contiguous columns and return some of them; a remainder is dropped.

    Args:
        tokens: Text (N,).
        columns: Number of columns of the text, over all processes.
        first: First column to return.
        count: Number of columns to return.

    Returns:
        Tokens (N // columns, count).
    """
    rows = len(tokens) // columns
    parts = tokens[: rows * columns].view(columns, rows)
    return parts[first : first + count].t().contiguous()


def equal_spans(rows: int, length: int) -> list[Span]:
    """Cut rows into sequences of equal length; the last may be shorter."""
    return [(start, min(start + length, rows)) for start in range(0, rows, length)]


def drawn_spans(
    rows: int, bptt: int, jitter: float, half_probability: float, max_extra: int, seed: int
) -> list[Span]:
    """Cut rows into sequences of random lengths, as a pure function of the arguments.

    Each length is drawn as in the released code of AWD-LSTM (Merity et al., ICLR 2018) and DARTS:
    from a normal distribution around `bptt` or, with `half_probability`, around `bptt / 2`,
    limited to between 5 and `bptt + max_extra`. Unlike there, the number of sequences follows from
    the mean length, and all lengths are scaled by a common factor to fill the rows, by about one
    per cent on the Penn Treebank. Every epoch thus has the same number of batches and reads the
    whole text.

    Args:
        rows: Number of rows, at least 1.
        bptt: Mean length, in words.
        jitter: Standard deviation of the length, in words.
        half_probability: Probability that the mean is `bptt / 2`.
        max_extra: Largest excess of a length over `bptt`, in words.
        seed: Seed of the draws.
    """
    count = round(rows / (bptt * (1 - half_probability / 2)))
    count = min(max(1, count), rows)
    generator = torch.Generator().manual_seed(seed)
    half = torch.rand(count, generator=generator, dtype=torch.float64) < half_probability
    noise = torch.randn(count, generator=generator, dtype=torch.float64)
    means = torch.where(half, bptt / 2, float(bptt))
    lengths = (means + jitter * noise).clamp(min(SHORTEST, bptt / 2), bptt + max_extra)
    # one row for each and the others in proportion, so that none is empty even in a short text
    share = (lengths - 1).clamp(min=1e-6).cumsum(0)
    ends = torch.arange(1, count + 1) + (share / share[-1] * (rows - count)).round().long()
    return list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True))


class SpanSampler(Sampler[Span]):
    """Yields the sequences of an epoch, without state between epochs.

    Args:
        spans: Function from an epoch to its sequences, of which every epoch has the same number.
    """

    def __init__(self, spans: Callable[[int], list[Span]]) -> None:
        self.spans = spans
        self.epoch = 0
        self._size = len(spans(0))
        self._start_epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; Lightning calls this."""
        self.epoch = epoch

    def resume(self, epoch: int, start: int) -> None:
        """Resume in `epoch` after its first `start` sequences.

        The offset applies to that epoch, since Lightning may create several iterators before it
        uses one.
        """
        self.epoch = self._start_epoch = epoch
        self._start = start

    def __len__(self) -> int:
        """Return the number of sequences in a complete epoch, even if resumed within."""
        return self._size

    def __iter__(self) -> Iterator[Span]:
        """Iterate over the current epoch."""
        start = self._start if self.epoch == self._start_epoch else 0
        return iter(self.spans(self.epoch)[start:])


class TextColumns(Dataset[tuple[Tensor, Tensor]]):
    """Sequences of a text in columns.

    Args:
        tokens: Text (rows + 1, columns).
    """

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens

    @property
    def rows(self) -> int:
        """Number of rows that are followed by another one."""
        return len(self.tokens) - 1

    def __getitem__(self, span: Span) -> tuple[Tensor, Tensor]:
        """Return words (T, columns) and the word that follows each of them (T, columns)."""
        start, stop = span
        return self.tokens[start:stop], self.tokens[start + 1 : stop + 1]


def text_loader(columns: TextColumns, sampler: SpanSampler, *, training: bool) -> Loader:
    """Build a loader of sequences that does not draw from the global random state."""
    kind = TrainLoader if training else DataLoader
    return kind(
        columns,
        batch_size=None,  # a sequence is a batch already
        sampler=sampler,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(mix_seed(0)),
    )
