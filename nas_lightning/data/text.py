"""Text files as words: Penn Treebank, WikiText, or your own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from nas_lightning.data.tokens import Corpus, TokenData
from nas_lightning.errors import DataError
from nas_lightning.files import open_ordinary

PARTS = ("train", "valid", "test")
LAYOUTS = ("ptb.{}.txt", "wiki.{}.tokens", "{}.txt")
"""Names of the three files: Penn Treebank, WikiText, your own."""
END = "<eos>"
"""Word that follows the last word of each line."""


@final
class TextData(TokenData):
    """Three text files in a folder, with words separated by spaces and one sentence per line.

    The files are `ptb.train.txt`, `wiki.train.tokens` or `train.txt`, and the same with `valid`
    and `test`. Each line, even an empty one, ends with the word `<eos>`. The vocabulary comes from
    all three files, in order of first appearance, as in the released code of AWD-LSTM and DARTS.
    No word of the test text is thus unknown, and perplexities are comparable with theirs.

    Args:
        root: Folder of the three files.
        kwargs: Arguments of all text data, see `TokenData`.

    Raises:
        UsageError: An argument is out of range.
        DataError: On first use, a file is missing, empty or not text.
    """

    def __init__(self, root: str = "data", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root

    def load(self) -> Corpus:
        """Read the files, which takes a few seconds for two million words."""
        vocabulary: dict[str, int] = {}
        train, valid, test = (_read(path, vocabulary) for path in self._files())
        return Corpus(train, valid, test, len(vocabulary), " ".join(vocabulary))

    def _files(self) -> list[Path]:
        """Return the paths of the three files."""
        folder = Path(self.root)
        layouts = [[folder / name.format(part) for part in PARTS] for name in LAYOUTS]
        for paths in layouts:
            missing = [path.name for path in paths if not path.exists()]
            if not missing:
                return paths
            if len(missing) < len(PARTS):
                raise DataError(
                    f"The folder {str(folder)!r} lacks {' and '.join(missing)}: add it."
                )
        wanted = ", ".join(name.format("train") for name in LAYOUTS)
        raise DataError(
            f"No text was found in {str(folder)!r}: set --data.root to a folder that contains one "
            f"of {wanted}, and the same with 'valid' and 'test'."
        )


def _read(path: Path, vocabulary: dict[str, int]) -> Tensor:
    """Read the word indices (N,) of a file and add new words to the vocabulary."""
    indices: list[int] = []
    try:
        with io.TextIOWrapper(open_ordinary(path), encoding="utf-8-sig") as file:
            for line in file:
                for word in (*line.split(), END):
                    indices.append(vocabulary.setdefault(word, len(vocabulary)))  # noqa: PERF401 (a vocabulary that grows)
    except OSError as error:
        raise DataError(f"The file {str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"The file {str(path)!r} cannot be read as UTF-8 text: {error}") from error
    if not indices:
        raise DataError(f"The file {str(path)!r} is empty.")
    return torch.tensor(indices)
