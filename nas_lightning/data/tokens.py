"""Base class of text data modules, with columns, sequences and exact resume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple, NoReturn

from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor

from nas_lightning.data.loaders import Loader
from nas_lightning.data.resumable import ResumableData, check_trainer
from nas_lightning.data.spans import (
    Span,
    SpanSampler,
    TextColumns,
    columns_of,
    drawn_spans,
    equal_spans,
    text_loader,
)
from nas_lightning.errors import DataError, UsageError
from nas_lightning.randomness import mix_seed
from nas_lightning.ranges import NOT_NEGATIVE, SHARE, at_least, check


class Corpus(NamedTuple):
    """Three texts over one vocabulary.

    Attributes:
        train: Word indices of the training text (N,).
        valid: Word indices of the validation text.
        test: Word indices of the test text.
        num_tokens: Size of the vocabulary.
        words: The words in the order of their indices, joined by blanks; empty if they have no
            text.
    """

    train: Tensor
    valid: Tensor
    test: Tensor
    num_tokens: int
    words: str = ""


class TokenData(ResumableData, ABC):
    """Text for a search or a retraining of a language model.

    A text is cut into one contiguous part per column of a batch. Each batch continues where the
    previous one ended, so that a hidden state can be carried along. A batch is `(words, following
    words)`, each of shape (T, columns). An epoch reads the training text once, in sequences of
    random length T, see `nas_lightning.data.spans.drawn_spans`.

    In search mode a training batch is `{"train": …, "val": …}`. As in DARTS, the weights learn from
    the training text and α from the *validation* text. Each epoch reads the latter from its start,
    in sequences of `bptt`, and repeats it as often as the training text requires, without resetting
    the hidden state. In retrain mode a batch is from the training text alone.

    Set `use_distributed_sampler=False` in the trainer, since each process has its own columns. A
    single process needs the columns of all processes together for the same run.

    Args:
        batch_size: Number of columns of the training text per process (device).
        mode: `search` or `retrain`.
        arch_batch_size: In search mode, number of columns of the validation text from which α
            learns; `None` means `batch_size`.
        eval_batch_size: Number of columns of the validation text in evaluation.
        test_batch_size: Number of columns of the test text.
        bptt: Mean length T of a sequence, in words.
        bptt_jitter: Standard deviation of T; 5 in the retraining of DARTS, 0 in its search.
        half_probability: Probability that the mean is `bptt / 2`.
        max_extra: Largest excess of T over `bptt`.
        seed: Seed of the lengths. The default is the seed of the run (`seed_everything`), or 0 if
            there is none.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self,
        batch_size: int = 64,
        mode: Literal["search", "retrain"] = "search",
        arch_batch_size: int | None = None,
        eval_batch_size: int = 10,
        test_batch_size: int = 1,
        bptt: int = 35,
        bptt_jitter: float = 0.0,
        half_probability: float = 0.05,
        max_extra: int = 20,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        if mode not in ("search", "retrain"):
            raise UsageError(f"mode is {mode!r}, but must be 'search' or 'retrain'.")
        self.mode = mode
        self.batch_size = batch_size
        self.arch_batch_size = batch_size if arch_batch_size is None else arch_batch_size
        self.eval_batch_size = eval_batch_size
        self.test_batch_size = test_batch_size
        self.bptt = bptt
        self.bptt_jitter = bptt_jitter
        self.half_probability = half_probability
        self.max_extra = max_extra
        check(self, batch_size=at_least(1), arch_batch_size=at_least(1), bptt=at_least(1))
        check(self, eval_batch_size=at_least(1), test_batch_size=at_least(1))
        check(self, bptt_jitter=NOT_NEGATIVE, half_probability=SHARE, max_extra=at_least(0))
        self._read: Corpus | None = None

    @abstractmethod
    def load(self) -> Corpus:
        """Open the texts; raise DataError if one is missing or damaged."""

    @property
    def corpus(self) -> Corpus:
        """The three texts, which are opened once."""
        if self._read is None:
            self._read = self.load()
        return self._read

    @property
    def data_spec(self) -> dict[str, int]:
        """The size of the vocabulary, `num_tokens`."""
        return {"num_tokens": self.corpus.num_tokens}

    @property
    def meaning(self) -> dict[str, str]:
        """The words of the vocabulary, if they have a text."""
        return {"words": self.corpus.words} if self.corpus.words else {}

    def setup(self, stage: str | None = None) -> None:
        """Open the texts once.

        Raises:
            DataError: A text is missing or damaged.
            UsageError: The trainer would replace the samplers.
        """
        if self.trainer is not None:
            check_trainer(self.trainer)
        _ = self.corpus

    def summary(self) -> list[tuple[str, str]]:
        """Return lines with the size of the texts and of the vocabulary."""
        texts = {"training": "train", "validation": "valid", "test": "test"}
        if self.mode == "search":
            texts = {"weights": "train", "architecture (and validation)": "valid", "test": "test"}
        sizes = [f"{name} {len(getattr(self.corpus, part)):,}" for name, part in texts.items()]
        words = f"{', '.join(sizes)}; vocabulary {self.corpus.num_tokens:,}"
        return [*super().summary(), ("words", words)]

    def train_dataloader(self) -> CombinedLoader | Loader:
        """Return training sequences, starting at the position of a loaded checkpoint."""
        columns = self._columns("train", self.batch_size, "batch_size")
        position = self._position()
        sampler = SpanSampler(lambda epoch: self._drawn(columns.rows, epoch))
        sampler.resume(*position)
        train = text_loader(columns, sampler, training=True)
        if self.mode == "retrain":
            return train
        held_out = self._columns("valid", self.arch_batch_size, "arch_batch_size")
        once = equal_spans(held_out.rows, self.bptt)
        cycled = [once[i % len(once)] for i in range(len(sampler))]
        arch = SpanSampler(lambda _: cycled)
        arch.resume(*position)
        loaders = {"train": train, "val": text_loader(held_out, arch, training=True)}
        return CombinedLoader(loaders, mode="min_size")

    def val_dataloader(self) -> Loader:
        """Return the validation text in sequences of `bptt`."""
        return self._eval_loader("valid", self.eval_batch_size, "eval_batch_size")

    def test_dataloader(self) -> Loader:
        """Return the test text in sequences of `bptt`."""
        return self._eval_loader("test", self.test_batch_size, "test_batch_size")

    def predict_dataloader(self) -> NoReturn:
        """Refuse, since a language model has no predictions to write.

        Raises:
            UsageError: Always.
        """
        raise UsageError("a language model writes no predictions: `nas test` prints its perplexity")

    def _drawn(self, rows: int, epoch: int) -> list[Span]:
        """Return the training sequences of an epoch, the same on every process."""
        if not (self.bptt_jitter or self.half_probability):
            return equal_spans(rows, self.bptt)
        return drawn_spans(
            rows,
            self.bptt,
            self.bptt_jitter,
            self.half_probability,
            self.max_extra,
            mix_seed(self._seed, epoch),
        )

    def _eval_loader(self, part: Literal["valid", "test"], count: int, argument: str) -> Loader:
        columns = self._columns(part, count, argument)
        spans = equal_spans(columns.rows, self.bptt)
        return text_loader(columns, SpanSampler(lambda _: spans), training=False)

    def _columns(
        self, part: Literal["train", "valid", "test"], count: int, argument: str
    ) -> TextColumns:
        """Return the columns of a text for this process."""
        rank, world_size = self._world()
        tokens = getattr(self.corpus, part)
        if len(tokens) < 2 * count * world_size:
            raise DataError(
                f"The {part} text has {len(tokens)} words, too few for {count} columns of two on "
                f"each of {world_size} processes: lower {argument}."
            )
        return TextColumns(columns_of(tokens, count * world_size, rank * count, count))
