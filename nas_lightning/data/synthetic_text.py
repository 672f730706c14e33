"""Synthetic text that a small network can learn, for trials and tests."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from nas_lightning.data.tokens import Corpus, TokenData
from nas_lightning.randomness import mix_seed
from nas_lightning.ranges import SHARE, at_least, check


@final
class SyntheticText(TokenData):
    """Words that count up modulo the vocabulary size, except for some random ones.

    `best_perplexity` is the lowest perplexity that a model can reach; a uniform prediction has the
    perplexity `num_tokens`. The text does not depend on `seed`.

    Args:
        num_tokens: Size of the vocabulary.
        train_size: Number of words in the training text.
        valid_size: Number of words in the validation text.
        test_size: Number of words in the test text.
        noise: Share of words that are drawn uniformly from the vocabulary.
        kwargs: Arguments of all text data, see `TokenData`.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self,
        num_tokens: int = 16,
        train_size: int = 4096,
        valid_size: int = 1024,
        test_size: int = 1024,
        noise: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_tokens = num_tokens
        self.train_size = train_size
        self.valid_size = valid_size
        self.test_size = test_size
        self.noise = noise
        check(self, num_tokens=at_least(2), noise=SHARE)
        check(self, train_size=at_least(1), valid_size=at_least(1), test_size=at_least(1))

    @property
    def best_perplexity(self) -> float:
        """Exponential of the entropy of a word, in nats, given the previous word."""
        wrong = torch.full((self.num_tokens,), self.noise / self.num_tokens, dtype=torch.float64)
        wrong[0] += 1 - self.noise
        return float(torch.special.entr(wrong).sum().exp())

    def load(self) -> Corpus:
        """Generate the three texts."""
        sizes = (self.train_size, self.valid_size, self.test_size)
        train, valid, test = (self._text(size, part) for part, size in enumerate(sizes))
        return Corpus(train, valid, test, self.num_tokens)

    def _text(self, size: int, part: int) -> Tensor:
        """Generate words (size,), each the successor of the previous word or a random one."""
        generator = torch.Generator().manual_seed(mix_seed(part))
        restarts = torch.rand(size, generator=generator) < self.noise
        restarts[0] = True
        drawn = torch.randint(self.num_tokens, (size,), generator=generator)
        place = torch.arange(size)
        start = torch.where(restarts, place, 0).cummax(0).values
        return (drawn[start] + place - start) % self.num_tokens
