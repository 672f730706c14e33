"""The input and the output of a language model."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class TextInput(NamedTuple):
    """Input of a language model.

    Args:
        tokens: Word indices (T, B), one text per column.
        hidden: State before the first word (B, H); `None` at the start of a text.
    """

    tokens: Tensor
    hidden: Tensor | None = None


class LanguageOutput(NamedTuple):
    """Output of a language model.

    Args:
        logits: Scores of the next word (T, B, V).
        hidden: State after the last word (B, H).
        raw: In training, outputs of the recurrent cell before output dropout (T, B, H).
        dropped: In training, outputs of the recurrent cell after output dropout (T, B, H).
    """

    logits: Tensor
    hidden: Tensor
    raw: Tensor | None = None
    dropped: Tensor | None = None
